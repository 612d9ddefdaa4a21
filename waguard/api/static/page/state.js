// What the page knows: sessions, conditions, health, events, and the right of its key. Views subscribe.
import { call, follow, hasKey, pause, session } from './api.js';

const KEPT = 200; // events
const PAST = 100; // events from before the page was opened
const GAP = 500; // ms between two reads, however many events come
const FEW = 5; // sessions that are read one by one
const EVERY = 15000; // ms; what no event reports: uptime, memory
const SEEN = 200; // ms between two times that it is drawn …
const UNSEEN = 1000; // … and while nobody sees it
const AGAIN = 500; // ms to the next attempt while nothing is known
export const inCluster = 'cluster' in document.body.dataset;
const WHOLE = `/health/detailed${inCluster ? '?elsewhere=1' : ''}`;
const RIGHTS = ['read', 'send', 'operate', 'admin'];

// phase: login, loading, live, stale, refused; readAt: when everything was read last
export const state = {
  phase: 'loading', sessions: new Map(), conditions: [], health: null, unknown: false, events: [], key: null, readAt: null,
};
const texts = new Map(); // session → its JSON
const watchers = new Set();
const listeners = new Set();
const readers = new Set();
const due = new Set(); // sessions to read
let reading = null;
let wantsAll = false;
let drawing = false;
let drawnAt = 0;

export const may = (right) => state.key !== null && RIGHTS.indexOf(state.key.right) >= RIGHTS.indexOf(right);
export const seesAll = () => state.key !== null && !state.key.workspaces && !state.key.sessions;
export const counts = () => ({ total: state.sessions.size, connected: [...state.sessions.values()].filter(isUp).length });
export const isUp = (it) => it.status === 'connected';

const joined = (all, run) => {
  all.add(run);
  return () => all.delete(run);
};
export const subscribe = (run) => joined(watchers, run);
export const onEvent = (run) => joined(listeners, run);
// whenever everything is read: reads what else a view shows, and may put it into that
export const onRead = (run) => joined(readers, run);

// a flood of events is drawn five times a second; once while only the title can be seen
export function changed() {
  if (drawing) return;
  drawing = true;
  const draw = () => {
    drawing = false;
    drawnAt = Date.now();
    for (const run of [...watchers]) run();
  };
  if (document.hidden) setTimeout(draw, UNSEEN);
  else setTimeout(() => requestAnimationFrame(draw), Math.max(0, drawnAt + SEEN - Date.now()));
}

export function enter(phase) {
  if (state.phase === phase || (phase === 'live' && !hasKey())) return;
  state.phase = phase;
  changed();
}

// the same object as long as nothing of it changed
function kept(it) {
  const text = JSON.stringify(it);
  if (texts.get(it.session_id) === text) return state.sessions.get(it.session_id) ?? it;
  texts.set(it.session_id, text);
  return it;
}

async function readAll() {
  const { ok, data } = await call('GET', WHOLE);
  if (!ok) return false;
  for (const run of [...readers]) await run(data);
  state.health = data;
  state.conditions = data.conditions;
  state.unknown = data.details === null; // what was shown stays
  if (data.details) state.sessions = new Map(data.details.map((it) => [it.session_id, kept(it)]));
  state.readAt = Date.now();
  return true;
}

export async function reload(id) {
  const { ok, status, data } = await call('GET', session(id, '/status'));
  if (ok && !data.removed_at) {
    state.sessions.set(id, kept(data));
    const others = state.conditions.filter((it) => it.session_id !== id);
    state.conditions = [...others, ...data.conditions];
  } else if (ok || status === 404) {
    state.sessions.delete(id);
    state.conditions = state.conditions.filter((it) => it.session_id !== id);
  }
  changed();
}

// one read at a time, and one more when something happened meanwhile
async function read() {
  if (reading) return;
  const began = Date.now();
  reading = (async () => {
    const some = [...due];
    const all = wantsAll || some.length > FEW;
    due.clear();
    wantsAll = false;
    if (!all) {
      await Promise.all(some.map(reload));
      return;
    }
    if (await readAll()) enter('live');
    else if (state.phase === 'live') enter('stale');
    changed();
  })();
  try {
    await reading;
  } finally {
    // a daemon that is behind is left as long as it took
    await pause(Math.max(GAP, Date.now() - began));
    reading = null;
  }
  if (wantsAll || due.size) read();
}

export function readSoon() {
  wantsAll = true;
  read();
}

function happened(event) {
  state.events = [event, ...state.events].slice(0, KEPT);
  for (const run of [...listeners]) run(event);
  if (!event.event.startsWith('message')) { // those change no row
    // one that is unknown is new
    const known = state.sessions.get(event.session_id);
    if (known && known.lifecycle !== 'elsewhere') due.add(event.session_id);
    else wantsAll = true;
    read();
  }
  changed();
}

// what happened before the page was opened
async function readPast() {
  const { ok, data } = await call('GET', `/api/timeline?limit=${PAST}`);
  if (!ok) {
    const leave = onRead(() => { leave(); readPast(); });
    return;
  }
  const past = data.entries.map((it) => ({ at: it.at, event: 'past', session_id: it.session_id, data: it }));
  const from = Math.min(...state.events.map((it) => Date.parse(it.at))); // the stream has those after it
  state.events = [...state.events, ...past.filter((it) => Date.parse(it.at) < from)].slice(0, KEPT);
  changed();
}

async function readKey() {
  const { ok, data } = await call('GET', '/api/keys/current');
  if (ok) state.key = data;
}

// views are shown after it: what they offer depends on the key
export async function start() {
  enter('loading');
  for (;;) {
    await Promise.all([readKey(), readAll()]);
    if (!hasKey()) return;
    if (state.key && state.health) break;
    enter('stale');
    await pause(AGAIN);
  }
  enter('live');
  follow({ opened: readSoon, event: happened, lost: () => { if (hasKey()) enter('stale'); } });
  readPast();
}

const shown = () => !document.hidden && (state.phase === 'live' || state.phase === 'stale');
setInterval(() => { if (shown()) readSoon(); }, EVERY);
document.addEventListener('visibilitychange', () => {
  if (shown() && Date.now() - state.readAt > EVERY) readSoon();
});
