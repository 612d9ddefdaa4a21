// Words for what the API says in one word.
const LINKS = {
  qr_pending: 'Waits for a scan', passkey_required: 'Asks for a passkey', pairing: 'Pairing', syncing: 'Syncing', offline: 'Reconnecting',
  conflict: 'Open elsewhere', blocked: 'Blocked', needs_update: 'Needs an update', logged_out: 'Logged out', unknown: 'Loading',
};
const LIFECYCLES = { starting: 'Starting', backoff: 'Restarts soon', recycling: 'Restarting', stopped: 'Stopped', stopping: 'Stopping', parked: 'Parked', parking: 'Parking' };
const STATUSES = { qr_scanning: 'Waits for a scan', authenticated: 'Syncing', disconnected: 'Disconnected', failed: 'Failed' };
const WAITING = new Set(['qr_scanning', 'authenticated']);
const BAD = new Set(['failed', 'disconnected']);

// {kind: good, wait, bad or off, words}
export function statusOf(session) {
  const { status, lifecycle, link } = session;
  if (status === 'connected') return { kind: 'good', words: 'Connected' };
  if (lifecycle === 'elsewhere') return session.host === null ? { kind: 'bad', words: 'No host' } : { kind: status === 'failed' ? 'bad' : 'wait', words: STATUSES[status] ?? status };
  if (lifecycle === 'stopped' || lifecycle === 'stopping') return { kind: 'off', words: LIFECYCLES[lifecycle] };
  if (lifecycle === 'running') {
    const kind = BAD.has(status) && link !== 'offline' ? 'bad' : 'wait';
    return { kind, words: LINKS[link] ?? status };
  }
  if (lifecycle === 'parked' || lifecycle === 'parking') return { kind: 'bad', words: LIFECYCLES[lifecycle] };
  return { kind: BAD.has(status) || WAITING.has(status) ? 'wait' : 'off', words: LIFECYCLES[lifecycle] ?? status };
}

// an event of the stream, or one of the past, in one line
export function describe({ event, data }) {
  if (event === 'past') return [data.text, ...(['refused', 'failed', 'unknown'].includes(data.outcome) ? [data.outcome] : [])].join(': ');
  const { from, to, kind, reason, status, by, route, outcome } = data;
  if (event === 'change') return `${verbOf(route)} by ${by}: ${outcome}`;
  const name = event.replaceAll('_', ' ');
  if (from && to) return `${name}: ${from} → ${to}`;
  const about = [kind, reason ?? status].filter(Boolean).join(': ');
  return about ? `${name} ${about}` : name;
}

const VERBS = { reconnect: 'restart', restore: 'start', sessions: 'create', 'regenerate-qr': 'new code', 'pairing-code': 'pairing code' };

// what a call does: the end of its route, or the whole
function verbOf(route) {
  const [method, path] = route.split(' ');
  const end = path.split('/').at(-1);
  if (path.startsWith('/api/sessions') || path.startsWith('/sessions')) {
    if (method === 'DELETE') return end.startsWith('{') ? 'delete' : `delete ${end}`;
    return `${method === 'PUT' ? 'set ' : ''}${VERBS[end] ?? end}`;
  }
  return `${method} ${path.replace('/api', '')}`;
}

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
