// Elements, and rows that are patched by their key. Text only: nothing here takes HTML.
const NOTHING = new Set([null, undefined, false]); // as an attribute …
const LEFT_OUT = new Set([...NOTHING, true, '']); // … and as a child
const KNOWN = new WeakMap(); // parent → key → row

// a function is a listener, true an attribute without value; null and false are left out
export function h(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, '');
    else if (!NOTHING.has(value)) made.setAttribute(key, value);
  }
  made.append(...children.flat(Infinity).filter((it) => !LEFT_OUT.has(it)));
  return made;
}

export function set(node, text) {
  const wanted = String(text ?? '');
  const only = node.firstChild;
  if (only?.nodeType === Node.TEXT_NODE && !only.nextSibling) {
    if (only.data !== wanted) only.data = wanted;
  } else if (only || wanted) node.textContent = wanted;
}

export function mark(node, name, value) {
  if (NOTHING.has(value)) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

// a row stays the same element as long as its key is there, and moves only where it must: selection, focus and scroll
// are kept
export function patch(parent, items, keyOf, make, update) {
  const before = KNOWN.get(parent) ?? new Map();
  const now = new Map();
  for (const it of items) {
    const key = keyOf(it);
    now.set(key, { ...(before.get(key) ?? { node: make(it) }), item: it });
  }
  for (const [key, { node }] of before) if (!now.has(key)) node.remove();
  let next = parent.firstChild;
  for (const [key, { node, item }] of now) {
    if (node === next) next = next.nextSibling;
    else if (next && node === next.nextSibling) next = node.nextSibling; // the one before it comes later
    else move(parent, node, next);
    if (before.get(key)?.item !== item) update(node, item);
  }
  KNOWN.set(parent, now);
}

function move(parent, node, next) {
  if (node.parentNode === parent && parent.moveBefore) parent.moveBefore(node, next); // keeps the focus
  else parent.insertBefore(node, next);
}

// commands are in backticks; the calls behind them, in brackets, are for programs
export function remedy(text) {
  const made = document.createDocumentFragment();
  (text ?? '').replace(/ \((GET|POST|PUT|DELETE) \/[^)]*\)/g, '').split('`').forEach((part, at) => made.append(at % 2 ? h('code', {}, part) : part));
  return made;
}

// an id may break after its parts
export const broken = (id) => id.split(/(?<=_)/).flatMap((it) => [it, h('wbr')]);

export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  return s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
}

export const since = (at) => duration((Date.now() - Date.parse(at)) / 1000);

// a time that the page keeps up to date; `words` has … in its place
export function ago(at, words = '…') {
  const made = h('time', { class: 'ago' });
  setAgo(made, at, words);
  return made;
}

export function setAgo(made, at, words = '…') {
  mark(made, 'datetime', at);
  mark(made, 'data-words', words);
  if (made.dataset.told !== at) {
    made.dataset.told = at ?? '';
    mark(made, 'title', at && new Date(at).toLocaleString());
  }
  set(made, at ? words.replace('…', since(at)) : '');
}

setInterval(() => {
  if (document.hidden) return;
  for (const made of document.querySelectorAll('time.ago[datetime]')) set(made, made.dataset.words.replace('…', since(made.dateTime)));
}, 10000);
