// Wid (who) and MsgKey (which message), with the bits of Meta's source that wa-js recognizes them by.
(() => {
  'use strict';
  const { define } = window.__standin;

  define('WAWebWid', (exports) => {
    class Wid {
      constructor(user, server, device) {
        this.user = user;
        this.server = server;
        if (device) this.device = device;
        this._serialized = `${user}@${server}`;
      }

      toString() {
        return this._serialized;
      }

      equals(other) {
        return String(other) === this._serialized;
      }

      isUser() {
        return this.server === 'c.us' || this.server === 'lid';
      }

      isLid() {
        return this.server === 'lid';
      }

      isGroup() {
        return this.server === 'g.us';
      }

      isNewsletter() {
        return this.server === 'newsletter';
      }

      isBroadcast() {
        return this.server === 'broadcast';
      }

      isStatus() {
        return this._serialized === 'status@broadcast';
      }

      isStatusV3() {
        return this.isStatus();
      }

      isBot() {
        return false;
      }

      isPSA() {
        return false;
      }

      static isXWid(kind, wid) {
        return wid instanceof Wid && wid.server === kind;
      }

      static isWid(wid) {
        return wid instanceof Wid || /^[\w.:-]+@[a-z.]+$/.test(String(wid));
      }

      static isUser(wid) {
        return /@(c\.us|lid)$/.test(String(wid));
      }

      static isGroup(wid) {
        return String(wid).endsWith('@g.us');
      }

      static isStatus(wid) {
        return String(wid) === 'status@broadcast';
      }

      static isStatusV3(wid) {
        return Wid.isStatus(wid);
      }
    }
    exports.default = Wid;
  });

  define('WAWebWidFactory', (exports, require) => {
    const Wid = require('WAWebWid').default;
    const SERVERS = ['c.us', 'g.us', 'lid', 'broadcast', 'newsletter'];

    exports.createWid = (text) => {
      if (text instanceof Wid) return text;
      const [, user, device, server] =
        /^([\w.-]+?)(?::(\d+))?@([a-z.]+)$/.exec(String(text).replace('@s.whatsapp.net', '@c.us')) ?? [];
      if (!SERVERS.includes(server)) throw new Error(`wid error: invalid wid ${text}`);
      return new Wid(user, server, device);
    };
    exports.createUserWidOrThrow = (user, server = 'c.us') =>
      exports.createWid(`${String(user).split('@')[0]}@${server}`);
    exports.createUserWid = exports.createUserWidOrThrow;
    exports.isWidlike = (wid) => wid instanceof Wid || (Boolean(wid?.user) && Boolean(wid?.server));
    exports.createWidFromWidLike = (wid) =>
      wid instanceof Wid ? wid : exports.createWid(`${wid.user}@${wid.server}`);
    exports.asUserWidOrThrow = (wid) => new Wid(wid.user, wid.server);
  });

  define('WAWebMsgKey', (exports, require) => {
    const { createWid } = require('WAWebWidFactory');

    class MsgKey {
      constructor(key) {
        if (!key) throw new Error('MsgKey error: obj is null/undefined');
        const fromMe = key.fromMe ?? key.selfDir === 'out';
        const remote = key.remote ?? (key.selfDir === 'in' ? key.from : key.to);
        if (!remote || !key.id) throw new Error('MsgKey error: remote or id is missing');
        this.fromMe = fromMe;
        this.remote = createWid(remote);
        this.id = key.id;
        if (key.participant) this.participant = createWid(key.participant);
        // The real page's minifier names it like this, so keys have no _serialized until wa-js patched them.
        this.$1 = [fromMe, this.remote, this.id, this.participant].filter((p) => p !== undefined).join('_');
      }

      toString() {
        return this.$1;
      }

      equals(other) {
        return String(other) === String(this);
      }

      clone() {
        return new MsgKey(this);
      }

      static fromString(text) {
        const [, fromMe, remote, id, participant] =
          /^(true|false)_([^_]+@[a-z.]+)_([^_]+)(?:_([^_]+@[a-z.]+))?$/.exec(String(text)) ?? [];
        if (!id) throw new Error(`MsgKey error: cannot read ${text}`);
        return new MsgKey({ fromMe: fromMe === 'true', remote, id, participant });
      }

      static from(key) {
        return key instanceof MsgKey ? key : MsgKey.fromString(key);
      }

      static newId() {
        const bytes = crypto.getRandomValues(new Uint8Array(9));
        return `3EB0${[...bytes].map((b) => b.toString(16).padStart(2, '0')).join('').toUpperCase()}`;
      }

      static displayName() {
        return 'MsgKey';
      }
    }
    exports.default = MsgKey;
  });

  define('WABase64', (exports) => {
    exports.encodeB64 = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));
    exports.decodeB64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  });
})();
