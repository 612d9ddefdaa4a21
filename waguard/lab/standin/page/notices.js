// What WhatsApp reports to the page: a newer version, a reload, a dialog; and a socket that is not connected.
(() => {
  'use strict';
  const { define } = window.__standin;

  define('WAWebStandinNotices', (exports, require) => {
    const { Stream } = require('WAWebStreamModel');
    const { Socket } = require('WAWebSocketModel');

    exports.handlers = {
      // wa-js#652: the button "Update available"; wa-js reports the change back to false as well (its source)
      needs_update({ value }) {
        Stream.needsUpdate = value;
      },

      // wwebjs#201734: the words are read there. Assumed: the mode of the stream stays as it was.
      ghost() {
        const { link } = require('WAWebStandinLink');
        const { socket } = link;
        Object.assign(link, { socket: null, ready: false, isStopped: true });
        socket.close();
        Object.assign(Socket.attributes, { state: 'OPENING', stream: 'DISCONNECTED' }); // and no event
      },

      // OpenWA#1040: about five minutes after a pairing
      reload() {
        location.reload();
      },

      spin() {
        for (;;);
      },

      // OpenWA#982: "what's new". Assumed: it is marked as WAI-ARIA has it for dialogs.
      modal() {
        const dialog = document.createElement('div');
        dialog.setAttribute('role', 'dialog');
        dialog.setAttribute('aria-modal', 'true');
        dialog.textContent = 'What is new';
        document.body.append(dialog);
      },

      // A page in other hands: reports of this kind and size, as fast as it can, and sometimes lets go of its thread.
      flood({ kind, size, seconds }) {
        const [chat, body, ends] = ['6281180002@c.us', 'x'.repeat(size), Date.now() + seconds * 1000];
        let number = 0;
        const burst = () => {
          for (let i = 0; i < 20; i += 1) {
            number += 1;
            const data = { id: `flood_${number}`, message_id: 'm', chat, body, kind: 'chat', timestamp: 1_700_000_000 };
            window.waguardReport(JSON.stringify({ kind, data }));
          }
          if (Date.now() < ends) setTimeout(burst);
        };
        burst();
      },
    };
  });
})();
