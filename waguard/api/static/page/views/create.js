// Creating a session: a name and a workspace; its own view pairs the phone.
import { action, entered } from '../actions.js';
import { call } from '../api.js';
import { h } from '../dom.js';
import { go, link } from '../router.js';
import { may, state } from '../state.js';

export const title = () => 'New session';

export function show(main) {
  if (!may('operate')) {
    main.append(h('p', { class: 'lead' }, `A key with the right "${state.key?.right}" creates no session.`));
    return () => {};
  }
  const spaces = state.key?.workspaces ?? [];
  const name = h('input', { id: 'new-name', required: true, pattern: '[A-Za-z0-9_\\-]{1,128}', maxlength: '128', autocomplete: 'off', spellcheck: 'false', 'aria-describedby': 'new-name-hint' });
  const space = h('input', { id: 'new-space', type: 'number', required: true, min: '0', value: String(spaces[0] ?? 1), 'aria-describedby': 'new-space-hint' });
  const create = action('Create and pair', async () => {
    if (!form.reportValidity()) return { ok: false, error: 'The name or the workspace is missing or invalid.' };
    const answer = await call('POST', '/api/sessions', { session_id: name.value.trim(), workspace_id: Number(space.value) });
    if (answer.ok) go(link(answer.data.session_id));
    return answer;
  }, { right: 'operate', kind: 'primary', done: 'Created.' });
  const form = h('form', { class: 'card stack', novalidate: true, onkeydown: entered },
    h('label', { for: 'new-name' }, 'Name'), name,
    h('p', { class: 'soft', id: 'new-name-hint' }, '1 to 128 letters, digits, _ and -. The application knows the session by it; it cannot be changed.'),
    h('label', { for: 'new-space' }, 'Workspace'), space,
    h('p', { class: 'soft', id: 'new-space-hint' }, spaces.length ? `This key is for ${spaces.join(', ')}.` : 'The number that the application has for it.'),
    create);
  main.append(h('h1', {}, 'New session'), form);
  name.focus();
  return () => {};
}
