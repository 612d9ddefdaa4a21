// What waits: messages without an answer or on their way, webhooks that were given up, held or without a number.
import { action, confirmByName } from '../actions.js';
import { call } from '../api.js';
import { ago, h } from '../dom.js';
import { link } from '../router.js';
import { onEvent, seesAll } from '../state.js';
import { WAITING, letters, messages, paged } from './lists.js';

const REFRESH_AFTER = 2000; // ms; many events are one reading
const STATES = ['dead', 'uncertain', 'unidentified', 'undecryptable', 'stored'];
const CONCERNS = /^(message_|session_|link|incident|change)/;

export const title = () => 'Messages and webhooks';

const part = (id, words, hint, count, ...inner) => h('section', { id, class: 'card stack' }, h('h2', {}, words, ' ', count), h('p', { class: 'soft' }, hint), ...inner);
const named = (session) => h('a', { href: link(session), class: 'name' }, session);

function held() {
  const list = paged({
    read: () => call('GET', '/api/webhooks/held'),
    items: (data) => data.held,
    keyOf: (it) => `${it.session_id} ${it.chat_id} ${it.reason}`,
    make: (it) => h('li', {}, h('span', { class: 'badge wait' }, 'held'),
      h('div', { class: 'what' }, h('p', {}, named(it.session_id), ' ', h('bdi', {}, it.chat_id)), h('p', { class: 'soft', dir: 'auto' }, it.reason)),
      h('span', { class: 'soft when' }, ago(it.since)),
      action('Discard', () => discardHeld(it.session_id, list), { right: 'operate', kind: 'danger', done: 'They are dead letters now.' })),
    empty: 'No chat waits for its session.',
  });
  return list;
}

async function discardHeld(session, list) {
  const lost = ['Every received message of this session that waits becomes a dead letter, in all of its chats.', 'The application gets them only where somebody replays them.'];
  if (!(await confirmByName({ title: 'Discard what waits', lost, name: session, verb: 'Discard' }))) return null;
  const answer = await call('POST', '/api/webhooks/held/discard', { session_id: session });
  if (answer.ok) await list.reload();
  return answer;
}

function unidentified() {
  const list = paged({
    read: () => call('GET', '/api/webhooks/unidentified'),
    items: (data) => data.unidentified,
    keyOf: (it) => `${it.session_id} ${it.chat_id} ${it.count}`,
    make: (it) => h('li', {}, h('span', { class: 'badge wait' }, 'no number'),
      h('div', { class: 'what' }, h('p', {}, named(it.session_id), ' ', h('bdi', {}, it.chat_id)), h('p', { class: 'soft' }, `${it.count} wait for the number of this LID.`)),
      h('span', { class: 'soft when' }, ago(it.since)),
      h('div', { class: 'buttons' },
        action('Deliver under the LID', () => unidentifiedCall('replay', it, list), { right: 'operate', done: 'They are delivered.' }),
        action('Discard', () => discardUnidentified(it, list), { right: 'operate', kind: 'danger', done: 'Discarded.' }))),
    empty: 'No chat waits for a number.',
  });
  return list;
}

async function unidentifiedCall(verb, it, list) {
  const answer = await call('POST', `/api/webhooks/unidentified/${verb}`, { session_id: it.session_id, chat_id: it.chat_id });
  if (answer.ok) await list.reload();
  return answer;
}

async function discardUnidentified(it, list) {
  const lost = [`The ${it.count} that wait are deleted for good. The application never gets them.`];
  const sure = await confirmByName({ title: 'Discard what waits in this chat', lost, name: it.chat_id, verb: 'Discard' });
  return sure ? unidentifiedCall('discard', it, list) : null;
}

export function show(main) {
  const uncertain = messages({ states: ['uncertain'], empty: 'Every message that was sent has its answer.' });
  const queued = messages({ states: WAITING, empty: 'No message waits.' });
  const choice = h('select', { id: 'dead-state', onchange: () => choose() }, h('option', { value: '' }, 'all'), ...STATES.map((it) => h('option', { value: it }, it)));
  const place = h('div', {});
  const total = h('span', {});
  let dead;
  const choose = () => {
    dead = letters({ state: choice.value || null, empty: 'There is none.' });
    total.replaceChildren(dead.count);
    place.replaceChildren(dead.element);
  };
  choose();
  const others = [held(), unidentified()];
  // a key for some sessions may replay one by one
  const all = !seesAll() ? null : action('Replay all', async () => {
    const answer = await call('POST', '/api/webhooks/dead/replay');
    if (answer.ok) await dead.reload();
    return answer;
  }, { right: 'operate', done: 'All but uncertain ones are delivered again.' });
  main.append(
    h('h1', {}, 'Messages and webhooks'),
    part('uncertain', 'Uncertain', 'Sent, and not answered by WhatsApp. They are never sent again.', uncertain.count, uncertain.element),
    part('queued', 'Queued', 'Messages that are on their way, or wait for their time or their session.', queued.count, queued.element),
    part('dead', 'Dead letters', 'Webhooks that were given up.', total, h('div', { class: 'line' }, h('label', { for: 'dead-state' }, 'State'), choice, all), place),
    part('held', 'Held', 'Received messages that wait until their session is connected.', others[0].count, others[0].element),
    part('unidentified', 'Without a number', 'Received messages of private chats whose LID has no known number.', others[1].count, others[1].element),
  );
  let timer = null;
  const leave = onEvent((event) => {
    if (timer || !CONCERNS.test(event.event)) return;
    timer = setTimeout(() => {
      timer = null;
      for (const it of [uncertain, queued, dead, ...others]) it.refresh();
    }, REFRESH_AFTER);
  });
  return () => {
    leave();
    clearTimeout(timer);
  };
}
