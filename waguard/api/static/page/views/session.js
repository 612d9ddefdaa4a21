// One session: its status, what can be done with it, pairing its phone, and five tabs about it.
import { action, confirmByName, entered, forget } from '../actions.js';
import { call, pause, picture, session as at } from '../api.js';
import { ago, h, mark, patch, remedy, set, setAgo } from '../dom.js';
import { passkeys } from '../passkey.js';
import { go, link } from '../router.js';
import { inCluster, may, onEvent, state, subscribe } from '../state.js';
import { statusOf } from '../words.js';
import { after, buttons, letters, line, messages, paged, problem, retrying, soft } from './queues.js';

const STOPPED = ['stopped', 'stopping'];
const UNLINKED = 'WhatsApp removes this device. To use the session again, a phone has to scan a new code.';
const FAILS = 'Messages of this session that still wait to be sent fail.';
const FACTS = {
  Phone: (it) => it.phone_number,
  Workspace: (it) => it.workspace_id,
  Worker: (it) => it.lifecycle,
  Link: (it) => it.link.replaceAll('_', ' '),
  Restarts: (it) => it.restarts,
  Memory: (it) => it.memory_mb && `${it.memory_mb} MB`,
  CPU: (it) => it.cpu_percent !== null && `${it.cpu_percent} %`,
  ...(inCluster && { Host: (it) => it.host }),
  Version: (it) => it.version && `${it.version.page ?? 'unknown'}${it.version.served_by === 'store' ? ' (store)' : ''}`,
};
const WAIT = 20; // s that the daemon waits for the code before it says that there is none yet
const AGAIN = 3000; // ms between two questions where it said so
const LATE = 5; // s after the end of a code in which the next one is still on its way
const DOWN = [...STOPPED, 'parked', 'parking'];
const SCAN = 'On the phone: WhatsApp → Linked devices → Link a device. Then scan this code.';
const TYPE = 'On the phone: WhatsApp → Linked devices → Link a device → Link with phone number instead. Then type this code:';
const STEPS = {
  qr_pending: SCAN,
  pairing: 'The phone links this device. Keep WhatsApp open on it.',
  syncing: 'The phone is linked. WhatsApp Web synchronizes.',
  passkey_required: 'The phone was scanned. WhatsApp asks for the passkey of the account.',
};
const RESULTS = { done: 'good', refused: 'bad', failed: 'bad', unknown: 'bad' };

export const title = (id) => id;

// Each button is there in the states in which it helps.
function actions(id) {
  const post = (verb) => () => call('POST', at(id, `/${verb}`));
  const leaving = (name, lost, run) => confirmByName({ title: `${name} ${id}`, lost, name: id, verb: name }, run);
  const remove = async () => {
    const answer = await call('DELETE', at(id));
    if (answer.ok) go('#/');
    return answer;
  };
  const all = {
    start: action('Start', post('start'), { kind: 'primary', done: 'It starts.' }),
    restart: action('Restart', post('reconnect'), { done: 'It starts again; the pairing stays.' }),
    stop: action('Stop', post('stop'), { done: 'Stopped; the pairing stays.' }),
    logout: action('Log out', () => leaving('Log out', [UNLINKED, FAILS], post('logout')), { kind: 'danger', done: 'Logged out.' }),
    remove: action('Delete', () => leaving('Delete', [UNLINKED, FAILS, 'The session leaves all lists.'], remove), { kind: 'danger', done: 'Deleted.' }),
  };
  const slots = Object.fromEntries(Object.entries(all).map(([name, it]) => [name, h('div', {}, it)]));
  const element = h('div', { class: 'buttons', role: 'group', 'aria-label': 'Actions' }, Object.values(slots));
  let was;
  return {
    element: may('operate') && element,
    update(row) {
      if (row.status !== was && row.status !== 'disconnected') forget(element);
      was = row.status;
      const down = STOPPED.includes(row.lifecycle);
      slots.start.hidden = !down;
      slots.stop.hidden = down;
      slots.restart.hidden = down;
      slots.logout.hidden = !row.phone_number;
    },
  };
}

export function show(main, id, tab) {
  const chosen = tabs().includes(tab) ? tab : 'why';
  const badge = h('span', { class: 'badge' });
  const since = ago(null);
  const phone = h('span', {});
  const facts = Object.keys(FACTS).map((name) => h('dd', {}));
  const acts = actions(id);
  const pair = pairing(id);
  const place = h('div', { class: 'card stack', id: 'tab' });
  const known = h('div', { class: 'stack', hidden: true },
    acts.element, pair.element,
    h('nav', { class: 'tabs', 'aria-label': 'About this session' }, tabs().map((it) => h('a', { href: link(id, it), 'aria-current': it === chosen ? 'page' : null, 'data-focus': it === tab }, it))),
    place,
    h('details', { class: 'card' }, h('summary', {}, 'Details'), h('dl', { class: 'facts' }, Object.keys(FACTS).map((name, i) => h('div', {}, h('dt', {}, name), facts[i])))));
  const missing = h('p', { class: 'card', hidden: true }, 'There is no such session, or this key does not see it. ', h('a', { href: '#/' }, 'All sessions'));
  main.append(h('p', { class: 'crumbs' }, h('a', { href: '#/' }, 'Sessions')), h('h1', { class: 'name' }, h('bdi', {}, id)), h('p', { class: 'status' }, badge, since, phone), known, missing);
  let opened = null;
  let gone = false;
  const left = [];
  if (inCluster) import('./hosts.js').then((it) => { if (!gone) left.push(it.beside(id, known)); }).catch(() => {});

  function draw() {
    const row = state.sessions.get(id);
    known.hidden = !row;
    missing.hidden = Boolean(row) || state.phase === 'loading' || state.unknown;
    if (!row) return;
    opened ??= TABS[chosen](place, id);
    const { kind, words } = statusOf(row);
    mark(badge, 'class', `badge ${kind}`);
    set(badge, words);
    set(phone, row.phone_number && `+${row.phone_number}`);
    setAgo(since, row.status === 'connected' ? row.connected_at : row.conditions[0]?.since);
    Object.values(FACTS).forEach((fact, i) => set(facts[i], fact(row) || '–'));
    acts.update(row);
    pair.update(row);
    opened.update?.(row);
  }

  const leave = subscribe(draw);
  draw();
  return () => {
    gone = true;
    leave();
    left.forEach((it) => it());
    pair.close();
    opened?.close?.();
  };
}

// ---- pairing ----

// What there is to do for a session that no phone is linked to; `update` takes its row.
function pairing(session) {
  const image = h('img', { alt: `QR code of session ${session}`, width: '264', height: '264' });
  const left = h('figcaption', { class: 'soft' });
  const figure = h('figure', { class: 'qr', hidden: true }, image, left);
  const step = h('p', { class: 'lead', role: 'status' });
  const phone = h('input', { id: 'pair-phone', type: 'tel', required: true, autocomplete: 'off', placeholder: '+62 812 3456 7890' });
  const type = h('div', { class: 'stack', hidden: true }, h('p', {}, TYPE));
  const typed = h('output', { class: 'code' });
  type.append(typed);
  const form = h('form', { class: 'line', onkeydown: entered },
    h('label', { for: 'pair-phone' }, 'Without a camera: its phone number'), phone,
    action('Get a code to type', typeCode, { right: 'operate' }));
  const fresh = h('div', {}, action('New code', () => call('POST', at(session, '/regenerate-qr')), { right: 'operate', done: 'A new code is shown.' }));
  const panel = passkeys(session);
  const element = h('section', { class: 'card stack pairing', hidden: true, 'aria-label': 'Pair a phone' },
    h('h2', {}, 'Pair a phone'),
    h('div', { class: 'pair' }, figure, h('div', { class: 'stack' }, step, form, type, panel.element, fresh)));
  let link = null;
  let asking = false;
  let until = 0;

  function show(code) {
    until = performance.now() / 1000 + code.expires_in;
    if (image.src !== code.qr_code) image.src = code.qr_code; // a phone may be scanning it
    figure.hidden = false;
    count();
  }

  // only while there is one: another answer would be an error
  async function ask() {
    if (asking || link !== 'qr_pending') return;
    asking = true;
    const { ok, data } = await call('GET', at(session, `/qr?wait=${WAIT}`));
    if (!ok) await pause(AGAIN);
    else if (link === 'qr_pending') show(data);
    asking = false;
    if (!ok) ask();
  }

  function count() {
    const seconds = Math.ceil(until - performance.now() / 1000);
    set(left, seconds > 0 ? `The next code comes by itself, in ${seconds} s.` : 'The next code comes by itself.');
    if (until && seconds < -LATE && !document.hidden) ask();
  }

  async function typeCode() {
    if (!phone.reportValidity()) return { ok: false, error: 'The phone number is missing.' };
    const answer = await call('POST', at(session, '/pairing-code'), { phone_number: phone.value });
    type.hidden = !answer.ok;
    set(typed, answer.ok ? answer.data.code : '');
    return answer;
  }

  const leave = onEvent((event) => {
    if (event.event === 'qr_code_generated' && event.session_id === session && link === 'qr_pending') show(event.data);
  });
  const timer = setInterval(count, 1000);
  return {
    element,
    update(row) {
      const expired = row.lifecycle === 'parked' && row.conditions.some((it) => it.reason === 'qr_expired');
      const unlinked = !row.phone_number || row.link === 'qr_pending' || row.link === 'passkey_required';
      const scan = row.link === 'qr_pending';
      const asked = row.link === 'passkey_required';
      element.hidden = !may('operate') || row.link === 'connected' || !(unlinked || expired) || (DOWN.includes(row.lifecycle) && !expired);
      if (element.hidden) { link = null; panel.ask(false); return; }
      const changed = link !== row.link;
      link = row.link;
      set(step, STEPS[link] ?? (expired ? 'Nobody scanned the last code.' : 'WhatsApp Web is loading. Its QR code comes by itself.'));
      fresh.hidden = !(expired || scan || asked);
      form.hidden = !scan;
      if (!scan) {
        figure.hidden = type.hidden = true;
        until = 0;
      } else if (changed) ask();
      panel.ask(asked);
    },
    close() {
      link = null;
      leave();
      panel.close();
      clearInterval(timer);
    },
  };
}

// ---- tabs ----

const of = (id, kinds = /./) => (event) => event.session_id === id && kinds.test(event.event);

const condition = (it) => line(it.needs_person ? 'bad' : 'wait', it.needs_person ? 'needs you' : it.blame,
  [h('p', { dir: 'auto' }, it.message), soft(remedy(it.remedy))], it.since);

function why(place, id) {
  const now = h('ul', { class: 'lines' });
  const calm = h('p', {}, 'Nothing is wrong.');
  const sealed = h('p', { class: 'soft' });
  const past = h('ul', { class: 'lines' });
  const words = h('div', { role: 'status' }, soft('Loading …'));
  place.append(now, calm, sealed, h('h2', {}, 'Incidents'), past, words);
  const retry = retrying(words, read);

  async function read() {
    const answer = await call('GET', at(id, '/incidents'));
    retry(answer);
    if (!answer.ok) { words.replaceChildren(problem(answer)); return; }
    const found = answer.data.incidents;
    if (found) patch(past, found.toReversed(), (it) => JSON.stringify(it), incident, () => {});
    const empty = found === null ? 'Incidents are unknown: the database does not answer.' : found.length ? null : 'No incidents recorded.';
    words.replaceChildren(...(empty ? [soft(empty)] : []));
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
    close: after(read, of(id)),
  };
}

const incident = (it) => line(it.ended ? 'off' : 'bad', it.ended ? 'over' : 'goes on', it.sentences.map((text) => h('p', { dir: 'auto' }, remedy(text))), it.began);

function timeline(place, id) {
  const list = paged({
    read: (before) => call('GET', `/api/timeline?${new URLSearchParams({ session_id: id, ...(before && { before }) })}`),
    name: 'entries',
    keyOf: (it) => it.number,
    make: (it) => h('li', {},
      h('span', { class: 'soft when' }, ago(it.at)),
      h('div', { class: 'what' }, h('p', { dir: 'auto' }, it.text), it.by ? soft('by ', h('bdi', {}, it.by)) : null),
      it.outcome ? h('span', { class: `badge ${RESULTS[it.outcome]}` }, it.outcome) : null),
    empty: 'Nothing is recorded yet.',
  });
  place.append(list.element);
  return { close: after(list.refresh, of(id)) };
}

const STATES = ['accepted', 'sending', 'uncertain', 'sent', 'delivered', 'read', 'refused', 'failed', 'cancelled'];

function sent(place, id) {
  const choice = h('select', { id: 'message-state', onchange: () => choose() }, h('option', { value: '' }, 'all'), STATES.map((it) => h('option', { value: it }, it)));
  const inner = h('div', {});
  let list;
  const choose = () => {
    list = messages({ session: id, states: [choice.value], empty: 'There is none.' });
    inner.replaceChildren(list.element);
  };
  choose();
  place.append(h('div', { class: 'line' }, h('label', { for: 'message-state' }, 'State'), choice), inner);
  return { close: after(() => list.refresh(), of(id, /^message_/)) };
}

function webhook(place, id) {
  const words = h('p', { class: 'lead', role: 'status' }, 'Loading …');
  const address = h('input', { id: 'hook-url', type: 'url', required: true, autocomplete: 'off' });
  const secret = h('input', { id: 'hook-secret', type: 'password', minlength: '16', autocomplete: 'new-password', 'aria-describedby': 'hook-secret-hint' });
  const hold = h('input', { id: 'hook-hold', type: 'checkbox', checked: true });
  let kept;
  const save = action('Save', async () => {
    if (!form.reportValidity()) return { ok: false, error: 'The address or the secret is invalid.' };
    const body = { url: address.value, secret: secret.value || null, hold: hold.checked, ...kept };
    return then(await call('PUT', at(id, '/webhook'), body));
  }, { kind: 'primary', done: 'Saved.' });
  const remove = h('div', { hidden: true }, action('Remove', () => {
    const lost = ['What this receiver still should get becomes dead letters.', 'From then on webhooks of this session go to the receiver of all sessions, where there is one.'];
    return confirmByName({ title: 'Remove the webhook', lost, name: id, verb: 'Remove' }, async () => then(await call('DELETE', at(id, '/webhook'))));
  }, { kind: 'danger', done: 'Removed.' }));
  const form = h('form', { class: 'stack', hidden: true, novalidate: true, onkeydown: entered },
    h('label', { for: 'hook-url' }, 'Address'), address,
    h('label', { for: 'hook-secret' }, 'Secret'), secret,
    h('p', { class: 'soft', id: 'hook-secret-hint' }, '16 characters or more; it is never shown. Without one, webhooks are not signed.'),
    h('label', { for: 'hook-hold', class: 'tick' }, hold, ' Received messages wait until the session is connected'),
    buttons(save, remove));
  const dead = letters({ session: id, empty: 'No webhook of this session was given up.' });
  place.append(words, may('operate') ? form : '', h('h2', {}, 'Dead letters'), dead.element);

  async function then(answer) {
    if (answer.ok) await read();
    return answer;
  }

  const retry = retrying(words, read);

  async function read() {
    const answer = await call('GET', `/api/webhooks/receivers?${new URLSearchParams({ session_id: id })}`);
    retry(answer);
    form.hidden = !answer.ok; // a form that knows nothing would overwrite it
    if (!answer.ok) { words.replaceChildren(problem(answer)); return; }
    const [own] = answer.data.receivers;
    remove.hidden = !own;
    kept = own ? { events: own.events, fields: own.fields } : {};
    secret.required = own?.signed === true; // without it the webhooks would be unsigned from now on
    if (!own) { set(words, 'Webhooks of this session go to the receiver of all sessions. It has none of its own.'); return; }
    words.replaceChildren('Webhooks of this session go to ', h('code', {}, own.url), own.signed ? ', signed. It gets ' : ', not signed. It gets ', `${own.events.length} kinds of events.`);
    address.value = own.url;
    hold.checked = own.hold;
  }

  read();
  return { close: after(dead.refresh, of(id, /^(change|incident)$/)) };
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

const TABS = { why, timeline, messages: sent, webhook, picture: screenshot };
const tabs = () => Object.keys(TABS).filter((it) => it !== 'picture' || may('operate'));
