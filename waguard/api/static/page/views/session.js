// One session: its status, what can be done with it, and five tabs about it.
import { action, confirmByName } from '../actions.js';
import { call, session as at } from '../api.js';
import { ago, h, mark, set, setAgo } from '../dom.js';
import { go, link } from '../router.js';
import { may, state, subscribe } from '../state.js';
import { statusOf } from '../words.js';
import { pairing } from './pairing.js';
import { TABS } from './tabs.js';

const DOWN = ['stopped', 'stopping'];
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
  Version: (it) => it.version && `${it.version.page ?? 'unknown'}${it.version.served_by === 'store' ? ' (store)' : ''}`,
};

export const title = (id) => id;

// What a person can do with it; each button is there in the states in which it helps.
function buttons(id) {
  const post = (verb) => () => call('POST', at(id, `/${verb}`));
  const leaving = async (name, lost, run) => ((await confirmByName({ title: `${name} ${id}`, lost, name: id, verb: name })) ? run() : null);
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
  return {
    element: may('operate') ? h('div', { class: 'buttons', role: 'group', 'aria-label': 'Actions' }, Object.values(slots)) : null,
    update(row) {
      const down = DOWN.includes(row.lifecycle);
      slots.start.hidden = !down;
      slots.stop.hidden = down;
      slots.restart.hidden = down;
      slots.logout.hidden = !row.phone_number;
    },
  };
}

export function show(main, id, tab) {
  const chosen = TABS[tab]?.may?.() ? tab : 'why';
  const badge = h('span', { class: 'badge' });
  const since = ago(null);
  const phone = h('span', {});
  const facts = Object.keys(FACTS).map((name) => h('dd', {}));
  const acts = buttons(id);
  const pair = pairing(id);
  const place = h('div', { class: 'card stack', id: 'tab' });
  const known = h('div', { class: 'stack', hidden: true },
    acts.element, pair.element,
    h('nav', { class: 'tabs', 'aria-label': 'About this session' }, Object.keys(TABS).filter((it) => TABS[it].may()).map((it) => h('a', { href: link(id, it), 'aria-current': it === chosen ? 'page' : null, 'data-focus': it === tab }, it))),
    place,
    h('details', { class: 'card' }, h('summary', {}, 'Details'), h('dl', { class: 'facts' }, Object.keys(FACTS).map((name, i) => h('div', {}, h('dt', {}, name), facts[i])))));
  const missing = h('p', { class: 'card', hidden: true }, 'There is no such session, or this key does not see it. ', h('a', { href: '#/' }, 'All sessions'));
  main.append(h('p', { class: 'crumbs' }, h('a', { href: '#/' }, 'Sessions')), h('h1', { class: 'name' }, h('bdi', {}, id)), h('p', { class: 'status' }, badge, since, phone), known, missing);
  let opened = null;

  function draw() {
    const row = state.sessions.get(id);
    known.hidden = !row;
    missing.hidden = Boolean(row) || state.phase === 'loading' || state.unknown;
    if (!row) return;
    opened ??= TABS[chosen].show(place, id);
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
    leave();
    pair.close();
    opened?.close?.();
  };
}
