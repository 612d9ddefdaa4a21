// Messages in and out. What is received is stored before the server hears of it; what is sent is stored
// before it is transmitted and goes out again, with the same id, until the server has answered.
(() => {
  'use strict';
  const { CONTENT, define, config, isBroken } = window.__standin;
  const PLAIN = [
    'body', 'type', 'subtype', 't', 'ack', 'caption', 'mimetype', 'filename', 'size', 'filehash', 'directPath',
    'notifyName', 'quotedStanzaID', 'self', ...CONTENT,
  ];
  const WIDS = ['from', 'to', 'author', 'quotedParticipant'];
  const WID_LISTS = ['mentionedJidList'];

  define('WAWebStandinRecord', (exports, require) => {
    const MsgKey = require('WAWebMsgKey').default;
    const { createWid } = require('WAWebWidFactory');

    /** A message as it is stored: no live objects in it. */
    exports.dehydrate = (attributes) => {
      const kept = {};
      for (const name of PLAIN) if (attributes[name] !== undefined) kept[name] = attributes[name];
      for (const name of WIDS) if (attributes[name]) kept[name] = String(attributes[name]);
      for (const name of WID_LISTS) if (attributes[name]) kept[name] = attributes[name].map(String);
      return { id: String(attributes.id), chat: String(attributes.id.remote), attributes: kept };
    };

    exports.hydrate = (record) => {
      const attributes = { ...record.attributes, id: MsgKey.fromString(record.id), isNewMsg: false };
      for (const name of WIDS) if (attributes[name]) attributes[name] = createWid(attributes[name]);
      const { latestEditMsgKey } = attributes;
      if (latestEditMsgKey) attributes.latestEditMsgKey = MsgKey.fromString(latestEditMsgKey);
      for (const name of WID_LISTS) if (attributes[name]) attributes[name] = attributes[name].map(createWid);
      return attributes;
    };
  });

  define('WAWebStandinInbox', (exports, require) => {
    const { hydrate } = require('WAWebStandinRecord');
    const { createWid } = require('WAWebWidFactory');
    const { ChatCollection } = require('WAWebChatCollection');
    const { ContactCollection } = require('WAWebContactCollection');
    const { MsgCollection } = require('WAWebMsgCollection');
    const { chatRecord } = require('WAWebFindChatAction');
    const messages = require('WAWebStandinMessages');

    const chatOf = (id, name) => {
      const chat = ChatCollection.get(id) ?? ChatCollection.add({ id: createWid(id), unreadCount: 0 })[0];
      if (name) chat.name = name;
      return chat;
    };

    const store = async ({ id, chat: chatId, name, attributes }, { isUnread }) => {
      const chat = chatOf(chatId, name);
      const record = { id, chat: chatId, attributes };
      const stored = chatRecord(chat);
      const isNew = await messages.insert(record, {
        ...stored,
        last: id,
        t: attributes.t,
        unreadCount: stored.unreadCount + (isUnread ? 1 : 0),
      });
      return { chat, record, isNew };
    };

    exports.handlers = {
      async message(stanza) {
        const { link } = require('WAWebStandinLink');
        const isUnread = !stanza.id.startsWith('true_');
        const { chat, record, isNew } = await store(stanza, { isUnread });
        // Stored, so the server may forget it. Who dies before the next line finds it in the chat, without an event.
        link.send('ack', { number: stanza.number });
        if (!isNew) return;
        require('WAWebStandinCiphertexts').note(record);
        const sender = stanza.attributes.author ?? stanza.attributes.from;
        if (isUnread && !ContactCollection.get(sender)) {
          ContactCollection.add({ id: createWid(sender), pushname: stanza.attributes.notifyName, isBusiness: false });
        }
        const isNewMsg = !isBroken('deaf');
        await MsgCollection.processMultipleMessages(chat.id, [{ ...hydrate(record), isNewMsg }]);
      },

      /** What the phone knows from before the pairing: stored, all at once, and shown, never announced. */
      async history({ messages: past, number }) {
        const records = past.map(({ id, chat, attributes }) => ({ id, chat, attributes }));
        const fresh = await messages.insertAll(records);
        const touched = new Set();
        for (const { id, chat: chatId, name } of past) {
          const record = fresh.get(id);
          if (!record) continue;
          const chat = chatOf(chatId, name);
          const [model] = MsgCollection.add(hydrate(record));
          chat.msgs.add(model);
          if (model.t >= (chat.t ?? 0)) chat.set({ lastReceivedKey: model.id, t: model.t }); // a chunk may be older than what is there
          touched.add(chat);
        }
        for (const chat of touched) await messages.putChat(chatRecord(chat));
        if (number) require('WAWebStandinLink').link.send('ack', { number });
      },

      async receipt(stanza) {
        const { link } = require('WAWebStandinLink');
        const { handleChatSimpleReceipt, handleGroupSimpleReceipt } = require('WAWebHandleSimpleReceipt');
        await (stanza.reader ? handleGroupSimpleReceipt : handleChatSimpleReceipt)({
          ack: stanza.ack,
          ackString: { 2: 'delivery', 3: 'read', 4: 'played' }[stanza.ack],
          from: createWid(stanza.chat),
          participant: stanza.reader && createWid(stanza.reader),
          externalIds: stanza.ids,
          ts: stanza.t,
        });
        link.send('ack', { number: stanza.number });
      },

      server_ack: (stanza) => require('WAWebStandinOutbox').outbox.acknowledge(stanza.id, 1, 'OK', stanza.t),
      refused: (stanza) => require('WAWebStandinOutbox').outbox.acknowledge(stanza.id, -1, stanza.error, stanza.t),
    };
  });

  define('WAWebHandleSimpleReceipt', (exports, require) => {
    const MsgKey = require('WAWebMsgKey').default;
    const { getMeLidUserOrThrow } = require('WAWebUserPrefsMeUser');
    const show = async (key, ack) => {
      await require('WAWebStandinMessages').update(key, { ack });
      require('WAWebMsgCollection').MsgCollection.get(key)?.set({ ack });
    };
    exports.handleChatSimpleReceipt = async ({ ack, from, externalIds }) => {
      for (const id of externalIds) await show(String(new MsgKey({ id, remote: from, fromMe: true })), ack);
    };
    // Only a message whose key names our own LID is found (wa-js#2821); in the event wa-js names the reader instead.
    exports.handleGroupSimpleReceipt = async ({ ack, from, externalIds }) => {
      const participant = getMeLidUserOrThrow();
      for (const id of externalIds) await show(String(new MsgKey({ id, remote: from, fromMe: true, participant })), ack);
    };
    exports.handleStatusSimpleReceipt = async () => undefined;
  });

  define('WAWebStandinOutbox', (exports, require) => {
    const { dehydrate, hydrate } = require('WAWebStandinRecord');
    const { MsgCollection } = require('WAWebMsgCollection');
    const { ChatCollection } = require('WAWebChatCollection');
    const { chatRecord } = require('WAWebFindChatAction');
    const messages = require('WAWebStandinMessages');

    class Outbox {
      constructor() {
        this.waiting = new Map(); // id → who waits for the server's answer
        this.carriedBy = new Map(); // id → the connection that it went out on: once per connection is enough
      }

      /** Stores, then shows: resolves with the model. An id that is stored already is not stored twice. */
      async store(chat, attributes) {
        const record = { ...dehydrate(attributes), pending: 1 };
        const stored = chatRecord(chat);
        const isNew = await messages.insert(record, { ...stored, last: record.id, t: attributes.t });
        if (!isNew) await this.revive(record.id);
        const [model] = MsgCollection.add(isNew ? attributes : hydrate(await messages.get(record.id)));
        chat.msgs.add(model);
        if (isNew) chat.onNewMsg(model);
        return model;
      }

      /** A refused message that is sent again under its old id is pending again. */
      async revive(id) {
        const known = await messages.get(id);
        if (known.attributes.ack >= 0) return;
        await messages.update(id, { ack: 0 }, { pending: true });
        MsgCollection.get(id)?.set({ ack: 0 });
      }

      /** Resolves when the server has answered, however many connections later; never if it never does. */
      send(model) {
        const id = String(model.id);
        if (model.ack >= 1) return Promise.resolve({ messageSendResult: 'OK', t: model.t });
        return new Promise((resolve) => {
          this.waiting.set(id, [...(this.waiting.get(id) ?? []), resolve]);
          messages.get(id).then((record) => this.transmit(record)).catch(reportError);
        });
      }

      async transmit(record) {
        const { link } = require('WAWebStandinLink');
        if (!link.ready || !record.pending || this.carriedBy.get(record.id) === link.socket) return;
        this.carriedBy.set(record.id, link.socket);
        if (record.attributes.filehash && !(await require('WAWebMediaData').upload(record.attributes))) {
          await this.acknowledge(record.id, -1, 'ERROR_UPLOAD', record.attributes.t);
          return;
        }
        link.send('send', { id: record.id, attributes: record.attributes });
      }

      async flush() {
        for (const record of await messages.pending()) await this.transmit(record);
      }

      async acknowledge(id, ack, messageSendResult, t) {
        const [fromMe, remote, ...rest] = id.split('_');
        const now = [fromMe, require('WAWebStandinLids').lids.chatOf(remote), ...rest].join('_'); // it may have been renamed
        const record =
          (await messages.update(id, { ack }, { pending: false })) ?? (await messages.update(now, { ack }, { pending: false }));
        if (!record) return;
        MsgCollection.get(record.id)?.set({ ack });
        for (const resolve of this.waiting.get(id) ?? []) resolve({ messageSendResult, t });
        this.waiting.delete(id);
        this.carriedBy.delete(id);
      }

      /** At the start: chats with their last message, and everything that still has to go out. */
      async restore() {
        const show = (record) => {
          const [model] = MsgCollection.add(hydrate(record));
          ChatCollection.get(record.chat)?.msgs.add(model);
          return model;
        };
        const { createWid } = require('WAWebWidFactory');
        for (const { id, name, t, unreadCount, last } of await messages.chats()) {
          const [chat] = ChatCollection.add({ id: createWid(id), name, t, unreadCount });
          const record = last && (await messages.get(last));
          if (record) chat.set({ lastReceivedKey: show(record).id });
        }
        for (const record of await messages.pending()) show(record);
      }
    }
    exports.outbox = new Outbox();
  });

  define('WAWebSendMsgChatAction', (exports, require) => {
    const { outbox } = require('WAWebStandinOutbox');
    const send = (chat, attributes) => {
      const stored = outbox.store(chat, attributes);
      return [stored, stored.then((model) => outbox.send(model))];
    };
    const sendOne = ({ chat, msg }) => send(chat, { ...msg, id: msg.id });
    const name = isBroken('renamed') ? 'addAndSendMessageToChat' : 'addAndSendMsgToChat';
    exports[name] = isBroken('convention') ? sendOne : send;
  });

  define('WAWebDBMessageFindLocal', (exports, require) => {
    const { hydrate } = require('WAWebStandinRecord');
    exports.msgFindByDirection = async ({ anchor, count, direction }) => {
      const chat = String(anchor.remote);
      if (config.history_error.includes(chat)) throw new Error('the database does not answer');
      const delay = config.history_delay[chat];
      if (delay) await new Promise((resolve) => setTimeout(resolve, delay * 1000));
      const found = await require('WAWebStandinMessages').find(chat, String(anchor), direction, count);
      return { messages: (found ?? []).map(hydrate), status: found ? 200 : 404 };
    };
    exports.msgFindBefore = (query) => exports.msgFindByDirection({ ...query, direction: 'before' });
    exports.msgFindAfter = (query) => exports.msgFindByDirection({ ...query, direction: 'after' });
  });

  define('WAWebChatMessageSearch', (exports, require) => {
    const { hydrate } = require('WAWebStandinRecord');
    const { MsgCollectionImpl } = require('WAWebMsgCollection');
    exports.getSearchContext = (context) => {
      const collection = new MsgCollectionImpl();
      const load = async () => {
        const record = await require('WAWebStandinMessages').get(String(context.msgKey));
        if (record) collection.add(hydrate(record));
      };
      collection.loadAroundPromise = load();
      return { collection, key: context.msgKey };
    };
  });

  define('WAWebQuotedMsgModelUtils', (exports, require) => {
    const { MsgCollection } = require('WAWebMsgCollection');
    exports.getQuotedMsgObj = (msg) => MsgCollection.getModelsArray().find((m) => m.id.id === msg.quotedStanzaID);
  });
})();
