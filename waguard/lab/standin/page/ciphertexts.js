// "Waiting for this message": what the page has of a message that it cannot decrypt, and how it becomes readable.
// Read in WhatsApp Web's source: such a placeholder has the type ciphertext, a subtype that says why, and the id of
// the message that takes its place. Read in wa-js: it listens for a change of the type once, in the page that saw the
// placeholder new. Assumed: in which of these ways it becomes readable, and how often.
(() => {
  'use strict';
  const { define } = window.__standin;

  define('WAWebStandinCiphertexts', (exports, require) => {
    const { hydrate } = require('WAWebStandinRecord');
    const { ChatCollection } = require('WAWebChatCollection');
    const { MsgCollection } = require('WAWebMsgCollection');
    const messages = require('WAWebStandinMessages');
    const WIDS = ['id', 'from', 'to', 'author'];
    const shown = new Set(); // ids of placeholders that came while this page was there

    exports.note = ({ id, attributes }) => {
      if (attributes.type === 'ciphertext') shown.add(id);
    };

    /** What the model of a placeholder lacks; who wrote it, and where, was known before. */
    const contentOf = (record) =>
      Object.fromEntries(Object.entries(hydrate(record)).filter(([name]) => !WIDS.includes(name) && name !== 'isNewMsg'));

    const ways = {
      /** In its place, and whoever listens hears of it. */
      event(model, record) {
        model?.set(contentOf(record));
        model?.initialize();
      },

      /** In its place, and nobody hears of it. */
      silent(model, record) {
        if (!model) return;
        Object.assign(model.attributes, contentOf(record));
        model.initialize();
      },

      /** In the database: the page shows the placeholder until it is reloaded. */
      stored() {},

      /** As a new message with the same id; the placeholder is removed before. */
      async again(model, record) {
        const chat = ChatCollection.get(record.chat);
        MsgCollection.remove(record.id);
        chat.msgs.remove(record.id);
        await MsgCollection.processMultipleMessages(chat.id, [{ ...hydrate(record), isNewMsg: true }]);
      },
    };

    exports.handlers = {
      async decrypted(stanza) {
        const { id, attributes, way } = stanza;
        if (way === 'again' && shown.has(id)) return; // not acknowledged: the page that is loaded next gets it
        const record = await messages.update(id, { subtype: undefined, ...attributes });
        require('WAWebStandinLink').link.send('ack', { number: stanza.number });
        if (record) await ways[way](MsgCollection.get(id), record);
      },
    };
  });
})();
