// A linking that asks for the account's passkey: its stage, the seconds left, who signs, the code to compare.
import { action } from './actions.js';
import { call, pause, session as at } from './api.js';
import { h, set } from './dom.js';

const EXTENSION = 'imnpmcelhinkedklilbalckcodlmedlb'; // waguard's own; its manifest has the key
const PING_WITHIN = 3000; // ms
const READ_EVERY = 2000; // ms; no event says that the phone has gone on
const STAGES = {
  offered: 'WhatsApp asks for the passkey of this account. Start when its owner is here.',
  asked: 'The request is open: the passkey can be used now.',
  answered: 'The passkey was accepted here. The phone goes on: keep WhatsApp open on it.',
  confirm: 'Compare this code with the one that the phone shows. Confirm only where both are equal:',
  failed: 'The linking failed. Start again, or scan the next code.',
};
const failed = (error, remedy = '') => ({ ok: false, error, remedy });

// Chrome gives a page this function only where an extension lists the page's origin
const extension = (message) => new Promise((done) => {
  const id = document.querySelector('meta[name=passkey-extension]').content || EXTENSION;
  if (!globalThis.chrome?.runtime?.sendMessage) { done(null); return; }
  chrome.runtime.sendMessage(id, message, (answer) => done(chrome.runtime.lastError ? null : answer));
});

const isThere = async () => {
  const answer = await Promise.race([extension({ type: 'waha-passkey-ping' }), pause(PING_WITHIN)]);
  return Boolean(answer?.ok);
};

async function useMyPasskey(session, ask) {
  if (!(await isThere())) {
    return failed("No extension of waguard's lets this page ask for a passkey.", `Load it, or run \`waguard passkey ${session}\` where Chrome is.`);
  }
  const started = await ask('POST', '/start', {});
  if (!started.ok) return started;
  const { request, options, expires_in: left } = started.data;
  const signed = await Promise.race([
    extension({ type: 'waha-passkey-sign', challenge: { ...options, timeout: left * 1000 }, label: session }),
    pause(left * 1000).then(() => ({ error: 'its time is over' })),
  ]);
  if (!signed?.ok) {
    // who closes the tab may try again; who refuses on the card refuses
    if (signed?.error === 'cancelled') await ask('DELETE', '', { request });
    return failed(`Nothing was signed: ${signed?.error ?? 'the extension does not answer'}.`);
  }
  return ask('POST', '/answer', { request, assertion: signed.assertion });
}

// The panel of one session, empty unless `ask(true)` says that WhatsApp asks for its passkey.
export function passkeys(session) {
  const api = (method, step = '', body = undefined) => call(method, at(session, `/passkey${step}`), body);
  const then = (work) => async () => {
    const answer = await work();
    await read();
    return answer;
  };
  const button = (words, work, kind, done) => h('div', {}, action(words, then(work), { kind, done }));
  const [stage, code, left] = [h('p', { class: 'stage' }), h('p', { class: 'code' }), h('p', { class: 'soft', role: 'timer' })];
  const use = button('Use my passkey', () => useMyPasskey(session, api), 'primary', 'It is signed.');
  const confirm = h('div');
  const cancel = button('Cancel', () => api('DELETE'), '', 'The request is refused.');
  const section = h('section', { class: 'stack', 'aria-label': 'Passkey' },
    h('h3', {}, 'Passkey'), stage, code, left, h('div', { class: 'buttons' }, use, confirm, cancel));
  const element = h('div', { id: 'passkeys' });
  let asked = false;
  let until = 0;
  let unattended = null;

  async function read() {
    if (!asked) return;
    const { ok, data: now } = await api('GET');
    if (!ok || !asked) return; // what was shown stays: it is not known to be over
    if (!now.stage) { section.remove(); return; }
    section.dataset.stage = now.stage;
    set(stage, `${STAGES[now.stage] ?? now.stage}${now.error ? ` It says: ${now.error}.` : ''}`);
    const shown = now.code ?? '';
    if (code.textContent !== shown) { // a click is for the code that was compared
      set(code, shown);
      confirm.replaceChildren(button('Both codes are equal', () => api('POST', '/confirm', { code: shown }), 'primary', 'Confirmed.'));
    }
    // the daemon's seconds, by this browser's own clock: the two may show different times
    until = performance.now() / 1000 + now.expires_in;
    unattended = now.unattended_until && until + (Date.parse(now.unattended_until) - Date.parse(now.until)) / 1000;
    use.hidden = !['offered', 'asked', 'failed'].includes(now.stage);
    confirm.hidden = now.stage !== 'confirm';
    cancel.hidden = now.stage !== 'asked';
    if (!section.isConnected) element.append(section);
    count();
  }

  function count() {
    const seconds = (moment) => Math.max(0, Math.round(moment - performance.now() / 1000));
    const alone = unattended && seconds(unattended);
    set(left, `${seconds(until)} s left${alone ? `; within ${alone} s no code has to be compared` : ''}`);
  }

  const timers = [setInterval(count, 1000), setInterval(() => { if (!document.hidden) read(); }, READ_EVERY)];
  return {
    element,
    ask(now) {
      asked = now;
      if (now) read(); else section.remove();
    },
    close: () => timers.forEach(clearInterval),
  };
}
