// The hosts of a cluster: how each is, what it has, emptying one; sessions that no host has; moving a session. Loaded only in one.
import { action, confirmByName } from '../actions.js';
import { call, session as at } from '../api.js';
import { broken, duration, h, mark, patch, set } from '../dom.js';
import { link } from '../router.js';
import { may, onRead, readSoon, seesAll, state, subscribe } from '../state.js';
import { plural } from '../words.js';
import { line, problem, soft } from './queues.js';

const NAMES = 12; // sessions that one reason names
const URL = '/api/hosts';

export const title = () => 'Hosts';

// {kind, words}
function stateOf({ alive, drain, owned, room }) {
  if (!alive) return drain ? ['off', 'Taken out'] : ['bad', 'Down'];
  if (drain) return ['wait', owned ? 'Drains' : 'Empty'];
  return room > 0 ? ['good', 'Alive'] : ['wait', 'Full'];
}

function about({ alive, drain, owned, host, conditions }, here) {
  if (!alive && drain) return 'It was emptied and ended in order.';
  if (!alive) return 'It was not taken out in order; other hosts take its sessions over. Start waguard there.';
  if (drain && owned) return `${plural(owned, 'session is', 'sessions are')} still to move.`;
  if (drain) return host === here ? 'It has no session, and can be stopped.' : 'It has no session, and can be switched off.';
  if (!conditions.length) return '';
  return host === here ? 'The view of the sessions says what to do.' : 'Its own page says what to do.';
}

export function show(main) {
  const summary = h('p', { class: 'lead', role: 'status' }, 'Loading …');
  const trouble = h('div', {});
  const rows = h('tbody', { role: 'rowgroup' });
  const heading = (words, kind = '') => h('th', { scope: 'col', role: 'columnheader', class: kind }, words);
  const table = h('table', { id: 'hosts', role: 'table', hidden: true },
    h('caption', { class: 'unseen' }, 'Hosts'),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heading('Host'), heading('State'), heading('Sessions'), heading('Notes'), heading('Version'),
      may('admin') && heading(h('span', { class: 'unseen' }, 'Action')))),
    rows);
  const lost = h('ul', { class: 'lines' });
  const words = h('p', { class: 'soft' });
  const without = h('section', { id: 'without', class: 'card stack', hidden: true }, h('h2', {}, 'Sessions without a host'), words, lost);
  main.append(h('h1', {}, title()), summary, trouble, table, without);

  async function read() {
    const answer = await call('GET', URL);
    trouble.replaceChildren(...(answer.ok ? [] : [problem(answer)]));
    if (answer.ok) draw(answer.data);
    else if (!rows.children.length) set(summary, '');
  }

  function draw({ host: here, hosts, waiting }) {
    const alive = hosts.filter((it) => it.alive).length;
    const owned = hosts.reduce((all, it) => all + (it.alive ? it.owned : 0), 0);
    set(summary, hosts.length ? `${alive} of ${plural(hosts.length, 'host lives', 'hosts live')}, with ${plural(owned, 'session')}.` : 'No host has a lease yet: this one waits for the engine of the cluster.');
    table.hidden = !hosts.length;
    const own = hosts.find((it) => it.host === here);
    patch(rows, hosts, (it) => it.host, makeRow, (row, it) => updateRow(row, it, here, own?.version));
    without.hidden = waiting !== null && !waiting.length;
    set(words, waiting === null ? 'Which these are is unknown: the database does not answer.' : `${plural(waiting.length, 'session runs', 'sessions run')} nowhere now.`);
    patch(lost, byReason(waiting ?? []), (it) => JSON.stringify(it), reason, () => {});
  }

  // whoever ends a drain reads what comes of it
  const then = async (calling) => {
    const answer = await calling;
    if (answer.ok) await read();
    return answer;
  };
  const drain = (host, method) => call(method, `${URL}/${encodeURIComponent(host)}/drain`, method === 'POST' ? {} : undefined);

  function makeRow({ host, address }) {
    const cell = (kind, ...children) => h('td', { role: 'cell', class: kind }, children);
    const fill = h('span', {});
    const it = {
      here: h('span', { class: 'soft small' }), bar: h('div', { class: 'bar', 'aria-hidden': 'true' }, fill), badge: h('span', { class: 'badge' }), lease: h('p', { class: 'soft small' }), fill,
      owned: h('p', {}), room: h('p', { class: 'soft small' }), wrong: h('ul', { class: 'error' }), about: h('p', { class: 'soft small' }),
      version: h('p', {}), other: h('p', { class: 'soft small' }),
    };
    const ask = () => {
      const lostNow = [`Its sessions move to other hosts that have room, in order, two at a time; each is away for some seconds. It has ${it.owned.textContent} now.`, 'It takes no session until somebody ends this.'];
      return confirmByName({ title: `Drain ${host}`, lost: lostNow, name: host, verb: 'Drain' }, () => then(drain(host, 'POST')));
    };
    it.begin = h('div', {}, action('Drain', ask, { right: 'admin', done: 'Its sessions move.', name: `Drain ${host}` }));
    it.end = h('div', {}, action('End drain', () => then(drain(host, 'DELETE')), { right: 'admin', done: 'It takes sessions again.', name: `End drain ${host}` }));
    const row = h('tr', { role: 'row', 'data-host': host },
      h('th', { scope: 'row', role: 'rowheader' }, h('strong', {}, broken(host)), ' ', it.here,
        h('a', { class: 'soft small', href: address, rel: 'noreferrer' }, address)),
      cell('state', it.badge, it.lease),
      cell('load', it.bar, it.owned, it.room),
      cell('why', it.wrong, it.about),
      cell('version', it.version, it.other),
      may('admin') && cell('act', it.begin, it.end));
    row.parts = it;
    return row;
  }

  const leave = onRead(read);
  read();
  return leave;
}

function updateRow(row, host, here, version) {
  const it = row.parts;
  const [kind, words] = stateOf(host);
  mark(row, 'data-kind', kind);
  mark(it.badge, 'data-kind', kind);
  set(it.badge, words);
  set(it.here, host.host === here ? '(this one)' : '');
  set(it.lease, host.alive ? `lease: ${host.lease_left.toFixed(0)} s left` : `silent for ${duration(host.renewed_ago)}`);
  const all = host.owned + host.room;
  it.bar.hidden = !host.alive;
  it.fill.style.width = `${all ? Math.round((100 * host.owned) / all) : 0}%`;
  set(it.owned, host.alive ? plural(host.owned, 'session') : '–');
  set(it.room, host.alive && !host.drain ? `room for ${host.room} more` : '');
  patch(it.wrong, host.alive ? host.conditions : [], (one) => one, (one) => h('li', {}, one.replaceAll('_', ' ')), () => {});
  set(it.about, about(host, here));
  set(it.version, host.version);
  set(it.other, version && host.version !== version ? 'not that of this host' : '');
  it.begin.hidden = !host.alive || host.drain;
  it.end.hidden = !host.alive || !host.drain;
}

function byReason(waiting) {
  const groups = new Map();
  for (const { session_id: id, seconds, why } of waiting) {
    const group = groups.get(why) ?? { why, ids: [], seconds: 0 };
    group.ids.push(id);
    group.seconds = Math.max(group.seconds, Math.round(seconds));
    groups.set(why, group);
  }
  return [...groups.values()].sort((a, b) => b.ids.length - a.ids.length);
}

function reason({ why, ids, seconds }) {
  const linked = (some) => some.flatMap((id) => [h('a', { href: link(id) }, broken(id)), ' ']);
  const rest = ids.slice(NAMES);
  return line('bad', plural(ids.length, 'session'), [
    h('p', {}, why.charAt(0).toUpperCase(), why.slice(1), '.'),
    h('p', { class: 'names' }, linked(ids.slice(0, NAMES))),
    rest.length > 0 && h('details', {}, h('summary', {}, `${rest.length} more`), h('p', { class: 'names' }, linked(rest))),
  ], null, h('span', { class: 'soft when' }, duration(seconds)));
}

// Below the view of all sessions, whose conditions are this host's: what is wrong on others. Gives what ends that.
export function others(calm) {
  const words = h('p', { class: 'soft', hidden: true });
  calm.after(words);
  const read = async () => {
    const { ok, data } = await call('GET', URL);
    const found = ok ? data.hosts.filter((it) => it.host !== data.host && it.alive && it.conditions.length) : [];
    words.hidden = !found.length;
    words.replaceChildren('Beside this host: ', found.map((it) => `${it.host}: ${it.conditions.join(', ').replaceAll('_', ' ')}`).join('; '), '. ', h('a', { href: '#/hosts' }, 'Hosts'));
  };
  read();
  return onRead(read);
}

// Below a session: the host that has it, and another one for it. Of another host's the list says little, so that host is
// asked. Gives what ends that.
export function beside(id, into) {
  const leave = [onRead((data) => whole(id, data)), moving(id, into)];
  if (state.sessions.get(id)?.lifecycle === 'elsewhere') readSoon();
  return () => leave.forEach((it) => it());
}

async function whole(id, data) {
  const row = data.details?.find((it) => it.session_id === id);
  if (row?.lifecycle !== 'elsewhere' || !row.host) return;
  const answer = await call('GET', at(id, '/status'));
  if (!answer.ok) return;
  Object.assign(row, answer.data);
  data.conditions.push(...answer.data.conditions);
}

function moving(id, into) {
  if (!may('admin') || !seesAll()) return () => {};
  const which = h('select', { id: 'move-to' });
  const words = h('p', { class: 'soft' });
  const move = () => {
    const to = which.value;
    const lost = [`It ends on ${state.sessions.get(id)?.host ?? 'its host'} in order, and then starts on ${to}: it is away for some seconds.`, 'What is to be sent meanwhile waits.'];
    return confirmByName({ title: `Move ${id}`, lost, name: id, verb: 'Move' }, () => call('POST', at(id, '/move'), { to }));
  };
  const choice = h('div', { class: 'line', hidden: true }, h('label', { for: 'move-to' }, 'Move it to'), which, action('Move', move, { right: 'admin', done: 'It moves.' }));
  const whole = h('section', { class: 'card stack', id: 'moving' }, h('h2', {}, 'Host'), words, choice);
  into.append(whole);
  let hosts = [];

  function draw() {
    const row = state.sessions.get(id);
    whole.hidden = !row || row.host === undefined;
    if (whole.hidden) return;
    const others = hosts.filter((it) => it.host !== row.host && it.alive && !it.drain && it.room > 0);
    set(words, row.host === null ? `No host has it: ${row.waiting}.` : `${row.host} has it.${others.length ? '' : ' No other host has room for it.'}`);
    choice.hidden = row.host === null || !others.length;
    patch(which, others, (it) => it.host, (it) => h('option', { value: it.host }, it.host), () => {});
  }

  const read = async () => {
    const { ok, data } = await call('GET', URL);
    if (ok) hosts = data.hosts;
    draw();
  };
  const leave = [onRead(read), subscribe(draw)];
  read();
  return () => leave.forEach((it) => it());
}
