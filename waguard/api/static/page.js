// The status page: reads the API, follows the event stream, shows text only (never innerHTML).
'use strict';
const $ = (id) => document.getElementById(id);
const KEY = 'waguard-key';
const EVENTS_SHOWN = 50;
const REFRESH_EVERY = 10000; // ms; what no event reports: uptime, memory, a code that ran out
const REFRESH_GAP = 500; // ms between two looks, however many events come
const codes = new Map(); // session → figure
let refreshing = null;
let lastId = null;

const call = async (path, headers = {}, more = {}) => {
  const key = sessionStorage.getItem(KEY) || '';
  const response = await fetch(path, { headers: { 'X-Api-Key': key, ...headers }, cache: 'no-store', ...more });
  if (response.status === 401) throw new Error('key');
  return response;
};

const good = async (path) => {
  const response = await call(path);
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return response.json();
};

const element = (name, text, kind) => {
  const made = document.createElement(name);
  made.textContent = text ?? '–';
  if (kind) made.className = kind;
  return made;
};

const pause = (time) => new Promise((done) => setTimeout(done, time));

function showHealth(health) {
  const { connected, total } = health.sessions;
  const minutes = Math.floor(health.uptime / 60);
  const up = minutes < 1 ? `${Math.round(health.uptime)} s` : minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h`;
  $('health').textContent = `${health.status}: ${connected} of ${total} connected, up ${up}, ${health.memory.used} MB`;
  $('health').className = health.status;
  document.title = `${connected}/${total} waguard`;
  $('problems').replaceChildren(...health.conditions.map(condition));
}

function condition(it) {
  const unattended = it.unattended_expires_in ? `, ${it.unattended_expires_in} s without a code to compare` : '';
  const stage = it.stage ? ` (stage ${it.stage}, ${it.expires_in} s left${unattended})` : '';
  const whose = it.session_id ? `${it.session_id}: ` : '';
  const line = element('li', `${whose}${it.message}${stage}. `, it.degrades ? '' : 'hint');
  const remedy = element('span', '', 'hint');
  it.remedy.split('`').forEach((part, at) => remedy.append(at % 2 ? element('code', part) : part));
  line.append(remedy);
  line.dataset.type = it.type;
  if (it.session_id) line.dataset.session = it.session_id;
  return line;
}

function showSessions(sessions) {
  $('sessions').hidden = sessions.length === 0;
  $('none').hidden = sessions.length !== 0;
  $('rows').replaceChildren(...sessions.map((s) => {
    const row = document.createElement('tr');
    const name = element('th', s.session_id);
    name.scope = 'row';
    const sealed = s.undecryptable.count && `messages that cannot be decrypted yet: ${s.undecryptable.count}`;
    const reasons = [s.disconnect_reason, s.disconnect_details, ...s.conditions.map((it) => it.message), sealed];
    const why = [...new Set(reasons.filter(Boolean))].join(': ');
    row.append(name, element('td', s.status, s.status), element('td', s.phone_number), element('td', s.lifecycle),
      element('td', s.link), element('td', s.restarts, 'number'), element('td', s.cpu_percent, 'number'),
      element('td', s.memory_mb, 'number'), element('td', versionOf(s.version)), element('td', why || '–'));
    return row;
  }));
}

function versionOf(it) {
  if (!it) return '–';
  return `${it.page ?? 'unknown'}${it.served_by === 'store' ? ' (store)' : ''}`;
}

function figureFor(session) {
  const figure = document.createElement('figure');
  const image = document.createElement('img');
  image.alt = `QR code of session ${session}`;
  figure.append(image, element('figcaption', `${session}: scan it with the phone`));
  $('codes').append(figure);
  codes.set(session, figure);
  return figure;
}

// a picture is replaced only when its code changed: a phone may be scanning it
async function showCode(session) {
  const response = await call(`/api/sessions/${encodeURIComponent(session)}/qr`);
  const figure = codes.get(session);
  if (!response.ok) {
    figure?.remove();
    codes.delete(session);
    return;
  }
  const { qr_code: code } = await response.json();
  const image = (figure ?? figureFor(session)).firstChild;
  if (image.src !== code) image.src = code;
}

async function showCodes(sessions) {
  const wanted = new Set(sessions.filter((s) => s.link === 'qr_pending').map((s) => s.session_id));
  for (const [session, figure] of codes) {
    if (!wanted.has(session)) {
      figure.remove();
      codes.delete(session);
    }
  }
  await Promise.all([...wanted].map(showCode));
}

// one request at a time, and one more when something happened meanwhile
async function refresh() {
  if (refreshing) { refreshing.again = true; return; }
  const look = { again: false };
  refreshing = look;
  try {
    do {
      look.again = false;
      const began = performance.now();
      const health = await good('/health/detailed');
      showHealth(health);
      // null: the sessions are not known, so what was shown stays
      if (health.details) {
        showSessions(health.details);
        await Promise.all([showCodes(health.details), showPasskeys(health.details)]);
      }
      // a daemon that is behind is left as long as it took
      if (look.again) await pause(Math.max(REFRESH_GAP, performance.now() - began));
    } while (look.again);
  } finally {
    refreshing = null;
  }
}

const refreshSoon = () => refresh().catch(() => {}); // the stream's own loop shows what is wrong

function showEvent(event) {
  lastId = event.id;
  const { from, to, kind, reason, status, by, route, outcome } = event.data;
  const reasons = [kind, reason || status].filter(Boolean).join(': ');
  const change = by && `${route}, by ${by}: ${outcome}`;
  const what = from && to ? `${from} → ${to}` : change || reasons;
  const time = element('time', new Date(event.at).toLocaleTimeString());
  time.dateTime = event.at;
  const line = document.createElement('li');
  line.append(time, `${event.session_id ?? ''} ${event.event} ${what}`);
  $('events').prepend(line);
  while ($('events').children.length > EVENTS_SHOWN) $('events').lastChild.remove();
}

// EventSource cannot send a header, and a key in an address ends up in logs
async function follow() {
  const response = await call('/api/events', lastId ? { 'Last-Event-ID': String(lastId) } : {});
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  refreshSoon(); // what happened before the stream was open
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error('the stream ended');
    const blocks = (text + value).split('\n\n');
    text = blocks.pop();
    for (const block of blocks) {
      const data = block.split('\n').find((line) => line.startsWith('data: '));
      if (data) {
        showEvent(JSON.parse(data.slice('data: '.length)));
        refreshSoon();
      }
    }
  }
}

function askForKey() {
  if (sessionStorage.getItem(KEY)) $('login-error').textContent = 'This key is not accepted.';
  sessionStorage.removeItem(KEY);
  $('health').textContent = 'needs the API key';
  $('health').className = '';
  $('login').hidden = false;
  $('key').focus();
}

async function run() {
  let wait = 500;
  for (;;) {
    try {
      await refresh();
      $('login').hidden = true;
      $('news').hidden = false;
      wait = 500;
      await follow();
    } catch (error) {
      if (error.message === 'key') return askForKey();
      $('health').textContent = 'waguard does not answer, trying again';
      $('health').className = 'down';
      await pause(wait);
      wait = Math.min(wait * 2, 10000);
    }
  }
}

$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $('key').value.trim());
  $('key').value = '';
  $('login-error').textContent = '';
  run();
});
setInterval(() => { if (!$('news').hidden && !document.hidden) refreshSoon(); }, REFRESH_EVERY);
run();
