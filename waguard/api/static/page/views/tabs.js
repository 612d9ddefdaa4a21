// The five tabs of a session: why, timeline, messages, webhook, picture.
import { action, confirmByName, entered } from '../actions.js';
import { call, picture, session as at } from '../api.js';
import { ago, h, patch, remedy, set } from '../dom.js';
import { may, onEvent } from '../state.js';
import { letters, messages, paged, problem } from './lists.js';

const REFRESH_AFTER = 1000; // ms; many events are one reading
const RESULTS = { done: 'good', refused: 'bad', failed: 'bad', unknown: 'bad' };

// Runs after events of the session, at most once in REFRESH_AFTER; gives what ends that.
function after(id, run, concerns = () => true) {
  let timer = null;
  const leave = onEvent((event) => {
    if (timer || event.session_id !== id || !concerns(event)) return;
    timer = setTimeout(() => { timer = null; run(); }, REFRESH_AFTER);
  });
  return () => {
    leave();
    clearTimeout(timer);
  };
}

const condition = (it) => h('li', { 'data-type': it.type },
  h('span', { class: `badge ${it.needs_person ? 'bad' : 'wait'}` }, it.needs_person ? 'needs you' : it.blame),
  h('div', { class: 'what' }, h('p', { dir: 'auto' }, it.message), h('p', { class: 'next' }, remedy(it.remedy))),
  h('span', { class: 'soft when' }, ago(it.since)));

function why(place, id) {
  const now = h('ul', { class: 'lines' });
  const calm = h('p', {}, 'Nothing is wrong.');
  const sealed = h('p', { class: 'soft' });
  const past = h('ul', { class: 'lines' });
  const words = h('div', { role: 'status' }, h('p', { class: 'soft' }, 'Loading …'));
  place.append(now, calm, sealed, h('h2', {}, 'Incidents'), past, words);

  async function read() {
    const answer = await call('GET', at(id, '/incidents'));
    if (!answer.ok) { words.replaceChildren(problem(answer)); return; }
    const found = answer.data.incidents;
    if (found) patch(past, found.toReversed(), (it) => JSON.stringify(it), incident, () => {});
    const empty = found === null ? 'Incidents are unknown: the database does not answer.' : found.length ? null : 'No incidents recorded.';
    words.replaceChildren(...(empty ? [h('p', { class: 'soft' }, empty)] : []));
  }

  read();
  return {
    update(row) {
      patch(now, row.conditions, (it) => JSON.stringify([it.type, it.message, it.remedy]), condition, () => {});
      calm.hidden = row.conditions.length > 0;
      set(calm, row.status === 'connected' ? 'Nothing is wrong.' : row.disconnect_details ?? row.waiting ?? 'Nothing is wrong that waguard knows of.');
      const { count } = row.undecryptable;
      sealed.hidden = !count;
      set(sealed, `Messages that cannot be decrypted yet: ${count}.`);
    },
    close: after(id, read),
  };
}

const incident = (it) => h('li', {},
  h('span', { class: `badge ${it.ended ? 'off' : 'bad'}` }, it.ended ? 'over' : 'goes on'),
  h('div', { class: 'what' }, it.sentences.map((text) => h('p', { dir: 'auto' }, remedy(text)))),
  h('span', { class: 'soft when' }, ago(it.began)));

function timeline(place, id) {
  const list = paged({
    read: (before) => call('GET', `/api/timeline?${new URLSearchParams({ session_id: id, ...(before && { before }) })}`),
    items: (data) => data.entries,
    keyOf: (it) => it.number,
    make: (it) => h('li', {},
      h('span', { class: 'soft when' }, ago(it.at)),
      h('div', { class: 'what' }, h('p', { dir: 'auto' }, it.text), it.by ? h('p', { class: 'soft' }, 'by ', h('bdi', {}, it.by)) : null),
      it.outcome ? h('span', { class: `badge ${RESULTS[it.outcome]}` }, it.outcome) : null),
    empty: 'Nothing is recorded yet.',
  });
  place.append(list.element);
  return { close: after(id, list.refresh) };
}

const STATES = ['accepted', 'sending', 'uncertain', 'sent', 'delivered', 'read', 'refused', 'failed', 'cancelled'];

function sent(place, id) {
  const choice = h('select', { id: 'message-state', onchange: () => choose() }, h('option', { value: '' }, 'all'), STATES.map((it) => h('option', { value: it }, it)));
  const inner = h('div', {});
  let list;
  const choose = () => {
    list = messages({ session: id, states: [choice.value || null], empty: 'There is none.' });
    inner.replaceChildren(list.element);
  };
  choose();
  place.append(h('div', { class: 'line' }, h('label', { for: 'message-state' }, 'State'), choice), inner);
  return { close: after(id, () => list.refresh(), (event) => event.event.startsWith('message_')) };
}

function webhook(place, id) {
  const words = h('p', { class: 'lead', role: 'status' }, 'Loading …');
  const address = h('input', { id: 'hook-url', type: 'url', required: true, placeholder: 'https://app.example/hook', autocomplete: 'off' });
  const secret = h('input', { id: 'hook-secret', type: 'password', minlength: '16', autocomplete: 'new-password', 'aria-describedby': 'hook-secret-hint' });
  const hold = h('input', { id: 'hook-hold', type: 'checkbox', checked: true });
  let events;
  const save = action('Save', async () => {
    if (!form.reportValidity()) return { ok: false, error: 'The address or the secret is invalid.' };
    const body = { url: address.value, secret: secret.value || null, hold: hold.checked, ...(events && { events }) };
    return then(await call('PUT', at(id, '/webhook'), body));
  }, { kind: 'primary', done: 'Saved.' });
  const remove = h('div', { hidden: true }, action('Remove', async () => {
    const lost = ['What this receiver still should get becomes dead letters.', 'From then on webhooks of this session go to the receiver of all sessions, where there is one.'];
    const sure = await confirmByName({ title: 'Remove the webhook', lost, name: id, verb: 'Remove' });
    return sure ? then(await call('DELETE', at(id, '/webhook'))) : null;
  }, { kind: 'danger', done: 'Removed.' }));
  const form = h('form', { class: 'stack', novalidate: true, onkeydown: entered },
    h('label', { for: 'hook-url' }, 'Address'), address,
    h('label', { for: 'hook-secret' }, 'Secret'), secret,
    h('p', { class: 'soft', id: 'hook-secret-hint' }, '16 characters or more; it is never shown. Without one, webhooks are not signed.'),
    h('label', { for: 'hook-hold', class: 'tick' }, hold, ' Received messages wait until the session is connected'),
    h('div', { class: 'buttons' }, save, remove));
  const dead = letters({ session: id, empty: 'No webhook of this session was given up.' });
  place.append(words, may('operate') ? form : '', h('h2', {}, 'Dead letters'), dead.element);

  async function then(answer) {
    if (answer.ok) await read();
    return answer;
  }

  async function read() {
    const answer = await call('GET', `/api/webhooks/receivers?${new URLSearchParams({ session_id: id })}`);
    if (!answer.ok) { words.replaceChildren(problem(answer)); return; }
    const [own] = answer.data.receivers;
    remove.hidden = !own;
    events = own?.events;
    if (!own) { set(words, 'Webhooks of this session go to the receiver of all sessions. It has none of its own.'); return; }
    words.replaceChildren('Webhooks of this session go to ', h('code', {}, own.url), own.signed ? ', signed. It gets ' : ', not signed. It gets ', `${own.events.length} kinds of events.`);
    address.value = own.url;
    hold.checked = own.hold;
  }

  read();
  return { close: after(id, dead.refresh, (event) => event.event === 'change' || event.event === 'incident') };
}

function screenshot(place, id) {
  const image = h('img', { alt: `The page of session ${id}`, class: 'picture', hidden: true });
  const words = h('p', { class: 'soft' });
  const take = h('div', {}, action('Take a picture', async () => {
    const data = await picture(at(id, '/screenshot'));
    if (!data) return { ok: false, error: 'There is no picture: the page does not answer.', remedy: 'Try again in a moment.' };
    image.src = data;
    image.hidden = false;
    return { ok: true };
  }, { done: () => `Taken at ${new Date().toLocaleTimeString()}.` }));
  place.append(words, take, image);
  return {
    update(row) {
      const running = row.lifecycle === 'running';
      take.hidden = !running;
      set(words, running ? "What the session's Chromium shows now." : 'There is a picture while the session runs.');
    },
  };
}

const always = () => true;
export const TABS = {
  why: { may: always, show: why },
  timeline: { may: always, show: timeline },
  messages: { may: always, show: sent },
  webhook: { may: always, show: webhook },
  picture: { may: () => may('operate'), show: screenshot },
};
