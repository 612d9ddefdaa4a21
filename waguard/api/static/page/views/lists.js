// Lists that are read page by page: messages that were sent, webhooks that were given up.
import { action, confirmByName } from '../actions.js';
import { call } from '../api.js';
import { ago, h, patch, remedy, set } from '../dom.js';
import { link } from '../router.js';

const KINDS = { sent: 'good', delivered: 'good', read: 'good', accepted: 'wait', sending: 'wait', cancelled: 'off' };
export const WAITING = ['accepted', 'sending'];
const EXPLAINED = {
  uncertain: 'WhatsApp has not answered: it may have been sent. waguard never sends it again; check the chat on the phone.',
};

// What went wrong with a call, and what to do.
export const problem = ({ error, remedy: what }) => h('p', { class: 'error', role: 'alert' }, `${error} `, what ? remedy(what) : null);

// A list with a line for each item, which is made again where `keyOf` it changes. `read(before)` → the result of call();
// `items(data)`: those of its page. An event reads it again, unless somebody has gone back in it.
export function paged({ read, items, keyOf, make, empty }) {
  const rows = h('ul', { class: 'lines' });
  const words = h('div', { role: 'status' }, h('p', { class: 'soft' }, 'Loading …'));
  const more = h('div', {});
  const count = h('span', { class: 'count' });
  const element = h('div', { class: 'stack' }, rows, words, more);
  let shown = [];
  let older = false;

  async function load(before) {
    const answer = await read(before);
    if (!answer.ok) { words.replaceChildren(problem(answer)); return answer; }
    older = before !== undefined;
    shown = older ? [...shown, ...items(answer.data)] : items(answer.data);
    patch(rows, shown, keyOf, make, () => {});
    words.replaceChildren(...(shown.length ? [] : [h('p', { class: 'soft' }, empty)]));
    const next = answer.data.before;
    set(count, `${shown.length}${next ? '+' : ''}`);
    more.replaceChildren(...(next ? [action('Older ones', () => load(next), { right: 'read', done: '' })] : []));
    return answer;
  }

  load();
  return { element, count, reload: () => load(), refresh: () => (older ? undefined : load()) };
}

const named = (session) => h('a', { href: link(session), class: 'name' }, session);

// Messages on their way out: one session's or all; `states`: only those.
export function messages({ session = null, states = [null], empty }) {
  const of = (state, before) => {
    const query = Object.entries({ session_id: session, state, before }).filter(([, it]) => it !== null && it !== undefined);
    return call('GET', `/api/messages?${new URLSearchParams(query)}`);
  };
  const list = paged({
    // several states are small lists, read whole; one is read page by page
    read: async (before) => {
      const answers = await Promise.all(states.map((it) => of(it, before)));
      const found = answers.flatMap((it) => it.data?.messages ?? []).sort((one, other) => other.id - one.id);
      return answers.find((it) => !it.ok) ?? { ...answers[0], data: { messages: found, before: states.length > 1 ? null : answers[0].data.before } };
    },
    items: (data) => data.messages,
    keyOf: (it) => `${it.id} ${it.status} ${it.ack} ${it.attempts}`,
    make: (it) => h('li', {},
      h('span', { class: `badge ${KINDS[it.status] ?? 'bad'}` }, it.status),
      h('div', { class: 'what' },
        h('p', {}, session ? null : named(it.session_id), session ? null : ' ', h('span', { class: 'soft' }, `#${it.id} ${it.type} to `), h('bdi', {}, it.to)),
        EXPLAINED[it.status] ? h('p', { class: 'soft' }, EXPLAINED[it.status]) : null,
        it.error ? h('p', { class: 'error', dir: 'auto' }, it.error) : null,
        it.send_at && it.status === 'accepted' ? h('p', { class: 'soft' }, `It is sent at ${new Date(it.send_at).toLocaleString()}.`) : null),
      h('span', { class: 'soft when' }, ago(it.updated_at)),
      it.status === 'accepted' ? action('Cancel', () => then(call('POST', `/api/messages/${it.id}/cancel`), list), { right: 'send', done: 'Cancelled.' }) : null),
    empty,
  });
  return list;
}

// The result of a call; the list is read again where it was done.
async function then(calling, list) {
  const answer = await calling;
  if (answer.ok) await list.reload();
  return answer;
}

const LOST = {
  uncertain: 'The receiver said yes, and may have dropped it. Replay it only where the application does not have it.',
  stored: 'The receiver has stored it: a replay would store a second row.',
  unidentified: 'It is about a LID whose number is unknown: a replay delivers it under the LID.',
  undecryptable: 'WhatsApp Web could not decrypt this message. Read it on the phone.',
};

// Dead letters: one session's or all; `state`: only those.
export function letters({ session = null, state = null, empty }) {
  const list = paged({
    read: (before) => {
      const query = Object.entries({ session_id: session, state, before }).filter(([, it]) => it !== null && it !== undefined);
      return call('GET', `/api/webhooks/dead?${new URLSearchParams(query)}`);
    },
    items: (data) => data.dead,
    keyOf: (it) => `${it.id} ${it.attempts} ${it.state}`,
    make: (it) => letter(it, list, session),
    empty,
  });
  return list;
}

function letter(it, list, session) {
  const path = `/api/webhooks/dead/${it.id}`;
  const body = h('pre', { class: 'body', tabindex: '0', hidden: true, 'aria-label': `Body of #${it.id}`, dir: 'auto' });
  const show = async () => {
    const answer = await call('GET', path);
    if (!answer.ok) return answer;
    set(body, JSON.stringify(answer.data.body, null, 2));
    body.hidden = false;
    return answer;
  };
  const discard = async () => {
    const lost = [`The receiver never gets this ${it.event}. It is deleted for good.`];
    if (!(await confirmByName({ title: `Discard #${it.id}`, lost, name: String(it.id), verb: 'Discard' }))) return null;
    return then(call('DELETE', path), list);
  };
  return h('li', {},
    h('span', { class: 'badge bad' }, it.state),
    h('div', { class: 'what' },
      h('p', {}, session ? null : named(it.session_id), session ? null : ' ', h('span', { class: 'soft' }, `#${it.id} `), it.event,
        it.chat_id ? h('span', { class: 'soft' }, ' of ', h('bdi', {}, it.chat_id)) : null),
      h('p', { class: 'error', dir: 'auto' }, it.error),
      LOST[it.state] ? h('p', { class: 'soft' }, LOST[it.state]) : null, body),
    h('span', { class: 'soft when' }, ago(it.died_at)),
    h('div', { class: 'buttons' }, action('Show', show, { right: 'read', done: '' }),
      action('Replay', () => then(call('POST', `${path}/replay`), list), { right: 'operate', done: 'It is delivered again.' }),
      action('Discard', discard, { right: 'operate', kind: 'danger', done: 'Discarded.' })));
}
