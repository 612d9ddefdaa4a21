// Evaluated with early.js. Holds WhatsApp Web's request for the account's passkey until the daemon brings the answer of
// a browser on the operator's desk: Chromium here has no authenticator, and its own request would never end. The
// request's options stay here until they are asked for; a report has only the request's id.
(() => {
  if (!window.CredentialsContainer || window !== window.top) return; // only a secure page has it; no frame asks through us
  const CONTINUE = '[data-testid=shortcake_passkey_continue_button]';
  const CODE = '[data-testid=shortcake_verification_code_display]';
  const CONFIRM = '[data-testid=shortcake_code_confirm_button]';
  const PATIENCE = 10_000; // ms from the click to the request; the page may have to get new options first
  const LIFETIME = 600_000; // ms; of a request that does not say it
  const unpack = (text) => Uint8Array.from(
    atob(text.replace(/-/g, '+').replace(/_/g, '/')), (character) => character.charCodeAt(0),
  ).buffer;
  const pack = (given) => {
    const view = ArrayBuffer.isView(given) ? given : new DataView(given); // throws where it is no bytes
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    return btoa(String.fromCharCode(...bytes)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
  };
  // PublicKeyCredentialRequestOptionsJSON, as a browser calls it
  const optionsOf = (key) => ({
    challenge: pack(key.challenge), timeout: key.timeout ?? LIFETIME, rpId: key.rpId,
    allowCredentials: (key.allowCredentials ?? []).map(({ id, type, transports }) => (
      { id: pack(id), type, ...(transports && { transports: [...transports] }) })),
    userVerification: key.userVerification ?? 'preferred',
    extensions: JSON.parse(JSON.stringify(key.extensions ?? {})),
  });
  const own = (prototype, fields) => Object.create(prototype, Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, { value }]),
  ));
  const credentialOf = (json) => {
    const { response: given } = json;
    const response = own(AuthenticatorAssertionResponse.prototype, {
      authenticatorData: unpack(given.authenticatorData), clientDataJSON: unpack(given.clientDataJSON),
      signature: unpack(given.signature), userHandle: given.userHandle ? unpack(given.userHandle) : null,
    });
    return own(PublicKeyCredential.prototype, {
      id: json.id, rawId: unpack(json.rawId), type: 'public-key', response,
      authenticatorAttachment: json.authenticatorAttachment,
      getClientExtensionResults: () => structuredClone(json.clientExtensionResults), toJSON: () => structuredClone(json),
    });
  };
  const report = (data) => window.waguardReport(JSON.stringify({ kind: 'passkey', data }));
  // as Chromium says it, whatever the cause
  const notAllowed = () => new DOMException('The operation either timed out or was not allowed.', 'NotAllowedError');

  let held = null; // the request that waits: one at most
  let most = LIFETIME; // ms that a request may be held: the options of an offer end with it
  let onRequest = () => {};
  const release = (id, how) => {
    if (held?.id !== id) return false;
    const { end } = held;
    held = null;
    end(how);
    return true;
  };
  const fail = (id, error, why) => release(id, ({ reject }) => {
    report({ event: 'error', error });
    reject(why);
  });
  const hold = (options, signal) => new Promise((resolve, reject) => {
    if (signal?.aborted) { reject(signal.reason); return; }
    if (held) release(held.id, () => {}); // of a linking that is over: its error would end the new one on the screen
    const id = crypto.randomUUID();
    const lasts = Math.min(options.timeout, most);
    const timeout = setTimeout(() => fail(id, 'timeout', notAllowed()), lasts);
    const end = (how) => {
      clearTimeout(timeout);
      how({ resolve, reject });
    };
    held = { id, options, ends: performance.now() + lasts, end };
    signal?.addEventListener('abort', () => fail(id, 'aborted', signal.reason));
    report({ event: 'asked', request: id });
    onRequest(request());
  });
  // Chromium's own request would never end, and the page would wait for it with nothing held
  const refuse = () => {
    report({ event: 'error', error: 'other_request' });
    onRequest({ refused: 'other_request' });
    return Promise.reject(notAllowed());
  };

  const readable = (key) => {
    try {
      return key.rpId === 'whatsapp.com' ? optionsOf(key) : null;
    } catch {
      return null;
    }
  };
  CredentialsContainer.prototype.get = new Proxy(CredentialsContainer.prototype.get, {
    apply(get, container, given) {
      let key = null;
      try {
        // a request that only fills in a form (conditional) stops nobody
        if (window.waguardReport && given[0].mediation !== 'conditional') key = given[0].publicKey;
      } catch { /* no request for a passkey: the page's own business */ }
      if (!key) return Reflect.apply(get, container, given);
      const options = readable(key);
      return options ? hold(options, given[0].signal) : refuse();
    },
  });

  const request = () => {
    const { id, options, ends } = held;
    return { request: id, options, left: Math.max(0, ends - performance.now()) / 1000 };
  };
  const click = (button) => {
    if (!button) return { refused: 'no_prompt' };
    if (button.disabled) return { refused: 'no_request' };
    return new Promise((done) => {
      setTimeout(() => done({ refused: 'no_request' }), PATIENCE);
      onRequest = done;
      button.click();
    });
  };
  const plain = (code) => code.replace(/[^A-Za-z0-9]/g, '').toUpperCase();
  Object.defineProperty(window, '__waguardPasskey', { value: {
    // `again`: the page waits for no request that is held, or for none any more, as far as the daemon knows; while it
    // waits its button is disabled. `left`: seconds until the end of the options that the page has.
    start(again, left) {
      const button = document.querySelector(CONTINUE);
      if (held && (!again || button?.disabled)) return request();
      most = Math.min(LIFETIME, left * 1000);
      return click(button);
    },
    answer(id, json) {
      const credential = credentialOf(json); // first: what cannot be read must not end the wait
      return release(id, ({ resolve }) => {
        report({ event: 'sent' }); // also where the page says so in words that are new
        resolve(credential);
      });
    },
    cancel: (id) => held !== null && fail(id ?? held.id, 'cancelled', notAllowed()),
    // Whether it was clicked: only where the page shows this very code.
    confirm(code) {
      const [shown, button] = [CODE, CONFIRM].map((it) => document.querySelector(it));
      if (!shown || !button || button.disabled || plain(shown.textContent) !== plain(code)) return false;
      button.click();
      return true;
    },
  } });
})();
