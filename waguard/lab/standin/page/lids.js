// Chats of people who are known by a LID. What is read of wa-js and what is assumed: see lids.py.
(() => {
  'use strict';
  const { define, config } = window.__standin;

  define('WAWebStandinLids', (exports) => {
    class Lids {
      constructor() {
        this.current = new Map(); // number → LID, as wids
        this.numbers = new Map(); // LID → number, of those that the cache knows
      }

      note(number, lid, known) {
        this.current.set(number, lid);
        if (known) this.numbers.set(lid, number);
      }

      chatOf(wid) {
        return this.current.get(wid) ?? wid;
      }
    }
    exports.lids = new Lids();
  });

  define('WAWebLidPnCache', (exports, require) => {
    const { createWid } = require('WAWebWidFactory');
    const { lids } = require('WAWebStandinLids');
    const numberOf = (lid) => {
      const user = config.lids[lid.split('@')[0]];
      return user ? `${user}@c.us` : lids.numbers.get(lid);
    };
    const wid = (text) => text && createWid(text);
    exports.lidPnCache = {
      getCurrentLid: (number) => {
        const lid = lids.current.get(String(number));
        return wid(lids.numbers.has(lid) ? lid : undefined);
      },
      getPhoneNumber: (lid) => wid(numberOf(String(lid))),
    };
  });

  define('WAWebApiContact', (exports, require) => {
    const { lidPnCache } = require('WAWebLidPnCache');
    exports.getCurrentLid = lidPnCache.getCurrentLid;
    exports.getPhoneNumber = lidPnCache.getPhoneNumber;
  });

  define('WAWebStandinMigration', (exports, require) => {
    const { createWid } = require('WAWebWidFactory');
    const { lids } = require('WAWebStandinLids');
    const messages = require('WAWebStandinMessages');
    const acknowledge = ({ number }) => require('WAWebStandinLink').link.send('ack', { number });

    /** At one go: nobody sees the chat without its messages. */
    const rename = (old, before, lid, last) => {
      const { ChatCollection } = require('WAWebChatCollection');
      const { MsgCollection } = require('WAWebMsgCollection');
      const { name, t, unreadCount } = old;
      for (const model of old.msgs.getModelsArray()) MsgCollection.remove(model.id);
      ChatCollection.remove(before);
      const [chat] = ChatCollection.add({ id: createWid(lid), name, t, unreadCount });
      if (!last) return;
      const { hydrate } = require('WAWebStandinRecord');
      const [model] = MsgCollection.add(hydrate(last));
      chat.msgs.add(model);
      if (!chat.lastReceivedKey) chat.set({ lastReceivedKey: model.id }); // a newer one came meanwhile
    };

    exports.handlers = {
      /** A chat gets another id, and so do its messages; whoever listens hears nothing of it. */
      async migrated(stanza) {
        const { ChatCollection } = require('WAWebChatCollection');
        const { before, lid, known, number_wid } = stanza;
        lids.note(number_wid, lid, known);
        await messages.renameChat(before, lid);
        const old = ChatCollection.get(before);
        const key = old?.lastReceivedKey;
        const last = key && (await messages.get(String(key).replace(before, lid)));
        if (old) rename(old, before, lid, last);
        acknowledge(stanza);
      },

      lid_known(stanza) {
        lids.note(stanza.number_wid, stanza.lid, true);
        acknowledge(stanza);
      },
    };
  });
})();
