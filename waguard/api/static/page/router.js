// The fragment names the view, so a link leads to a session.
import { h } from './dom.js';
import { inCluster } from './state.js';

const VIEWS = {
  '': () => import('./views/fleet.js'),
  session: () => import('./views/session.js'),
  queues: () => import('./views/queues.js'),
  versions: () => import('./views/versions.js'),
  new: () => import('./views/create.js'),
  ...(inCluster && { hosts: () => import('./views/hosts.js') }),
};
let leave = () => {};
let turn = 0;

export const link = (id, tab) => `#/session/${encodeURIComponent(id)}${tab ? `/${tab}` : ''}`;
export const go = (fragment) => { location.hash = fragment; };

function parts() {
  try {
    const [name, ...rest] = location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
    return Object.hasOwn(VIEWS, name) ? [name, ...rest] : [''];
  } catch {
    return ['']; // it is no address of a view
  }
}

export async function show({ focus = false } = {}) {
  const [name, ...rest] = parts();
  const mine = ++turn;
  const main = document.getElementById('main');
  let view;
  try {
    view = await VIEWS[name]();
  } catch {
    view = { title: () => 'Not loaded', show: missing };
  }
  if (mine !== turn) return; // somebody went on meanwhile
  close();
  document.body.dataset.view = name || 'fleet';
  for (const it of document.querySelectorAll('#views a')) {
    if (it.hash === `#/${name}`) it.setAttribute('aria-current', 'page');
    else it.removeAttribute('aria-current');
  }
  leave = view.show(main, ...rest) ?? (() => {});
  document.body.dataset.title = view.title(...rest);
  if (focus) {
    const place = main.querySelector('[data-focus]'); // a tab that was chosen stays where it is
    if (!place) scrollTo(0, 0);
    (place ?? main).focus({ preventScroll: true });
  }
}

// the place is free for another view, or for the login
export function close() {
  turn += 1;
  leave();
  leave = () => {};
  document.getElementById('main').replaceChildren();
}

function missing(main) {
  const again = () => location.reload();
  main.append(h('div', { class: 'card empty' }, h('p', {}, 'This view could not be loaded: waguard does not answer, or was updated.'), h('button', { type: 'button', onclick: again }, 'Load the page again')));
}
