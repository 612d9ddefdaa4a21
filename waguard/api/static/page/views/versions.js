// Versions of WhatsApp Web and of wa-js: which sessions have which, and which one all get.
import { action, confirmByName } from '../actions.js';
import { call } from '../api.js';
import { h, patch, set } from '../dom.js';
import { state } from '../state.js';
import { after, buttons, line, problem, retrying, soft } from './queues.js';

const TRIED = 'A session is loaded with it.';
const DIGITS = 12; // of a SHA-256
const KINDS = { good: 'good', latest: 'good', pinned: 'good', canary: 'wait', suspected: 'wait', unproven: 'wait', held: 'bad', refused: 'bad' };
const MODES = {
  off: 'Sessions get what WhatsApp serves; versions are not watched.',
  react: 'Sessions get the newest version; one that breaks something is held back by itself.',
  guard: 'Sessions get the newest proven version; each new one goes through two canaries first.',
};

export const title = () => 'Versions';

const stateOf = (it) => {
  if (it.rolled_back_at) return ['bad', 'rolled back'];
  if (it.in_use) return ['good', 'in use'];
  return it.candidate ? ['wait', 'canary'] : ['off', 'there'];
};
const count = (sessions) => `${sessions.length} ${sessions.length === 1 ? 'session' : 'sessions'}`;

export function show(main) {
  const which = h('select', { id: 'try-session' }, h('option', { value: '' }, 'any session'), ...[...state.sessions.keys()].sort().map((it) => h('option', { value: it }, it)));
  const summary = h('p', { class: 'lead', role: 'status' }, 'Loading …');
  const rows = h('ul', { class: 'lines' });
  const bundles = h('ul', { class: 'lines' });
  const others = h('div', { class: 'stack', hidden: true });
  const trouble = h('div', { id: 'trouble' });
  const unpin = h('div', { hidden: true }, action('Unpin', () => change('unpin', undefined), { right: 'admin', done: 'Unpinned.' }));
  const trying = h('div', { class: 'line' }, action('Try what WhatsApp serves', () => change('try', session()), { right: 'admin', done: TRIED }));
  const choice = trying.querySelector('button') ? h('div', { class: 'line' }, h('label', { for: 'try-session' }, 'Try with'), which) : null;

  const session = () => (which.value ? { session_id: which.value } : {});
  const change = async (verb, body) => {
    const answer = await call('POST', `/api/versions/${verb}`, body);
    if (answer.ok) showVersions(answer.data);
    return answer;
  };
  const changeBundle = async (verb, body) => {
    const answer = await call('POST', `/api/wajs/${verb}`, body);
    if (answer.ok) showBundles(answer.data);
    return answer;
  };
  const pin = (it) => {
    const lost = [`Every session gets version ${it.revision} at its next load, until somebody unpins it.`, 'waguard does not choose a better one by itself meanwhile.'];
    return confirmByName({ title: `Pin version ${it.revision}`, lost, name: String(it.revision), verb: 'Pin' }, () => change('pin', { revision: it.revision }));
  };
  const use = (it) => {
    const lost = ['Two canaries get this wa-js first; where they stay healthy, every session gets it.'];
    return confirmByName({ title: `Use wa-js ${it.version ?? ''}`, lost, name: it.sha256.slice(0, DIGITS), verb: 'Use' }, () => changeBundle('use', { sha256: it.sha256 }));
  };

  const about = (data) => {
    const pinned = data.pinned ? ` All sessions get ${data.pinned}, which is pinned.` : '';
    const held = data.held_from ? ` Versions from ${data.held_from} on are held back.` : '';
    const tried = data.trying ? ` Session ${data.trying} tries another one.` : '';
    return `${MODES[data.mode] ?? data.mode} The newest is ${data.newest ?? 'unknown'}.${pinned}${held}${tried}`;
  };
  const version = (it, ...more) => line(KINDS[it.status] ?? 'off', it.status, [
    h('p', {}, h('strong', {}, String(it.revision)), h('span', { class: 'soft' }, ` ${[it.served && 'all sessions get it', it.latest && 'the newest', it.stored && 'stored'].filter(Boolean).join(', ')}`)),
    soft(`${it.why}; ${count(it.sessions)}`),
  ], it.since, ...more);
  const ofHost = ([host, data]) => h('section', { class: 'stack' }, h('h3', {}, `Host ${host}`), soft(data ? about(data) : 'It does not answer: its versions are unknown.'),
    data && h('ul', { class: 'lines' }, data.versions.map((it) => version(it))));

  function showVersions(data) {
    set(summary, `${data.host ? `Host ${data.host}, which has this page: ` : ''}${about(data)}`);
    unpin.hidden = data.pinned === null;
    // a change is the answer of this host alone
    if (data.hosts) patch(others, Object.entries(data.hosts), JSON.stringify, ofHost, () => {});
    others.hidden = !others.firstChild;
    patch(rows, data.versions, (it) => JSON.stringify([it, data.pinned]), (it) => version(it, it.stored && buttons(
      it.revision !== data.pinned && action('Pin', () => pin(it), { right: 'admin', done: 'Pinned.' }),
      action('Try', () => change('try', { revision: it.revision, ...session() }), { right: 'admin', done: TRIED }))), () => {});
  }

  function showBundles(data) {
    patch(bundles, data.bundles, JSON.stringify, (it) => line(...stateOf(it), [
      h('p', {}, h('strong', {}, it.version ?? 'version unknown'), ' ', h('code', {}, it.sha256.slice(0, DIGITS))),
      soft(`${it.packed ? 'came with waguard; ' : ''}${count(it.sessions)}`),
    ], it.rolled_back_at, !it.in_use && buttons(
      action('Try', () => changeBundle('try', { sha256: it.sha256, ...session() }), { right: 'admin', done: TRIED }),
      action('Use', () => use(it), { right: 'admin', done: 'Canaries get it first.' }))), () => {});
  }

  const retry = retrying(trouble, read);

  async function read() {
    const [versions, wajs] = await Promise.all([call('GET', '/api/versions'), call('GET', '/api/wajs')]);
    const bad = [versions, wajs].find((it) => !it.ok);
    retry(bad ?? versions);
    trouble.replaceChildren(...(bad ? [problem(bad)] : []));
    if (versions.ok) showVersions(versions.data); else set(summary, '');
    if (wajs.ok) showBundles(wajs.data);
  }

  main.append(
    h('h1', {}, 'Versions'),
    h('section', { id: 'whatsapp', class: 'card stack' }, h('h2', {}, 'WhatsApp Web'), summary, trouble, choice, buttons(trying, unpin), rows, others),
    h('section', { id: 'wajs', class: 'card stack' }, h('h2', {}, 'wa-js'), soft("What waguard calls WhatsApp Web's functions with."), bundles),
  );
  read();
  return after(read, (event) => /^(page_version|incident|change)$/.test(event.event));
}
