// What waits: messages without an answer or on their way, webhooks that were given up, held or without a number. The lists of
// one session are made here, too.
import { action, confirmByName } from '../actions.js';
import { call } from '../api.js';
import { ago, h, patch, remedy, set } from '../dom.js';
import { link } from '../router.js';
import { onEvent, onRead, seesAll } from '../state.js';

const REFRESH_AFTER = 1500; // ms
const KINDS = { sent: 'good', delivered: 'good', read: 'good', accepted: 'wait', sending: 'wait', cancelled: 'off' };
const STATES = ['dead', 'uncertain', 'unidentified', 'undecryptable', 'stored', 'restored'];
const CONCERNS = /^(message_|session_|link|incident|change)/;
const UNCERTAIN = 'WhatsApp has not answered: it may have been sent. waguard never sends it again; check the chat on the phone.';
const TWICE = ['uncertain', 'stored', 'restored'];
const LOST = {
  uncertain: 'The receiver said yes, and may have dropped it. Replay it only where the application does not have it.',
  stored: 'The receiver has stored it: a replay would store a second row.',
  restored: 'It may have been delivered before the restore: a replay may deliver it twice.',
  unidentified: 'It is about a LID whose number is unknown: a replay delivers it under the LID.',
  undecryptable: 'WhatsApp Web could not decrypt this message. Read it on the phone.',
};

// What went wrong with a call, and what to do.
export const problem = ({ error, remedy: what }) => h('p', { class: 'error', role: 'alert' }, `${error}. `, what ? remedy(what) : null);
export const soft = (...words) => h('p', { class: 'soft', dir: 'auto' }, words);
export const buttons = (...made) => h('div', { class: 'buttons' }, made);
// A line of a list: its state, what it is, since when, what can be done.
export const line = (kind, state, what, at, ...more) => h('li', {},
  h('span', { class: `badge ${kind}` }, state), h('div', { class: 'what' }, what), at ? h('span', { class: 'soft when' }, ago(at)) : null, more);
const about = (it, session, ...words) => h('p', {}, session ? null : [h('a', { href: link(it.session_id), class: 'name' }, it.session_id), ' '], words);
const discarding = (run, done = 'Discarded.') => action('Discard', run, { kind: 'danger', done });
const query = (path, given) => call('GET', `${path}?${new URLSearchParams(Object.entries(given).filter(([, it]) => it))}`);

// Runs after events that concern it; many of them are one reading. Gives what ends that.
export function after(run, concerns) {
  let timer = null;
  const leave = onEvent((event) => {
    if (timer || !concerns(event)) return;
    timer = setTimeout(() => { timer = null; run(); }, REFRESH_AFTER);
  });
  return () => {
    leave();
    clearTimeout(timer);
  };
}

// Takes each answer of a reading: one that failed `run` reads again after everything else was read, while `place` is shown.
export function retrying(place, run) {
  let leave = () => {};
  const again = () => {
    leave();
    if (place.isConnected) run();
  };
  return ({ ok }) => {
    leave();
    if (!ok) leave = onRead(again);
  };
}

// A list with a line for each item, which is made again where `keyOf` it changes. `read(before)` → the result of call(), whose
// field `name` has those of a page; `make(item, then)`: what is done by `then` reads the list again. An event does so unless
// somebody has gone back in it.
export function paged({ read, name, keyOf, make, empty }) {
  const rows = h('ul', { class: 'lines' });
  const words = h('div', { role: 'status' }, soft('Loading …'));
  const more = h('div', {});
  const count = h('span', { class: 'count' });
  const element = h('div', { class: 'stack' }, rows, words, more);
  let shown = [];
  let older = false;
  let wanted;
  const retry = retrying(element, () => { load(wanted); });

  async function load(before) {
    wanted = before;
    const answer = await read(before);
    retry(answer);
    if (!answer.ok) { words.replaceChildren(problem(answer)); return answer; }
    older = before !== undefined;
    shown = [...(older ? shown : []), ...answer.data[name]];
    patch(rows, shown, keyOf, (it) => make(it, then), () => {});
    words.replaceChildren(...(shown.length ? [] : [soft(empty)]));
    const next = answer.data.before;
    set(count, `${shown.length}${next ? '+' : ''}`);
    more.replaceChildren(...(next ? [action('Older ones', () => load(next), { right: 'read', done: '' })] : []));
    return answer;
  }

  async function then(calling) {
    const answer = await calling;
    if (answer.ok) await load();
    return answer;
  }

  load();
  return { element, count, then, refresh: () => (older ? undefined : load()) };
}

// Messages on their way out: one session's or all; `states`: only those.
export const messages = ({ session, states = [''], empty }) => paged({
  // several states are small lists, read whole; one is read page by page
  read: async (before) => {
    const answers = await Promise.all(states.map((state) => query('/api/messages', { session_id: session, state, before })));
    const found = answers.flatMap((it) => it.data?.messages ?? []).sort((one, other) => other.id - one.id);
    return answers.find((it) => !it.ok) ?? { ok: true, data: { messages: found, before: states.length > 1 ? null : answers[0].data.before } };
  },
  name: 'messages',
  keyOf: (it) => `${it.id} ${it.status} ${it.ack} ${it.attempts}`,
  make: (it, then) => line(KINDS[it.status] ?? 'bad', it.status, [
    about(it, session, h('span', { class: 'soft' }, `#${it.id} ${it.type} to `), h('bdi', {}, it.to)),
    it.status === 'uncertain' && soft(UNCERTAIN),
    it.error && h('p', { class: 'error', dir: 'auto' }, it.error),
    it.send_at && it.status === 'accepted' && soft(`It is sent at ${new Date(it.send_at).toLocaleString()}.`),
  ], it.updated_at, it.status === 'accepted' && action('Cancel', () => then(call('POST', `/api/messages/${it.id}/cancel`)), { right: 'send', done: 'Cancelled.' })),
  empty,
});

// Dead letters: one session's or all; `state`: only those.
export const letters = ({ session, state, empty }) => paged({
  read: (before) => query('/api/webhooks/dead', { session_id: session, state, before }),
  name: 'dead',
  keyOf: (it) => `${it.id} ${it.attempts} ${it.state}`,
  make: (it, then) => letter(it, then, session),
  empty,
});

function letter(it, then, session) {
  const path = `/api/webhooks/dead/${it.id}`;
  const body = h('pre', { class: 'body', tabindex: '0', hidden: true, 'aria-label': `Body of #${it.id}`, dir: 'auto' });
  const show = async () => {
    const answer = await call('GET', path);
    body.hidden = !answer.ok;
    set(body, JSON.stringify(answer.data?.body, null, 2));
    return answer;
  };
  const confirm = (verb, lost, run) => confirmByName({ title: `${verb} #${it.id}`, lost: [lost], name: String(it.id), verb }, run);
  const discard = () => confirm('Discard', `The receiver never gets this ${it.event}. It is deleted for good.`, () => then(call('DELETE', path)));
  const again = () => then(call('POST', `${path}/replay`));
  const replay = () => (TWICE.includes(it.state) ? confirm('Replay', LOST[it.state], again) : again());
  return line('bad', it.state, [
    about(it, session, h('span', { class: 'soft' }, `#${it.id} `), it.event, it.chat_id && h('span', { class: 'soft' }, ' of ', h('bdi', {}, it.chat_id))),
    h('p', { class: 'error', dir: 'auto' }, it.error), LOST[it.state] && soft(LOST[it.state]), body,
  ], it.died_at, buttons(action('Show', show, { right: 'read', done: '' }),
    action('Replay', replay, { done: 'It is delivered again.' }), discarding(discard)));
}

// ---- the view of all ----

const held = () => paged({
  read: () => call('GET', '/api/webhooks/held'),
  name: 'held',
  keyOf: (it) => `${it.session_id} ${it.chat_id} ${it.reason}`,
  make: (it, then) => line('wait', 'held', [about(it, null, h('bdi', {}, it.chat_id)), soft(it.reason)], it.since, discarding(() => {
    const lost = ['Every received message of this session that waits becomes a dead letter, in all of its chats.', 'The application gets them only where somebody replays them.'];
    return confirmByName({ title: 'Discard what waits', lost, name: it.session_id, verb: 'Discard' }, () => then(call('POST', '/api/webhooks/held/discard', { session_id: it.session_id })));
  }, 'They are dead letters now.')),
  empty: 'No chat waits for its session.',
});

const unidentified = () => paged({
  read: () => call('GET', '/api/webhooks/unidentified'),
  name: 'unidentified',
  keyOf: (it) => `${it.session_id} ${it.chat_id} ${it.count}`,
  make: (it, then) => {
    const post = (verb) => then(call('POST', `/api/webhooks/unidentified/${verb}`, { session_id: it.session_id, chat_id: it.chat_id }));
    const discard = () => {
      const lost = [`The ${it.count} that wait are deleted for good. The application never gets them.`];
      return confirmByName({ title: 'Discard what waits in this chat', lost, name: it.chat_id, verb: 'Discard' }, () => post('discard'));
    };
    return line('wait', 'no number', [about(it, null, h('bdi', {}, it.chat_id)), soft(`${it.count} wait for the number of this LID.`)], it.since,
      buttons(action('Deliver under the LID', () => post('replay'), { done: 'They are delivered.' }), discarding(discard)));
  },
  empty: 'No chat waits for a number.',
});

export const title = () => 'Messages and webhooks';

export function show(main) {
  const part = (id, words, hint, list, ...inner) => main.append(h('section', { id, class: 'card stack' }, h('h2', {}, words, ' ', list.count), soft(hint), inner, list.element));
  const lists = {
    uncertain: messages({ states: ['uncertain'], empty: 'Every message that was sent has its answer.' }),
    queued: messages({ states: ['accepted', 'sending'], empty: 'No message waits.' }),
    held: held(),
    unidentified: unidentified(),
  };
  const choice = h('select', { id: 'dead-state', onchange: () => choose() }, h('option', { value: '' }, 'all'), STATES.map((it) => h('option', { value: it }, it)));
  const dead = { element: h('div', {}), count: h('span', {}) };
  const choose = () => {
    lists.dead = letters({ state: choice.value, empty: 'There is none.' });
    dead.count.replaceChildren(lists.dead.count);
    dead.element.replaceChildren(lists.dead.element);
  };
  choose();
  // a key for some sessions may replay one by one
  const all = seesAll() && action('Replay all', () => lists.dead.then(call('POST', '/api/webhooks/dead/replay')), { done: 'All but uncertain and restored ones are delivered again.' });
  const release = seesAll() && action('Release restored', () => confirmByName({ title: 'Release what waits since the restore', lost: [LOST.restored], name: 'restored', verb: 'Release' }, () => lists.dead.then(call('POST', '/api/restored/webhooks/release'))));
  main.append(h('h1', {}, title()));
  part('uncertain', 'Uncertain', 'Sent, and not answered by WhatsApp. They are never sent again.', lists.uncertain);
  part('queued', 'Queued', 'Messages that are on their way, or wait for their time or their session.', lists.queued);
  part('dead', 'Dead letters', 'Webhooks that were given up.', dead, h('div', { class: 'line' }, h('label', { for: 'dead-state' }, 'State'), choice, all, release));
  part('held', 'Held', 'Received messages that wait until their session is connected.', lists.held);
  part('unidentified', 'Without a number', 'Received messages of private chats whose LID has no known number.', lists.unidentified);
  return after(() => Object.values(lists).forEach((it) => it.refresh()), (event) => CONCERNS.test(event.event));
}
