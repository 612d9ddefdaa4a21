// The way to the API: the key of this tab, calls, and the stream of events.
const KEY = 'waguard-key';
const OWN = 'waguard-key-own';
const GOES_ON = 'waguard-key-goes-on';
const SILENCE = 40000; // ms without even a comment, which comes every 15 s: the stream is dead
const SOON = 300; // ms to the next attempt …
const LATER = 3000; // … and after the first minute
const READ_WITHIN = 30000; // ms for an answer: a connection may be dead without an error …
const WITHIN = 75000; // … and to what changes something
const UNSEEN = 60000; // ms until a hidden tab ends its stream: all tabs share six connections
const SENDABLE = /^[ -~]+$/; // all that a key has; a header carries little more
let refused = () => {};

export const hasKey = () => SENDABLE.test(sessionStorage.getItem(KEY) ?? '');
export const forgetKey = () => [KEY, OWN].forEach((it) => sessionStorage.removeItem(it));

// `own`: it was made for this page, and ends with it
export function keepKey(key, { own = false } = {}) {
  forgetKey();
  sessionStorage.setItem(KEY, key);
  if (own) sessionStorage.setItem(OWN, 'yes');
}

export const onRefused = (run) => { refused = run; };
export const pause = (time) => new Promise((done) => setTimeout(done, time));

async function request(method, path, { body, headers = {}, signal = AbortSignal.timeout(method === 'GET' ? READ_WITHIN : WITHIN) } = {}) {
  const sent = { ...headers };
  const withKey = hasKey() && !('X-Ticket' in headers);
  if (withKey) sent['X-Api-Key'] = sessionStorage.getItem(KEY);
  if (body !== undefined) sent['Content-Type'] = 'application/json';
  const response = await fetch(path, { method, headers: sent, cache: 'no-store', signal, body: body === undefined ? undefined : JSON.stringify(body) });
  if (response.status === 401 && withKey) refused();
  return response;
}

// {ok, status, data, error, remedy}; status 0: no answer came. What is no JSON is a proxy's
export async function call(method, path, body, headers = {}) {
  try {
    const response = await request(method, path, { body, headers });
    const isJson = response.headers.get('Content-Type')?.startsWith('application/json');
    const data = isJson ? await response.json() : null;
    const { status } = response;
    const ok = response.ok && (isJson || status === 204);
    return { ok, status, data, error: ok ? null : data?.error ?? `HTTP ${status} without JSON`, remedy: data?.remedy ?? null };
  } catch {
    const remedy = method === 'GET' ? '`systemctl status waguard` shows whether it runs.' : 'Whether it was done is unknown: look before you repeat it.';
    return { ok: false, status: 0, data: null, error: 'waguard does not answer', remedy };
  }
}

export const exchange = (ticket) => call('POST', '/api/keys/exchange', undefined, { 'X-Ticket': ticket });

export async function leave() {
  const { ok, status } = sessionStorage.getItem(OWN) ? await call('DELETE', '/api/keys/current') : { ok: true };
  forgetKey();
  if (!ok && status !== 401) sessionStorage.setItem(GOES_ON, 'yes');
}

// what is to be said after that, once; null: nothing
export function afterLeaving() {
  const goesOn = sessionStorage.getItem(GOES_ON);
  sessionStorage.removeItem(GOES_ON);
  return goesOn && 'The key of this page was not ended. `waguard keys list` names it, `waguard keys revoke` ends it.';
}

// a data URL: an address in an <img> could not carry the key
export async function picture(path) {
  try {
    const response = await request('GET', path);
    if (!response.ok) return null;
    const reader = new FileReader();
    reader.readAsDataURL(await response.blob());
    return await new Promise((done) => { reader.onload = () => done(reader.result); });
  } catch {
    return null;
  }
}

export const session = (id, rest = '') => `/api/sessions/${encodeURIComponent(id)}${rest}`;

// EventSource cannot send a header, and a key in an address ends up in logs.
// `opened` is called whenever there may be a gap before what comes next: read everything then
export async function follow({ opened, event, lost }) {
  let lastId = null;
  let lostAt = null;
  let end;
  let resting = document.hidden;
  let wake;
  let timer;
  const rest = () => {
    resting = true;
    end?.abort();
  };
  document.addEventListener('visibilitychange', () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(rest, UNSEEN);
    else resting = false;
    wake?.();
  });
  while (hasKey()) {
    if (resting) {
      await Promise.race([pause(UNSEEN), new Promise((done) => { wake = done; })]);
      if (resting) opened();
      continue;
    }
    end = new AbortController();
    let silence;
    const listen = () => {
      clearTimeout(silence);
      silence = setTimeout(() => end.abort(), SILENCE);
    };
    try {
      listen();
      const response = await request('GET', '/api/events', { headers: lastId ? { 'Last-Event-ID': lastId } : {}, signal: end.signal });
      if (response.status === 401) return;
      if (response.status === 400) lastId = null; // that of another version
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      lostAt = null;
      opened();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      for (let it = await reader.read(); !it.done; it = await reader.read()) {
        listen();
        const blocks = (text + it.value).split('\n\n');
        text = blocks.pop();
        for (const block of blocks) {
          const lines = block.split('\n');
          const value = (name) => lines.find((line) => line.startsWith(name))?.slice(name.length);
          lastId = value('id: ') ?? lastId;
          if (value(': host ')) opened(); // of a cluster: its events do not come, or do again
          const data = value('data: ');
          if (data) event(JSON.parse(data));
        }
      }
    } catch {
      // what went wrong is the same to whoever watches: nothing comes
    } finally {
      clearTimeout(silence);
    }
    if (resting) continue;
    lostAt ??= Date.now();
    lost();
    await pause(Date.now() - lostAt < 60000 ? SOON : LATER);
  }
}
