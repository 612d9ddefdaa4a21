// What outlives the page: credentials (IndexedDB and localStorage, both needed), messages, chats, media.
(() => {
  'use strict';
  const { define } = window.__standin;

  define('WAWebStandinDatabase', (exports) => {
    const asked = (request) =>
      new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    const done = (transaction) =>
      new Promise((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(transaction.error);
      });
    const open = (name, build) => {
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => build(request.result);
      return asked(request);
    };

    const signal = open('signal-storage', (db) => db.createObjectStore('signal-meta-store'));
    const models = open('model-storage', (db) => {
      const messages = db.createObjectStore('message', { keyPath: 'rowId', autoIncrement: true });
      messages.createIndex('id', 'id', { unique: true });
      messages.createIndex('chat', ['chat', 'rowId']);
      messages.createIndex('pending', 'pending');
      db.createObjectStore('chat', { keyPath: 'id' });
      db.createObjectStore('media');
    });
    Object.assign(exports, { asked, done, signal, models });
  });

  define('WAWebStandinCredentials', (exports, require) => {
    const { asked, done, signal } = require('WAWebStandinDatabase');
    const { encodeB64 } = require('WABase64');
    const LAST_WID = 'last-wid-md';
    const NOISE_INFO = 'WANoiseInfo';

    const keyPair = async () => {
      const { privateKey, publicKey } = await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify']);
      return { privKey: privateKey, pubKey: await crypto.subtle.exportKey('raw', publicKey) };
    };

    const generate = async () => ({
      noise: await keyPair(),
      identity: await keyPair(),
      advSecret: encodeB64(crypto.getRandomValues(new Uint8Array(32))),
      registrationId: crypto.getRandomValues(new Uint16Array(1))[0],
    });

    const put = async (keys) => {
      const transaction = (await signal).transaction('signal-meta-store', 'readwrite');
      transaction.objectStore('signal-meta-store').put(keys, 'registration');
      await done(transaction);
    };

    /** The keys of this browser, and who it is linked as; `linked` is null when either half is missing. */
    exports.load = async () => {
      const store = (await signal).transaction('signal-meta-store').objectStore('signal-meta-store');
      const keys = await asked(store.get('registration'));
      const linked = JSON.parse(localStorage.getItem(NOISE_INFO));
      if (keys?.linked && linked && localStorage.getItem(LAST_WID)) return { keys, linked };
      const isHalf = keys?.linked || linked;
      if (isHalf) await exports.clear();
      const fresh = keys && !isHalf ? keys : await generate();
      await put(fresh);
      return { keys: fresh, linked: null, isHalf: Boolean(isHalf) };
    };

    exports.save = async (keys, linked) => {
      await put({ ...keys, linked: linked.wid });
      localStorage.setItem(LAST_WID, JSON.stringify(linked.device));
      localStorage.setItem(NOISE_INFO, JSON.stringify(linked));
    };

    exports.clear = async () => {
      localStorage.clear();
      const transaction = (await signal).transaction('signal-meta-store', 'readwrite');
      transaction.objectStore('signal-meta-store').clear();
      await done(transaction);
    };
  });

  define('WAWebStandinMessages', (exports, require) => {
    const { asked, done, models } = require('WAWebStandinDatabase');
    const open = async (mode, ...stores) => (await models).transaction(stores, mode);

    /**
     * Stores a message and its chat in one transaction; resolves when both are safe.
     * False when that id is stored already (nothing is changed then).
     */
    exports.insert = async (record, chat) => {
      const transaction = await open('readwrite', 'message', 'chat');
      const store = transaction.objectStore('message');
      const known = await asked(store.index('id').getKey(record.id));
      if (known === undefined) {
        store.add(record);
        transaction.objectStore('chat').put(chat);
      }
      await done(transaction);
      return known === undefined;
    };

    /** Stores messages in one transaction: those that were not there, by id. */
    exports.insertAll = async (records) => {
      const transaction = await open('readwrite', 'message');
      const store = transaction.objectStore('message');
      const fresh = new Map();
      for (const record of records) {
        if ((await asked(store.index('id').getKey(record.id))) !== undefined) continue;
        store.add(record);
        fresh.set(record.id, record);
      }
      await done(transaction);
      return fresh;
    };

    exports.get = async (id) =>
      asked((await open('readonly', 'message')).objectStore('message').index('id').get(id));

    /** Changes attributes of a stored message; `pending: false` takes it out of what goes out again. */
    exports.update = async (id, attributes, { pending } = {}) => {
      const transaction = await open('readwrite', 'message');
      const store = transaction.objectStore('message');
      const record = await asked(store.index('id').get(id));
      if (record) {
        Object.assign(record.attributes, attributes);
        if (pending === false) delete record.pending;
        if (pending === true) record.pending = 1;
        store.put(record);
      }
      await done(transaction);
      return record;
    };

    exports.remove = async (id) => {
      const transaction = await open('readwrite', 'message');
      const store = transaction.objectStore('message');
      const row = await asked(store.index('id').getKey(id));
      if (row !== undefined) store.delete(row);
      await done(transaction);
    };

    /** Gives a chat and all its messages the id of another one, at once. */
    exports.renameChat = async (before, after) => {
      const transaction = await open('readwrite', 'message', 'chat');
      const store = transaction.objectStore('message');
      const rename = (id) => id?.replace(`_${before}_`, `_${after}_`);
      const own = IDBKeyRange.bound([before, -Infinity], [before, Infinity]);
      for (const record of await asked(store.index('chat').getAll(own))) {
        const { attributes } = record;
        for (const name of ['from', 'to', 'author']) if (attributes[name] === before) attributes[name] = after;
        store.put({ ...record, id: rename(record.id), chat: after });
      }
      const chats = transaction.objectStore('chat');
      const chat = await asked(chats.get(before));
      if (chat) {
        chats.delete(before);
        chats.put({ ...chat, id: after, last: rename(chat.last) });
      }
      await done(transaction);
    };

    exports.pending = async () =>
      asked((await open('readonly', 'message')).objectStore('message').index('pending').getAll());

    /** Up to `count` stored messages next to the anchor, oldest first; null for an unknown anchor. */
    exports.find = async (chat, anchor, direction, count) => {
      const store = (await open('readonly', 'message')).objectStore('message');
      const at = await asked(store.index('id').get(anchor));
      if (!at) return null;
      if (!(count > 0)) return [];
      if (direction === 'after') {
        const after = IDBKeyRange.bound([chat, at.rowId], [chat, Infinity], true);
        return asked(store.index('chat').getAll(after, Number.isFinite(count) ? count : undefined));
      }
      const before = IDBKeyRange.bound([chat, -Infinity], [chat, at.rowId], false, true);
      const newestFirst = store.index('chat').openCursor(before, 'prev');
      const found = [];
      for (let cursor = await asked(newestFirst); cursor && found.length < count; cursor = await asked(newestFirst)) {
        found.unshift(cursor.value);
        cursor.continue();
      }
      return found;
    };

    exports.chats = async () => asked((await open('readonly', 'chat')).objectStore('chat').getAll());

    exports.putChat = async (chat) => {
      const transaction = await open('readwrite', 'chat');
      transaction.objectStore('chat').put(chat);
      await done(transaction);
    };

    exports.media = {
      get: async (hash) => asked((await open('readonly', 'media')).objectStore('media').get(hash)),
      put: async (hash, data) => {
        const transaction = await open('readwrite', 'media');
        transaction.objectStore('media').put(data, hash);
        await done(transaction);
      },
    };

    exports.clear = async () => {
      const transaction = await open('readwrite', 'message', 'chat', 'media');
      for (const name of ['message', 'chat', 'media']) transaction.objectStore(name).clear();
      await done(transaction);
    };
  });
})();
