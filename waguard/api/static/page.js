// The status page: reads the API, follows the event stream, shows text only (never innerHTML).
'use strict';
const $ = (id) => document.getElementById(id);
const KEY = 'waguard-key';
let refreshing = null;

const call = async (path) => {
  const response = await fetch(path, { headers: { 'X-Api-Key': sessionStorage.getItem(KEY) || '' }, cache: 'no-store' });
  if (response.status === 401) throw new Error('key');
  return response;
};

const cell = (text, kind) => {
  const td = document.createElement('td');
  td.textContent = text ?? '–';
  if (kind) td.className = kind;
  return td;
};

function showHealth(health) {
  const { connected, total } = health.sessions;
  $('health').textContent = `${health.status}: ${connected} of ${total} connected, up ${Math.round(health.uptime)} s, ${health.memory.used} MB`;
  $('health').className = health.status;
  $('problems').replaceChildren(...health.problems.map((text) => {
    const li = document.createElement('li');
    li.textContent = text;
    return li;
  }));
}

function showSessions(sessions) {
  $('sessions').hidden = sessions.length === 0;
  $('none').hidden = sessions.length !== 0;
  $('sessions').tBodies[0].replaceChildren(...sessions.map((s) => {
    const row = document.createElement('tr');
    row.append(cell(s.session_id), cell(s.status, s.status), cell(s.phone_number), cell(s.lifecycle), cell(s.link),
      cell(s.restarts), cell([s.disconnect_reason, s.disconnect_details].filter(Boolean).join(': ')));
    return row;
  }));
}

async function showCodes(sessions) {
  const figures = await Promise.all(sessions.filter((s) => s.link === 'qr_pending').map(async (s) => {
    const response = await call(`/api/sessions/${encodeURIComponent(s.session_id)}/qr`);
    if (!response.ok) return null;
    const figure = document.createElement('figure');
    const image = document.createElement('img');
    image.src = (await response.json()).qr_code;
    image.alt = `QR code of ${s.session_id}`;
    const caption = document.createElement('figcaption');
    caption.textContent = `${s.session_id}: scan it with the phone`;
    figure.append(image, caption);
    return figure;
  }));
  $('codes').replaceChildren(...figures.filter(Boolean));
}

// one refresh at a time, and one more when something happened meanwhile
async function refresh() {
  if (refreshing) { refreshing.again = true; return; }
  refreshing = { again: false };
  try {
    const health = await (await call('/health/detailed')).json();
    showHealth(health);
    showSessions(health.details);
    await showCodes(health.details);
  } finally {
    const { again } = refreshing;
    refreshing = null;
    if (again) await refresh();
  }
}

function showEvent(event) {
  const li = document.createElement('li');
  const time = document.createElement('time');
  time.dateTime = event.at;
  time.textContent = new Date(event.at).toLocaleTimeString();
  const { from, to, reason, status } = event.data;
  const what = from && to ? `${from} → ${to}` : reason || status || '';
  li.append(time, `${event.session_id ?? ''} ${event.event} ${what}`);
  $('events').prepend(li);
  while ($('events').children.length > 50) $('events').lastChild.remove();
}

// EventSource cannot send a header, and a key in an address ends up in logs
async function follow() {
  const response = await call('/api/events');
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error('the stream ended');
    const parts = (text + value).split('\n\n');
    text = parts.pop();
    for (const part of parts) {
      const data = part.split('\n').find((line) => line.startsWith('data: '));
      if (data) { showEvent(JSON.parse(data.slice(6))); refresh().catch(() => {}); }
    }
  }
}

async function run() {
  let pause = 500;
  for (;;) {
    try {
      await refresh();
      $('login').hidden = true;
      $('news').hidden = false;
      pause = 500;
      await follow();
    } catch (error) {
      if (error.message === 'key') {
        if (sessionStorage.getItem(KEY)) $('login-error').textContent = 'This key is not accepted.';
        sessionStorage.removeItem(KEY);
        $('health').textContent = 'needs the API key';
        $('login').hidden = false;
        return;
      }
      $('health').textContent = 'waguard does not answer, trying again';
      $('health').className = 'down';
      await new Promise((done) => setTimeout(done, pause));
      pause = Math.min(pause * 2, 10000);
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
run();
