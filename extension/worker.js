// Shows the card in a tab of https://web.whatsapp.com for a page of an origin that the operator listed, and gives that page
// what the person's passkey signed. The messages are those of WAHA's published guide: a page that speaks them can use this
// extension, and waguard's page can use another one.
'use strict';
const HOME = 'https://web.whatsapp.com/robots.txt'; // a path without scripts: WhatsApp Web does not start there
const ALIVE = 20000; // ms; Chrome ends a worker that has heard nothing for 30 s
const LIFETIME = 600000; // ms; WhatsApp waits no longer
// Chrome compares patterns; the origin is compared here once more, whole
const ORIGINS = chrome.runtime.getManifest().externally_connectable.matches.map((it) => new URL(it.slice(0, -1)).origin);
const CLOSED = { error: 'the card was closed' };
const LEFT = { error: 'the page that asked was closed' };
let shown = null; // the one request: the card's tab, the tab that asked, and who waits for the answer

chrome.runtime.onMessageExternal.addListener((message, sender, reply) => {
  if (!ORIGINS.includes(sender.origin) || sender.frameId !== 0) return false; // no frame asks
  if (message?.type === 'waha-passkey-ping') {
    reply({ ok: true, type: 'waha-passkey-pong', version: chrome.runtime.getManifest().version });
    return false;
  }
  if (message?.type !== 'waha-passkey-sign') return false;
  if (shown && shown.from !== sender.tab.id) {
    reply({ ok: false, error: 'another request is being shown' });
    return false;
  }
  finish(shown, { error: 'the page asked again' });
  const request = { reply, from: sender.tab.id };
  shown = request;
  const left = Math.min(message.challenge?.timeout ?? LIFETIME, LIFETIME);
  request.timer = setTimeout(() => finish(request, { error: 'its time is over' }), left);
  show(request, message, sender).catch((error) => finish(request, { error: String(error?.message ?? error) }));
  return true;
});

async function show(request, { challenge, label }, sender) {
  const tab = await chrome.tabs.create({ url: HOME, active: true, openerTabId: sender.tab.id });
  request.tab = tab.id;
  if (request === shown) await loaded(request);
  if (request !== shown) { // it ended meanwhile
    close(request);
    return;
  }
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
  const request = shown;
  if (!request || port.sender.tab?.id !== request.tab) return;
  port.onMessage.addListener((answer) => { if (answer) finish(request, answer); });
  port.onDisconnect.addListener(() => finish(request, CLOSED)); // the tab is at another page now
});

// a reload of the page is not seen: Chrome reports it as a change behind its #. Its next request replaces this one
chrome.tabs.onRemoved.addListener((id) => {
  if (id === shown?.tab) finish(shown, CLOSED);
  if (id === shown?.from) finish(shown, LEFT);
});

function loaded(request) {
  return new Promise((done, failed) => {
    const check = (id, _, tab) => {
      if (request === shown && (id !== request.tab || tab.status !== 'complete' || tab.pendingUrl)) return;
      chrome.tabs.onUpdated.removeListener(check);
      done();
    };
    chrome.tabs.onUpdated.addListener(check);
    // one that was closed before its id was known is removed no more
    chrome.tabs.get(request.tab).then((tab) => { if (tab.url) check(tab.id, {}, tab); }, failed);
  });
}

function finish(request, { assertion, error }) {
  if (!request || request !== shown) return;
  shown = null;
  clearTimeout(request.timer);
  close(request);
  request.reply(assertion ? { ok: true, assertion } : { ok: false, error });
}

function close({ tab }) {
  if (tab !== undefined) chrome.tabs.remove(tab).catch(() => {});
}
