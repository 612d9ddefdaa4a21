// A linking that asks for the account's passkey: its stage, the seconds left, who signs, the code to compare.
'use strict';
const EXTENSION = 'imnpmcelhinkedklilbalckcodlmedlb'; // waguard's own; its manifest has the key
const PING_WITHIN = 3000; // ms
const STAGES = {
  offered: 'WhatsApp asks for the passkey of this account. Start when its owner is here.',
  asked: 'The request is open: the passkey can be used now.',
  answered: 'The passkey was accepted here. The phone goes on: keep WhatsApp open on it.',
  confirm: 'Compare this code with the one that the phone shows. Confirm only where both are equal:',
  failed: 'The linking failed. Start again, or scan the next code.',
};
const passkeys = new Map(); // session → section

const ask = async (session, method, step = '', body) => {
  const path = `/api/sessions/${encodeURIComponent(session)}/passkey${step}`;
  const headers = body ? { 'Content-Type': 'application/json' } : {};
  const response = await call(path, headers, { method, body: body && JSON.stringify(body) });
  const answer = response.headers.get('Content-Type')?.startsWith('application/json') ? await response.json() : {};
  if (!response.ok) throw new Error([answer.error ?? `HTTP ${response.status}`, answer.remedy].filter(Boolean).join('. '));
  return answer;
};

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

async function useMyPasskey(session) {
  if (!(await isThere())) {
    throw new Error(`No extension of waguard's lets this page ask for a passkey. Load it, or run \`waguard passkey ${session}\` where Chrome is.`);
  }
  const { request, options, expires_in: left } = await ask(session, 'POST', '/start', {});
  const signed = await Promise.race([
    extension({ type: 'waha-passkey-sign', challenge: options, label: session }),
    pause(left * 1000).then(() => ({ error: 'its time is over' })),
  ]);
  if (!signed?.ok) {
    // who closes the tab may try again; who refuses on the card refuses
    if (signed?.error === 'cancelled') await ask(session, 'DELETE', '', { request });
    throw new Error(`Nothing was signed: ${signed?.error ?? 'the extension does not answer'}.`);
  }
  await ask(session, 'POST', '/answer', { request, assertion: signed.assertion });
}

function sectionFor(session) {
  const made = document.createElement('section');
  const part = (name, kind) => made.appendChild(element(name, '', kind));
  part('h2').textContent = `${session}: passkey`;
  const [stage, code, left] = [part('p', 'stage'), part('p', 'code'), part('p', 'hint left')];
  left.setAttribute('role', 'timer');
  const problem = part('p', 'problem');
  problem.setAttribute('role', 'alert');
  const button = (words, work) => {
    const one = part('button');
    one.textContent = words;
    one.addEventListener('click', async () => {
      problem.textContent = '';
      one.disabled = true;
      try {
        await work();
      } catch (error) {
        problem.textContent = error.message === 'key' ? 'The key is not accepted.' : error.message;
      }
      one.disabled = false;
      refreshSoon();
    });
    return one;
  };
  const use = button('Use my passkey', () => useMyPasskey(session));
  const confirm = button('Both codes are equal', () => ask(session, 'POST', '/confirm', { code: code.textContent }));
  const cancel = button('Cancel', () => ask(session, 'DELETE'));
  const parts = { made, stage, code, left, use, confirm, cancel, until: null, unattended: null };
  passkeys.set(session, parts);
  $('passkeys').append(made);
  return parts;
}

function forget(session) {
  passkeys.get(session)?.made.remove();
  passkeys.delete(session);
}

async function showPasskey(session) {
  let now;
  try {
    now = await ask(session, 'GET');
  } catch { return; } // what was shown stays: it is not known to be over
  if (!now.stage) { forget(session); return; }
  const it = passkeys.get(session) ?? sectionFor(session);
  it.made.dataset.stage = now.stage;
  it.stage.textContent = `${STAGES[now.stage] ?? now.stage}${now.error ? ` It says: ${now.error}.` : ''}`;
  it.code.textContent = now.code ?? '';
  // the daemon's seconds, by this browser's own clock: the two may show different times
  const from = performance.now() / 1000 + now.expires_in;
  it.until = from;
  it.unattended = now.unattended_until && from + (Date.parse(now.unattended_until) - Date.parse(now.until)) / 1000;
  it.use.hidden = !['offered', 'asked', 'failed'].includes(now.stage);
  it.confirm.hidden = now.stage !== 'confirm';
  it.cancel.hidden = now.stage !== 'asked';
  showLeft();
}

function showLeft() {
  const seconds = (until) => Math.max(0, Math.round(until - performance.now() / 1000));
  for (const it of passkeys.values()) {
    const alone = it.unattended && seconds(it.unattended);
    it.left.textContent = `${seconds(it.until)} s left${alone ? `; within ${alone} s no code has to be compared` : ''}`;
  }
}

async function showPasskeys(sessions) {
  const waiting = new Set(sessions.filter((s) => s.link === 'passkey_required').map((s) => s.session_id));
  for (const session of passkeys.keys()) if (!waiting.has(session)) forget(session);
  await Promise.all([...waiting].map(showPasskey));
}

setInterval(showLeft, 1000);
