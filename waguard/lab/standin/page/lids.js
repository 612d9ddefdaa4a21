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

    const rename = async (old, before, lid) => {
      const { ChatCollection } = require('WAWebChatCollection');
      const { MsgCollection } = require('WAWebMsgCollection');
      const { name, t, unreadCount, lastReceivedKey } = old;
      for (const model of old.msgs.getModelsArray()) MsgCollection.remove(model.id);
      ChatCollection.remove(before);
      const [chat] = ChatCollection.add({ id: createWid(lid), name, t, unreadCount });
      const { hydrate } = require('WAWebStandinRecord');
      const last = lastReceivedKey && (await messages.get(String(lastReceivedKey).replace(before, lid)));
      if (!last) return;
      const [model] = MsgCollection.add(hydrate(last));
      chat.msgs.add(model);
      chat.set({ lastReceivedKey: model.id });
    };

    exports.handlers = {
      /** A chat gets another id, and so do its messages; whoever listens hears nothing of it. */
      async migrated(stanza) {
        const { ChatCollection } = require('WAWebChatCollection');
        const { before, lid, known, number_wid } = stanza;
        lids.note(number_wid, lid, known);
        await messages.renameChat(before, lid);
        const old = ChatCollection.get(before);
        if (old) await rename(old, before, lid);
        acknowledge(stanza);
      },

      lid_known(stanza) {
        lids.note(stanza.number_wid, stanza.lid, true);
        acknowledge(stanza);
      },
    };
  });
})();
