// All sessions: what needs a person, rows to find and act on, plots, and what happens.
import { action } from '../actions.js';
import { call, session as path } from '../api.js';
import { ago, broken, h, mark, patch, remedy, set, setAgo } from '../dom.js';
import { link } from '../router.js';
import { counts, inCluster, isUp, may, seesAll, state, subscribe } from '../state.js';
import { describe, plural, statusOf } from '../words.js';
import { folded, needsPerson, next, orders, reasonOf, wanted } from './fleetrows.js';

const NAMES = 5; // sessions that a folded condition names
const CONDITIONS = 6;
const EVENTS = 60;
const AT_ONCE = 4; // calls for what is selected
const FILTERS = { all: 'All', needs: 'Needs you', up: 'Connected', down: 'Down' };
const VERBS = [['Start', '/start'], ['Stop', '/stop'], ['Restart', '/reconnect']];
// what was chosen stays while another view is shown
const chosen = { search: '', filter: 'all', workspace: '', sort: 'attention', every: false, selected: new Set(), scroll: 0 };

export const title = () => 'Sessions';

export function show(main) {
  const parts = build();
  main.append(parts.whole);
  const render = () => draw(parts);
  const leave = [subscribe(render)];
  render();
  scrollTo(0, chosen.scroll);
  if (inCluster && seesAll()) import('./hosts.js').then((it) => leave.push(it.others(parts.calm))).catch(() => {});
  if (seesAll()) import('./plots.js').then((it) => leave.push(it.plots(parts.plots))).catch(() => {});
  const keys = (event) => {
    if (event.key !== '/' || event.target.closest('input, select, dialog')) return;
    event.preventDefault();
    parts.search.focus();
  };
  document.addEventListener('keydown', keys);
  leave.push(() => document.removeEventListener('keydown', keys));
  return () => {
    chosen.scroll = scrollY;
    leave.forEach((it) => it());
  };
}

function build() {
  const parts = { shown: [] };
  const again = () => draw(parts);
  const choose = (name, read = (it) => it.value) => (event) => {
    chosen[name] = read(event.target);
    again();
  };
  parts.headline = h('h1', {});
  parts.calm = h('p', { class: 'soft' });
  parts.problems = h('ul', { id: 'problems', 'aria-label': 'Needs you' });
  const unfold = () => { chosen.every = true; drawProblems(parts); };
  parts.more = h('button', { type: 'button', class: 'quiet', onclick: unfold });
  parts.others = h('ul', { class: 'others' });
  parts.handled = h('summary', {});
  parts.handledBox = h('details', { class: 'handled' }, parts.handled, parts.others);
  parts.plots = h('section', { class: 'plots', 'aria-label': 'The last day', hidden: true });
  parts.search = h('input', { type: 'search', id: 'search', placeholder: 'Search, or press /', 'aria-label': 'Search sessions', value: chosen.search, oninput: choose('search') });
  parts.filters = Object.entries(FILTERS).map(([name, words]) => {
    const count = h('span', { class: 'count' });
    const press = () => { chosen.filter = name; again(); };
    return { name, count, button: h('button', { type: 'button', class: 'pill', onclick: press }, words, count) };
  });
  parts.workspace = h('select', { 'aria-label': 'Workspace', onchange: choose('workspace') });
  parts.sort = h('select', { 'aria-label': 'Sort by', onchange: choose('sort') }, Object.entries(orders).map(([name, { words }]) => h('option', { value: name, selected: name === chosen.sort }, words)));
  const every = (event) => {
    chosen.selected = new Set(event.target.checked ? parts.shown.map((it) => it.session_id) : []);
    again();
  };
  parts.every = h('input', { type: 'checkbox', 'aria-label': 'Select all that are shown', onchange: every });
  parts.rows = h('tbody', { id: 'rows' });
  const heading = (words, kind = '') => h('th', { scope: 'col', role: 'columnheader', class: kind }, words);
  parts.table = h('table', { id: 'sessions', role: 'table' },
    h('caption', { class: 'unseen' }, 'Sessions'),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' },
      may('operate') && h('th', { scope: 'col', role: 'columnheader', class: 'check' }, parts.every),
      heading('Session'), heading('State'), heading('Why, and what to do'), heading('Load', 'number'),
      may('operate') && heading(h('span', { class: 'unseen' }, 'Action')))),
    parts.rows);
  parts.rows.setAttribute('role', 'rowgroup');
  parts.none = h('div', { class: 'card empty' });
  parts.selected = h('p', {});
  const clear = () => { chosen.selected = new Set(); again(); };
  parts.bulk = h('div', { class: 'bulk', role: 'region', 'aria-label': 'Selected sessions', hidden: true },
    parts.selected,
    VERBS.map(([words, rest]) => action(words, (say) => bulk(parts, rest, say), { done: (it) => it.done })),
    h('button', { type: 'button', class: 'quiet', onclick: clear }, 'Clear'));
  parts.events = h('ol', { id: 'events' });
  parts.quiet = h('p', { class: 'soft' }, 'Nothing happened yet.');
  parts.whole = h('div', { class: 'fleet' },
    h('section', { class: 'head' }, parts.headline, parts.calm, parts.problems, parts.more, parts.handledBox),
    parts.plots,
    h('section', { class: 'find', 'aria-label': 'Sessions' },
      h('div', { class: 'pills', role: 'group', 'aria-label': 'State' }, parts.filters.map((it) => it.button)),
      h('div', { class: 'row' }, parts.search, parts.workspace, parts.sort),
      parts.table, parts.none, parts.bulk),
    h('section', { id: 'news', class: 'news', 'aria-labelledby': 'news-title' }, h('h2', { id: 'news-title' }, 'What happens'), parts.quiet, parts.events));
  return parts;
}

function draw(parts) {
  const all = [...state.sessions.values()];
  if (parts.conditions !== state.conditions) drawProblems(parts);
  parts.conditions = state.conditions;
  set(parts.calm, parts.problems.hidden ? calm(counts()) : '');
  for (const it of chosen.selected) if (!state.sessions.has(it)) chosen.selected.delete(it);
  drawChoice(parts, all);
  parts.shown = all.filter((it) => wanted(it, chosen)).sort(orders[chosen.sort].compare);
  patch(parts.rows, parts.shown, (it) => it.session_id, (it) => makeRow(parts, it), updateRow);
  drawNone(parts, all);
  drawSelection(parts);
  if (parts.past !== state.events) drawEvents(parts);
  parts.past = state.events;
}

// ---- what needs a person ----

function calm({ total, connected }) {
  if (!total) return '';
  if (connected < total) return `${connected} of ${plural(total, 'session')} connected.`;
  return total === 1 ? 'The session is connected.' : `All ${total} sessions are connected.`;
}

function drawProblems(parts) {
  const groups = folded(state.conditions);
  const needing = groups.filter((it) => needsPerson(it.first));
  const others = groups.filter((it) => !needsPerson(it.first));
  set(parts.headline, needing.length ? `${plural(needing.length, 'thing needs', 'things need')} you` : 'Nothing needs you');
  parts.problems.hidden = !needing.length;
  const few = chosen.every || needing.length <= CONDITIONS + 1 ? needing : needing.slice(0, CONDITIONS);
  parts.more.hidden = few.length === needing.length;
  set(parts.more, `Show all ${needing.length}`);
  patch(parts.problems, few, (it) => it.key, makeProblem, updateProblem);
  parts.handledBox.hidden = !others.length;
  set(parts.handled, `${plural(others.length, 'other condition')}`);
  patch(parts.others, others, (it) => it.key, makeProblem, updateProblem);
}

function makeProblem() {
  const made = h('li', { class: 'problem' });
  made.parts = { who: h('p', { class: 'who' }), what: h('p', { class: 'what' }), when: ago(null), advice: h('p', { class: 'advice soft' }), act: h('div', { class: 'act' }) };
  const { who, what, when, advice, act } = made.parts;
  made.append(who, h('div', { class: 'about' }, what, advice), when, act);
  return made;
}

function updateProblem(row, { first, ids, since }) {
  const { who, what, when, advice, act } = row.parts;
  offer(act, ids.length === 1 ? state.sessions.get(ids[0]) : null);
  mark(row, 'data-type', first.type);
  mark(row, 'data-session', ids.length === 1 ? ids[0] : null);
  mark(row, 'data-kind', needsPerson(first) ? (first.degrades ? 'bad' : 'wait') : 'off');
  const names = ids.join(' ');
  if (row.dataset.names !== names) {
    row.dataset.names = names;
    const more = ids.length - NAMES;
    who.replaceChildren(...ids.slice(0, NAMES).flatMap((it) => [h('a', { href: link(it) }, broken(it)), ' ']), more > 0 ? `and ${more} more` : '', ids.length ? '' : 'All sessions');
  }
  const stage = first.stage && ids.length === 1 ? ` (${first.stage})` : '';
  set(what, `${first.message.charAt(0).toUpperCase()}${first.message.slice(1)}${stage}`);
  setAgo(when, since);
  const text = ids.length > 1 ? first.remedy.replaceAll(ids[0], 'NAME') : first.remedy;
  if (row.dataset.advice !== text) {
    row.dataset.advice = text;
    advice.replaceChildren(remedy(text));
  }
}

// ---- rows ----

function makeRow(parts, { session_id: id }) {
  const pick = (event) => {
    if (event.target.checked) chosen.selected.add(id);
    else chosen.selected.delete(id);
    drawSelection(parts);
  };
  const cell = (kind, ...children) => h('td', { role: 'cell', class: kind }, children);
  const it = {
    check: h('input', { type: 'checkbox', 'aria-label': `Select ${id}`, onchange: pick }), about: h('span', { class: 'about soft small' }), badge: h('span', { class: 'badge' }),
    when: ago(null), restarts: h('span', { class: 'restarts' }), why: h('p', {}), advice: h('p', { class: 'soft small advice' }), memory: h('p', {}), cpu: h('p', { class: 'small' }), act: cell('act'),
  };
  const row = h('tr', { role: 'row', 'data-session': id },
    may('operate') && cell('check', it.check),
    h('th', { scope: 'row', role: 'rowheader' }, h('a', { href: link(id) }, broken(id)), it.about),
    cell('state', it.badge, h('p', { class: 'soft small' }, it.when, it.restarts)),
    cell('why', it.why, it.advice),
    cell('number', it.memory, it.cpu),
    may('operate') && it.act);
  row.parts = it;
  return row;
}

function updateRow(row, session) {
  const { session_id: id, phone_number: phone, workspace_id: workspace, cpu_percent: cpu, memory_mb: memory } = session;
  const it = row.parts;
  const { kind, words } = statusOf(session);
  mark(row, 'data-kind', kind);
  mark(it.badge, 'data-kind', kind);
  set(it.badge, words);
  set(it.about, [phone && `+${phone}`, `workspace ${workspace}`, session.host && `host ${session.host}`].filter(Boolean).join(' · '));
  const { message, advice, since } = reasonOf(session);
  setAgo(it.when, isUp(session) ? session.connected_at : since);
  set(it.why, message);
  if (it.advice.dataset.text !== advice) {
    it.advice.dataset.text = advice;
    it.advice.replaceChildren(remedy(advice));
  }
  set(it.memory, memory === null ? '–' : `${Math.round(memory)} MB`);
  set(it.cpu, cpu === null ? '' : `${cpu} %`);
  set(it.restarts, session.restarts ? plural(session.restarts, 'restart') : '');
  offer(it.act, session);
}

// what helps, as long as that is the same
function offer(into, session) {
  const step = may('operate') && session ? next(session) : null;
  const { session_id: id } = session ?? {};
  if (into.dataset.step === `${step?.words} ${id}`) return;
  into.dataset.step = `${step?.words} ${id}`;
  const name = step && `${step.words} ${id}`;
  into.replaceChildren(...!step ? [] : [step.rest ? action(step.words, () => call('POST', path(id, step.rest)), { name }) : h('a', { class: 'button', href: link(id), 'aria-label': name }, step.words)]);
}

// ---- what was chosen ----

function drawChoice(parts, all) {
  for (const { name, count, button } of parts.filters) {
    set(count, all.filter((it) => wanted(it, { ...chosen, filter: name })).length);
    mark(button, 'aria-pressed', String(chosen.filter === name));
  }
  const workspaces = [...new Set(all.map((it) => it.workspace_id))].sort((a, b) => a - b);
  parts.workspace.hidden = workspaces.length < 2;
  const options = ['', ...workspaces].join();
  if (parts.workspace.dataset.options === options) return;
  parts.workspace.dataset.options = options;
  parts.workspace.replaceChildren(h('option', { value: '' }, 'All workspaces'), ...workspaces.map((it) => h('option', { value: it, selected: String(it) === chosen.workspace }, `Workspace ${it}`)));
}

function drawNone(parts, all) {
  parts.table.hidden = !parts.shown.length;
  parts.none.hidden = parts.shown.length > 0;
  const which = parts.shown.length ? '' : !state.health ? 'loading' : all.length ? 'hidden' : state.unknown ? 'unknown' : 'empty';
  if (parts.none.dataset.which === which) return;
  parts.none.dataset.which = which;
  const everything = () => {
    Object.assign(chosen, { search: '', filter: 'all', workspace: '' });
    [parts.search.value, parts.workspace.value] = ['', ''];
    draw(parts);
  };
  const said = {
    '': [],
    loading: [h('p', {}, 'Loading the sessions …')],
    unknown: [h('p', {}, 'Which sessions there are is not known now.')],
    hidden: [h('p', {}, 'No session is like that.'), h('button', { type: 'button', onclick: everything }, 'Show all sessions')],
    empty: [h('h2', {}, 'No sessions yet'), may('operate')
      ? h('p', {}, 'Create the first one, and scan its QR code with the phone: ', h('a', { href: '#/new' }, 'New session'), ', or ', h('code', {}, 'waguard sessions create NAME'), '.')
      : h('p', {}, 'A key with the right operate can create one.')],
  };
  parts.none.replaceChildren(...said[which]);
}

function drawSelection(parts) {
  const count = chosen.selected.size;
  parts.bulk.hidden = !count;
  set(parts.selected, `${count} selected`);
  const shown = parts.shown.filter((it) => chosen.selected.has(it.session_id)).length;
  parts.every.checked = shown > 0 && shown === parts.shown.length;
  parts.every.indeterminate = shown > 0 && shown < parts.shown.length;
  for (const row of parts.rows.children) row.parts.check.checked = chosen.selected.has(row.dataset.session);
}

// who could not be done stays selected
async function bulk(parts, rest, say) {
  const ids = [...chosen.selected];
  const waiting = [...ids];
  const failed = [];
  const work = async () => {
    for (let id = waiting.shift(); id; id = waiting.shift()) {
      const result = await call('POST', path(id, rest));
      if (!result.ok) failed.push({ id, ...result });
      say(`${ids.length - waiting.length} of ${ids.length} …`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (!failed.length) return { ok: true, done: `${plural(ids.length, 'session')} done.` };
  chosen.selected = new Set(failed.map((it) => it.id));
  drawSelection(parts);
  const [{ id, error, remedy: advice }] = failed;
  return { ok: false, error: `${failed.length} of ${ids.length} failed, and stay selected. ${id}: ${error}`, remedy: advice };
}

// ---- what happens ----

function drawEvents(parts) {
  parts.quiet.hidden = state.events.length > 0;
  patch(parts.events, state.events.slice(0, EVENTS), (it) => it.id ?? `past ${it.data.number}`, makeEvent, () => {});
}

function makeEvent(it) {
  const at = new Date(it.at);
  const today = at.toDateString() === new Date().toDateString();
  const time = h('time', { datetime: it.at, title: at.toLocaleString() }, today ? at.toLocaleTimeString() : at.toLocaleDateString());
  return h('li', {}, time, h('p', {}, it.session_id && h('a', { href: link(it.session_id) }, it.session_id), it.session_id && ' ', describe(it)));
}
