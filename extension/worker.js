// Shows the card in a tab of https://web.whatsapp.com for a page of an origin that the operator listed, and gives that page
// what the person's passkey signed. The messages are those of WAHA's published guide: a page that speaks them can use this
// extension, and waguard's page can use another one.
'use strict';
const HOME = 'https://web.whatsapp.com/robots.txt'; // a path without scripts: WhatsApp Web does not start there
const ALIVE = 20000; // ms; Chrome ends a worker that has heard nothing for 30 s
// Chrome compares patterns; the origin is compared here once more, whole
const ORIGINS = chrome.runtime.getManifest().externally_connectable.matches.map((it) => new URL(it.slice(0, -1)).origin);
let shown = null; // the one card: its tab, and who waits for the answer

chrome.runtime.onMessageExternal.addListener((message, sender, reply) => {
  if (!ORIGINS.includes(sender.origin) || sender.frameId !== 0) return false; // no frame asks
  if (message?.type === 'waha-passkey-ping') {
    reply({ ok: true, type: 'waha-passkey-pong', version: chrome.runtime.getManifest().version });
    return false;
  }
  if (message?.type !== 'waha-passkey-sign') return false;
  if (shown) {
    reply({ ok: false, error: 'another request is being shown' });
    return false;
  }
  shown = { reply };
  show(message, sender).catch((error) => finish({ error: String(error?.message ?? error) }));
  return true;
});

async function show({ challenge, label }, sender) {
  const tab = await chrome.tabs.create({ url: HOME, active: true, openerTabId: sender.tab.id });
  shown.tab = tab.id;
  await loaded(tab.id);
  const target = { tabId: tab.id };
  // what a page calls a session is shown only where it is a session's name, and no sentence
  const session = /^[\w-]{1,128}$/.test(label) ? label : '';
  await chrome.scripting.executeScript({ target, files: ['card.js'] });
  await chrome.scripting.executeScript({ target, func: ask, args: [{ options: challenge, from: sender.origin, session }, ALIVE] });
}

// in the tab, in the extension's own world: beside the answer it keeps the worker alive while the person thinks
function ask(given, alive) {
  const port = chrome.runtime.connect();
  const beats = setInterval(() => port.postMessage(null), alive);
  port.onDisconnect.addListener(() => clearInterval(beats));
  globalThis.waguardCard(given).then((answer) => port.postMessage(answer));
}

chrome.runtime.onConnect.addListener((port) => {
  if (port.sender.tab?.id !== shown?.tab) return;
  port.onMessage.addListener((answer) => { if (answer) finish(answer); });
  port.onDisconnect.addListener(() => closed(port.sender.tab.id)); // the tab is at another page now
});

const closed = (id) => { if (id === shown?.tab) finish({ error: 'the card was closed' }); };
chrome.tabs.onRemoved.addListener(closed);

function loaded(id) {
  return new Promise((done) => {
    const check = (changed, _, tab) => {
      if (changed !== id || tab.status !== 'complete' || tab.pendingUrl) return;
      chrome.tabs.onUpdated.removeListener(check);
      done();
    };
    chrome.tabs.onUpdated.addListener(check);
    chrome.tabs.get(id).then((tab) => { if (tab.url) check(id, {}, tab); }, () => {});
  });
}

function finish({ assertion, error }) {
  if (!shown) return;
  const { reply, tab } = shown;
  shown = null;
  reply(assertion ? { ok: true, assertion } : { ok: false, error });
  if (tab !== undefined) chrome.tabs.remove(tab).catch(() => {});
}
