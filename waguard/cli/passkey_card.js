// The question to the person whose passkey it is: who asks, for which session, what it means. `waguard passkey` and the
// extension show it in a world of their own on https://web.whatsapp.com: a script of that page sees neither this code nor
// what it makes, and cannot press its buttons. Only a person's own click signs.
globalThis.waguardCard = ({ options, from, session }) => new Promise((done) => {
  'use strict';
  const publicKey = (() => {
    // no extension of WebAuthn that could read a secret of the authenticator: only what WhatsApp is known to ask
    const { challenge, rpId, allowCredentials = [], timeout, userVerification, extensions } = options ?? {};
    if (rpId !== 'whatsapp.com' || userVerification !== 'required' || typeof challenge !== 'string') return null;
    const uvm = extensions?.uvm ? { extensions: { uvm: true } } : {};
    return { challenge, rpId, allowCredentials, timeout, userVerification, ...uvm };
  })();
  if (!publicKey) {
    done({ error: 'only a request for whatsapp.com that requires user verification is signed' });
    return;
  }
  const host = document.createElement('div');
  host.id = 'waguard-passkey';
  const root = host.attachShadow({ mode: 'closed' });
  const style = document.createElement('style');
  style.textContent = `
    dialog { font: 16px/1.5 system-ui, sans-serif; max-width: 32rem; padding: 1.5rem; border: 1px solid #8888; border-radius: .6rem; }
    dialog::backdrop { background: Canvas; }
    h1 { font-size: 1.25rem; margin: 0 0 .8rem; }
    p { margin: .8rem 0; overflow-wrap: anywhere; }
    button { font: inherit; padding: .5rem 1rem; margin: .5rem .8rem 0 0; }`;
  const dialog = document.createElement('dialog');
  const add = (name, words) => {
    const made = document.createElement(name);
    made.textContent = words;
    dialog.append(made);
    return made;
  };
  add('h1', 'Link a new device to your WhatsApp account?');
  add('p', `${from} asks for your passkey${session ? ` to link its session "${session}"` : ''}.`);
  add('p', 'Whoever runs it will read and send your messages until you remove the device on your phone.');
  add('p', 'Go on only if you started this yourself, there, a moment ago.');
  const problem = add('p', '');
  problem.setAttribute('role', 'alert');
  const sign = add('button', 'Use my passkey');
  const cancel = add('button', 'Cancel');
  const ending = new AbortController();
  const end = (answer) => {
    ending.abort();
    host.remove();
    done(answer);
  };
  cancel.autofocus = true;
  cancel.addEventListener('click', (event) => { if (event.isTrusted) end({ error: 'cancelled' }); });
  dialog.addEventListener('cancel', (event) => { if (event.isTrusted) end({ error: 'cancelled' }); });
  sign.addEventListener('click', async (event) => {
    if (!event.isTrusted) return;
    sign.disabled = true;
    problem.textContent = '';
    try {
      const given = PublicKeyCredential.parseRequestOptionsFromJSON(publicKey);
      const made = await navigator.credentials.get({ publicKey: given, signal: ending.signal });
      end({ assertion: made.toJSON() });
    } catch (error) {
      // the person may have chosen the wrong authenticator: the request is good for another try
      problem.textContent = `The browser says: ${error.message}`;
      sign.disabled = false;
    }
  });
  root.append(style, dialog);
  (document.body ?? document.documentElement).append(host);
  dialog.showModal();
});
