// The login: by a key that is typed, or by the ticket that `waguard page` puts into the fragment.
import { exchange, forgetKey, hasKey, keepKey } from './api.js';
import { h, set } from './dom.js';

const TICKET = '#ticket=';

export const isTicket = () => location.hash.startsWith(TICKET);

// why the ticket became no key; null: it did, or there is none. It is valid once, so it leaves the address at once
export async function enterByTicket() {
  if (!isTicket()) return null;
  const ticket = location.hash.slice(TICKET.length);
  history.replaceState(null, '', `${location.pathname}#/`);
  const { ok, data, status, error, remedy } = await exchange(ticket);
  if (ok) keepKey(data.key, { own: true });
  return ok ? null : `${error}: ${(status && remedy) || 'the ticket may be used up. Run `waguard page` again'}`;
}

export function login(main, why, entered) {
  const key = h('input', { id: 'key', type: 'password', autocomplete: 'current-password', 'aria-describedby': 'login-hint', required: true });
  const error = h('p', { id: 'login-error', role: 'alert' }, why);
  const submit = (event) => {
    event.preventDefault();
    keepKey(key.value.trim());
    key.value = '';
    if (hasKey()) { entered(); return; }
    forgetKey();
    set(error, 'This key is not accepted: no key has such characters.');
  };
  main.append(
    h('form', { id: 'login', class: 'card', onsubmit: submit },
      h('h1', {}, 'Log in'),
      h('label', { for: 'key' }, 'API key'),
      key,
      error,
      h('button', { class: 'primary' }, 'Show the sessions'),
      h('p', { id: 'login-hint', class: 'soft' }, 'On the host, ', h('code', {}, 'waguard page'), ' prints an address that needs no key. A key is in ', h('code', {}, 'state/api-key'), ' unless configured otherwise, or made by ', h('code', {}, 'waguard keys create'), '. It is kept for this tab only.')),
  );
  key.focus();
}
