// A linking that WhatsApp confirms with the account's passkey: what WhatsApp Web's published modules (WAWebShortcake…,
// WAWebLinkDeviceEvents) are seen to do, in words of our own. The names of events and test ids are theirs.
(() => {
  'use strict';
  const { define } = window.__standin;
  const unpack = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
  const pack = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
    .replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');

  define('WAWebLinkDeviceEvents', (exports, require) => {
    const { EventEmitter } = require('WAWebEventEmitter');
    exports.WAWebLinkDeviceEvents = new EventEmitter();
  });

  define('WAWebStandinPasskey', (exports, require) => {
    const { Stream } = require('WAWebStreamModel');
    const { Socket } = require('WAWebSocketModel');
    const { Conn } = require('WAWebConnModel');
    const { Cmd } = require('WAWebCmd');
    const { WAWebLinkDeviceEvents: events } = require('WAWebLinkDeviceEvents');
    const ask = (type, fields) => require('WAWebStandinLink').link.request(type, fields);

    const part = (tag, testid, ...children) => {
      const made = document.createElement(tag);
      if (testid) made.dataset.testid = testid;
      made.append(...children);
      return made;
    };
    const button = (testid, text, isDisabled, act) => {
      const made = part('button', testid, text);
      made.type = 'button';
      made.disabled = isDisabled;
      made.onclick = act;
      return made;
    };

    const linking = {
      offer: null, // the server's words: options, and how long things last
      options: null, // those of the next request
      provenUntil: 0, // so long the page can prove that it is the one that was scanned
      timer: 0,
      hide() {
        clearTimeout(this.timer);
        document.querySelector('[data-testid=shortcake_passkey_screen]')?.remove();
      },
      show(...card) {
        this.hide();
        const cancel = button('shortcake_cancel_button', 'Cancel', false, () => this.cancel());
        document.body.append(part('div', 'shortcake_passkey_screen', ...card, cancel));
      },
      prompt(isDisabled, error) {
        const alert = part('span', null, error ?? '');
        alert.setAttribute('role', 'alert');
        const onward = button('shortcake_passkey_continue_button', 'Continue', isDisabled, () => this.start());
        this.show(part('div', 'shortcake_passkey_prompt_card', ...(error ? [alert] : []), onward));
      },
      cancel() {
        this.hide();
        Cmd.refreshQR();
      },
      // of what went wrong before the server had an answer there is no event
      async start() {
        this.prompt(true);
        try {
          const isGood = this.options && performance.now() - this.options.at < this.offer.lifetime * 1000;
          const { given } = isGood ? this.options : { given: (await ask('passkey_options')).options };
          const proof = performance.now() < this.provenUntil;
          const credential = await navigator.credentials.get({
            publicKey: { ...given, challenge: unpack(given.challenge) },
          });
          if (credential?.type !== 'public-key') throw new Error('no credential');
          const { clientDataJSON, authenticatorData, signature, userHandle } = credential.response;
          await ask('passkey_answer', {
            assertion: {
              id: credential.id, rawId: pack(credential.rawId), type: credential.type,
              response: {
                clientDataJSON: pack(clientDataJSON), authenticatorData: pack(authenticatorData),
                signature: pack(signature), userHandle: userHandle ? pack(userHandle) : null,
              },
            },
          });
          this.confirms = proof;
          events.trigger('link_device_events:shortcake_prologue_sent');
          this.show(part('div', 'shortcake_waiting_for_phone_card', 'Waiting for your phone'));
          this.wait();
        } catch (error) {
          window.__standin.passkeyEnded = error.name;
          this.prompt(false, 'That did not work.');
        } finally {
          Object.assign(this, { options: null, provenUntil: 0 });
        }
      },
      wait() {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.fail('timeout'), this.offer.wait * 1000);
      },
      fail(reason) {
        events.trigger('link_device_events:shortcake_error', reason);
        this.prompt(false, 'That did not work.');
      },
      async confirm(code) {
        this.matching(code, true);
        try {
          this.wait();
          await ask('passkey_confirm');
        } catch {
          this.fail('server_error');
        }
      },
      matching(code, isConfirming) {
        const shown = part('div', 'shortcake_verification_code_display', `${code.slice(0, 4)}-${code.slice(4)}`);
        const same = button('shortcake_code_confirm_button', 'Confirm', isConfirming, () => this.confirm(code));
        this.show(part('div', 'shortcake_code_matching_card', shown, same));
      },
    };

    exports.linking = linking;
    exports.handlers = {
      // Assumed: no code is shown meanwhile, and the stream stays PAIRING.
      passkey(offer) {
        Stream.info = 'PAIRING';
        Socket.state = 'PAIRING';
        Conn.ref = null;
        const provenUntil = performance.now() + offer.unattended * 1000;
        Object.assign(linking, { offer, options: { given: offer.options, at: performance.now() }, provenUntil });
        events.trigger('link_device_events:passkey_prologue_request');
        linking.prompt(false);
      },

      passkey_code({ code, compare }) {
        const confirms = linking.confirms && !compare;
        events.trigger('link_device_events:shortcake_verification_code_ready', code, confirms);
        if (confirms) {
          linking.confirm(code);
          return;
        }
        linking.matching(code, false);
        linking.wait();
      },
    };
  });
})();
