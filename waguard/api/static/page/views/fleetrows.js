// Which sessions are shown, in which order, and what a row says: of values alone.
import { isUp } from '../state.js';
import { statusOf } from '../words.js';

const RANK = { bad: 0, wait: 1, off: 2, good: 3 };

export const needsPerson = (it) => it.needs_person;
export const needs = (it) => it.conditions.some(needsPerson);

const byName = (a, b) => a.session_id.localeCompare(b.session_id, 'en', { numeric: true });
const byMost = (name) => (a, b) => (b[name] ?? -1) - (a[name] ?? -1) || byName(a, b);
const rank = (it) => (needs(it) ? 0 : 10) + RANK[statusOf(it).kind];
export const orders = {
  attention: { words: 'Attention first', compare: (a, b) => rank(a) - rank(b) || byName(a, b) },
  name: { words: 'Name', compare: byName },
  memory: { words: 'Memory', compare: byMost('memory_mb') },
  cpu: { words: 'CPU', compare: byMost('cpu_percent') },
  restarts: { words: 'Restarts', compare: byMost('restarts') },
  workspace: { words: 'Workspace', compare: (a, b) => a.workspace_id - b.workspace_id || byName(a, b) },
};

const FILTERS = { all: () => true, needs, up: isUp, down: (it) => !isUp(it) };

export function wanted(it, { search, filter, workspace }) {
  if (workspace && String(it.workspace_id) !== workspace) return false;
  if (!FILTERS[filter](it)) return false;
  const text = search.trim().toLowerCase();
  return !text || [it.session_id, it.phone_number, it.host, statusOf(it).words].some((one) => one?.toLowerCase().includes(text));
}

// equal conditions are one: of one kind, in the same words but for numbers
export function folded(conditions) {
  const groups = new Map();
  for (const it of conditions) {
    const key = [it.type, it.reason, it.stage, it.message.replace(/\d+/g, '#')].join('|');
    const group = groups.get(key) ?? { key, first: it, ids: [], since: it.since };
    if (it.session_id) group.ids.push(it.session_id);
    if (it.since < group.since) group.since = it.since;
    groups.set(key, group);
  }
  return [...groups.values()].sort((a, b) => (a.ids.length > 0) - (b.ids.length > 0) || Date.parse(a.since) - Date.parse(b.since));
}

// why a session is as it is, and what to do
export function reasonOf(it) {
  const first = it.conditions.find(needsPerson) ?? it.conditions[0];
  const sealed = it.undecryptable.count ? `Messages that cannot be decrypted yet: ${it.undecryptable.count}` : '';
  const said = first ? it.conditions.map((one) => one.message) : [isUp(it) ? '' : (it.host === null && it.waiting) || it.disconnect_details];
  const message = [...new Set([...said, sealed])].filter(Boolean).map((one) => one.charAt(0).toUpperCase() + one.slice(1)).join('. ');
  return { message, advice: first?.remedy ?? '', since: first?.since ?? null };
}

// what a person most likely wants to do with it: a call, or a look at its own view
export function next({ link, lifecycle }) {
  if (lifecycle === 'stopped') return { words: 'Start', rest: '/start' };
  if (lifecycle === 'parked') return { words: 'Restart', rest: '/reconnect' };
  if (link === 'qr_pending') return { words: 'Show QR' };
  return link === 'passkey_required' ? { words: 'Passkey' } : null;
}
