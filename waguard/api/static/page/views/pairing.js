// Pairing a session: a QR code that renews itself, a code to type on the phone, the account's passkey.
import { action, entered } from '../actions.js';
import { call, session as at } from '../api.js';
import { h, set } from '../dom.js';
import { passkeys } from '../passkey.js';
import { may, onEvent } from '../state.js';

const WAIT = 20; // s that the daemon waits for the code before it says that there is none yet
const AGAIN = 3000; // ms between two questions where it said so
const LATE = 5; // s after the end of a code in which the next one is still on its way
const DOWN = new Set(['stopped', 'stopping', 'parked', 'parking']);
const SCAN = 'On the phone: WhatsApp → Linked devices → Link a device. Then scan this code.';
const TYPE = 'On the phone: WhatsApp → Linked devices → Link a device → Link with phone number instead. Then type this code:';
const STEPS = {
  qr_pending: SCAN,
  pairing: 'The phone links this device. Keep WhatsApp open on it.',
  syncing: 'The phone is linked. WhatsApp Web synchronizes.',
  passkey_required: 'The phone was scanned. WhatsApp asks for the passkey of the account.',
};

// What there is to do for a session that no phone is linked to; `update` takes its row.
export function pairing(session) {
  const image = h('img', { alt: `QR code of session ${session}`, width: '264', height: '264' });
  const left = h('figcaption', { class: 'soft' });
  const figure = h('figure', { class: 'qr', hidden: true }, image, left);
  const step = h('p', { class: 'lead', role: 'status' });
  const phone = h('input', { id: 'pair-phone', type: 'tel', required: true, autocomplete: 'off', placeholder: '+62 812 3456 7890' });
  const type = h('div', { class: 'stack', hidden: true }, h('p', {}, TYPE));
  const typed = h('output', { class: 'code' });
  type.append(typed);
  const form = h('form', { class: 'line', onkeydown: entered },
    h('label', { for: 'pair-phone' }, 'Without a camera: its phone number'), phone,
    action('Get a code to type', typeCode, { right: 'operate' }));
  const fresh = h('div', {}, action('New code', () => call('POST', at(session, '/regenerate-qr')), { right: 'operate', done: 'A new code is shown.' }));
  const panel = passkeys(session);
  const element = h('section', { class: 'card stack pairing', hidden: true, 'aria-label': 'Pair a phone' },
    h('h2', {}, 'Pair a phone'),
    h('div', { class: 'pair' }, figure, h('div', { class: 'stack' }, step, form, type, panel.element, fresh)));
  let link = null;
  let asking = false;
  let until = 0;

  function show(code) {
    until = performance.now() / 1000 + code.expires_in;
    if (image.src !== code.qr_code) image.src = code.qr_code; // a phone may be scanning it
    figure.hidden = false;
    count();
  }

  // only while there is one: another answer would be an error
  async function ask() {
    if (asking || link !== 'qr_pending') return;
    asking = true;
    const { ok, data } = await call('GET', at(session, `/qr?wait=${WAIT}`));
    asking = false;
    if (link !== 'qr_pending') return;
    if (ok) show(data); else setTimeout(ask, AGAIN);
  }

  function count() {
    const seconds = Math.ceil(until - performance.now() / 1000);
    set(left, seconds > 0 ? `The next code comes by itself, in ${seconds} s.` : 'The next code comes by itself.');
    if (until && seconds < -LATE && !document.hidden) ask();
  }

  async function typeCode() {
    if (!phone.reportValidity()) return { ok: false, error: 'The phone number is missing.' };
    const answer = await call('POST', at(session, '/pairing-code'), { phone_number: phone.value });
    type.hidden = !answer.ok;
    set(typed, answer.ok ? answer.data.code : '');
    return answer;
  }

  const leave = onEvent((event) => {
    if (event.event === 'qr_code_generated' && event.session_id === session && link === 'qr_pending') show(event.data);
  });
  const timer = setInterval(count, 1000);
  return {
    element,
    update(row) {
      const expired = row.lifecycle === 'parked' && row.conditions.some((it) => it.reason === 'qr_expired');
      const unlinked = !row.phone_number || row.link === 'qr_pending' || row.link === 'passkey_required';
      const scan = row.link === 'qr_pending';
      const asked = row.link === 'passkey_required';
      element.hidden = !may('operate') || row.link === 'connected' || !(unlinked || expired) || (DOWN.has(row.lifecycle) && !expired);
      if (element.hidden) { link = null; panel.ask(false); return; }
      const changed = link !== row.link;
      link = row.link;
      set(step, STEPS[link] ?? (expired ? 'Nobody scanned the last code.' : 'WhatsApp Web is loading. Its QR code comes by itself.'));
      fresh.hidden = !(expired || scan || asked);
      form.hidden = !scan;
      if (!scan) {
        figure.hidden = type.hidden = true;
        until = 0;
      } else if (changed) ask();
      panel.ask(asked);
    },
    close() {
      link = null;
      leave();
      panel.close();
      clearInterval(timer);
    },
  };
}
