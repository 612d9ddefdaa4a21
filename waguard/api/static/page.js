// The status page: login, header, theme, and which view is shown. page/ has its parts.
import { afterLeaving, forgetKey, hasKey, leave, onRefused } from './page/api.js';
import { duration, h, mark, set } from './page/dom.js';
import { enterByTicket, isTicket, login } from './page/login.js';
import { close, show } from './page/router.js';
import { changed, counts, enter, may, seesAll, start, state, subscribe } from './page/state.js';

const $ = (id) => document.getElementById(id);
const THEME = 'waguard-theme';
const THEMES = { '': ['◐', 'Auto'], light: ['☀', 'Light'], dark: ['☾', 'Dark'] };

function setTheme(name) {
  mark(document.documentElement, 'data-theme', name || null);
  const [sign, words] = THEMES[name] ?? THEMES[''];
  $('theme').replaceChildren(h('span', { 'aria-hidden': 'true' }, sign), words);
  mark($('theme'), 'aria-label', `Theme: ${words}`);
  document.dispatchEvent(new Event('theme'));
}

$('theme').addEventListener('click', () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(localStorage.getItem(THEME) ?? '') + 1) % names.length];
  localStorage.setItem(THEME, next);
  setTheme(next);
});

$('leave').addEventListener('click', async () => {
  if ($('leave').ariaBusy === 'true') return;
  $('leave').ariaBusy = 'true';
  await leave();
  location.reload(); // nothing that was read stays
});

function showHeader() {
  const { phase, health, unknown, readAt } = state;
  const inside = health !== null && (phase === 'live' || phase === 'stale');
  $('views').hidden = $('leave').hidden = !inside;
  $('create').hidden = !(inside && may('operate'));
  for (const it of document.querySelectorAll('[data-whole]')) it.hidden = !seesAll();
  const { connected, total } = counts();
  const counted = inside && (!unknown || total);
  set($('counts'), counted ? `${connected} of ${total} connected` : inside ? 'Sessions unknown' : { login: 'Needs a key', refused: 'Needs a key' }[phase] ?? 'Connecting …');
  set($('up'), inside ? ` · up ${duration(health.uptime)}${may('send') ? '' : ' · read only'}` : '');
  mark($('dot'), 'data-kind', !inside ? 'off' : phase === 'stale' || state.conditions.some((it) => it.needs_person) ? 'bad' : health.status === 'healthy' ? 'good' : 'wait');
  const title = document.body.dataset.title;
  document.title = [counted ? `${connected}/${total}` : '', title, 'waguard'].filter(Boolean).join(' · ');
  const unused = state.conditions.find((it) => /^(standby|lease_held|host_without_lease|database_unknown)$/.test(it.type));
  const why = phase === 'stale' ? `waguard does not answer. ${inside ? 'What is shown is from before; this' : 'This'} page tries again.`
    : inside && unknown ? `The sessions are not known now: ${unused?.message ?? (health.database === 'answers' ? 'waguard still starts' : `the database: ${health.database}`)}. What is shown is from before.` : '';
  $('stale').hidden = !why;
  set($('why'), why);
  // beside the alert, which is read aloud whenever it changes
  set($('old'), phase === 'stale' && readAt ? ` Last read ${duration((Date.now() - readAt) / 1000)} ago.` : '');
  document.body.dataset.phase = phase;
}

function ask(phase, why) {
  forgetKey();
  enter(phase);
  for (const it of document.querySelectorAll('dialog')) it.close('');
  close();
  // what still runs with the key that was refused ends with the page
  login($('main'), why, phase === 'refused' ? () => location.reload() : run);
  changed();
}

async function run() {
  close();
  $('main').append(h('p', { class: 'soft' }, 'Loading the sessions …'));
  await start();
  if (hasKey()) await show();
  changed();
}

onRefused(() => { if (state.phase !== 'refused') ask('refused', 'This key is not accepted: it is wrong, or it has ended.'); });
addEventListener('hashchange', () => {
  if (isTicket()) location.reload();
  else if (hasKey()) show({ focus: true }).then(changed);
});
subscribe(showHeader);
setInterval(() => { if (state.phase === 'stale') changed(); }, 1000);
setTheme(localStorage.getItem(THEME) ?? '');

const problem = (await enterByTicket()) ?? afterLeaving();
if (hasKey()) run();
else ask('login', problem);
