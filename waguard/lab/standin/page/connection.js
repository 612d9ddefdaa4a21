// Stream, Socket, Conn, Cmd and the link to the server: pairing, logging in, reconnecting, logging out.
(() => {
  'use strict';
  const { define, config, isBroken } = window.__standin;
  const LOOPS_AFTER = 4_000; // ms from the connection of a build that reloads or spins
  const BLOCKS = ['PROXYBLOCK', 'TOS_BLOCK', 'SMB_TOS_BLOCK', 'DEPRECATED_VERSION'];

  define('WAWebBuildConstants', (exports) => {
    exports.SANITIZED_VERSION_STR = config.version;
    exports.VERSION_STR = config.version;
  });

  define('WAWebSocketConstants', (exports) => {
    const states = ['OPENING', 'PAIRING', 'UNPAIRED', 'UNPAIRED_IDLE', 'CONNECTED', 'TIMEOUT', 'CONFLICT', 'UNLAUNCHED'];
    exports.SOCKET_STATE = Object.fromEntries([...states, ...BLOCKS].map((s) => [s, s]));
    exports.SOCKET_STREAM = Object.fromEntries(
      ['DISCONNECTED', 'SYNCING', 'RESUMING', 'CONNECTED'].map((s) => [s, s]),
    );
    exports.WATCHED_SOCKET_STATE = { OPEN: 'OPEN', CLOSED: 'CLOSED' };
  });

  define('WAWebStreamModel', (exports, require) => {
    const { Model, describe } = require('WAWebModel');
    class StreamModel extends Model {
      markAvailable() {
        require('WAWebStandinLink').link.send('presence', { available: true });
      }

      markUnavailable() {
        require('WAWebStandinLink').link.send('presence', { available: false });
      }
    }
    describe(StreamModel, 'stream', ['mode', 'info', 'needsUpdate', 'obscurity', 'available']);
    exports.StreamModel = StreamModel;
    exports.Stream = new StreamModel({ mode: undefined, info: 'OPENING', needsUpdate: false });
  });

  define('WAWebConnModel', (exports, require) => {
    const { Model, describe } = require('WAWebModel');
    class ConnImpl extends Model {}
    describe(ConnImpl, 'conn', ['ref', 'connected', 'wid', 'pushname', 'platform']);
    exports.ConnImpl = ConnImpl;
    exports.Conn = new ConnImpl({ ref: null, connected: false, platform: 'android' });
  });

  define('WAWebSocketModel', (exports, require) => {
    const { Model, describe } = require('WAWebModel');
    class SocketModel extends Model {
      takeover() {
        require('WAWebStandinLink').link.open();
      }

      poke() {
        require('WAWebStandinLink').link.open();
      }

      logout() {
        require('WAWebStandinLink').link.logOut();
      }
    }
    describe(SocketModel, 'socket', ['state', 'stream', 'streamId']);
    exports.SocketModel = SocketModel;
    exports.Socket = new SocketModel({ state: 'OPENING', stream: 'DISCONNECTED' });
  });

  define('WAWebCmd', (exports, require) => {
    const { EventEmitter } = require('WAWebEventEmitter');
    class CmdImpl extends EventEmitter {
      constructor() {
        super();
        this.isMainLoaded = false;
      }

      mainLoaded() {
        if (this.isMainLoaded) return;
        this.isMainLoaded = true;
        this.trigger('main_loaded');
      }

      refreshQR() {
        this.trigger('refresh_qr');
      }

      sendRevokeMsgs(chat, { list }) {
        return require('WAWebStandinDeletion').revoke(list);
      }

      sendDeleteMsgs(chat, { list }) {
        return require('WAWebStandinDeletion').remove(chat, list);
      }
    }
    exports.CmdImpl = CmdImpl;
    exports.Cmd = new CmdImpl();
  });

  define('WAWebBackendEventBus', (exports, require) => {
    const { EventEmitter } = require('WAWebEventEmitter');
    exports.BackendEvent = { LOGOUT: 'logout', SET_SOCKET_STATE: 'set_socket_state', OFFLINE_DELIVERY_END: 'offline_delivery_end' };
    exports.BackendEventBus = new EventEmitter();
  });

  define('WAWebNetworkStatus', (exports, require) => {
    const { Model, describe } = require('WAWebModel');
    class NetworkStatusModel extends Model {
      checkOnline() {
        return this.online;
      }
    }
    describe(NetworkStatusModel, 'network_status', ['online']);
    exports.NetworkStatusModel = NetworkStatusModel;
    exports.default = new NetworkStatusModel({ online: navigator.onLine });
  });

  define('WAWebStandinSession', (exports) => {
    exports.session = { keys: null, linked: null };
  });

  define('WAWebUserPrefsMeUser', (exports, require) => {
    const { session } = require('WAWebStandinSession');
    const { createWid } = require('WAWebWidFactory');
    exports.getMaybeMePnUser = () => (session.linked ? createWid(session.linked.wid) : undefined);
    // Assumed: an account has one as soon as any of its chats is migrated.
    exports.getMaybeMeLidUser = () =>
      require('WAWebStandinLids').lids.current.size ? exports.getMeLidUserOrThrow() : undefined;
    exports.getMeLidUserOrThrow = () => {
      if (!session.linked) throw new Error('this account has no LID');
      return createWid(`9${session.linked.wid.split('@')[0]}@lid`); // who writes to a group
    };
    exports.getMaybeMeDevicePn = () => (session.linked ? createWid(session.linked.device) : undefined);
  });

  define('WAWebSessionState', (exports, require) => {
    const { session } = require('WAWebStandinSession');
    const name = isBroken('never_ready') ? 'isSignedIn' : 'isLoggedIn';
    exports[name] = () => Boolean(session.linked);
  });

  define('WAWebRegistrationState', (exports, require) => {
    const { session } = require('WAWebStandinSession');
    exports.isRegistered = () => Boolean(session.linked);
  });

  define('WAWebSignalStore', (exports, require) => {
    const { session } = require('WAWebStandinSession');
    exports.waSignalStore = {
      getRegistrationInfo: async () => ({
        registrationId: session.keys.registrationId,
        identityKeyPair: session.keys.identity,
      }),
    };
  });

  define('WAWebNoiseInfo', (exports, require) => {
    const { session } = require('WAWebStandinSession');
    exports.waNoiseInfo = { get: async () => ({ staticKeyPair: session.keys.noise }) };
  });

  define('WAWebAdv', (exports, require) => {
    const { session } = require('WAWebStandinSession');
    exports.getADVSecretKey = () => session.keys.advSecret;
    exports.setADVSignedIdentity = () => undefined;
  });

  define('WAWebLogoutReason', (exports) => {
    exports.LogoutReason = {
      UserInitiated: 'user_initiated',
      UnknownCompanion: 'unknown_companion',
      AccountLocked: 'account_locked',
    };
    exports.LOGOUT_REASON_CODE = { CLIENT_FATAL: '0', SYNC_FAIL: '1', INITIAL_HISTORY_SYNC_TIMEOUT: '2', ACCOUNT_LOCKED: '3' };
    exports.getErrorCodeFromLogoutReason = (reason) =>
      reason === 'account_locked' ? '3' : reason.includes('sync') ? '1' : '0';
  });

  define('WAWebAltDeviceLinking', (exports, require) => {
    const { Conn } = require('WAWebConnModel');
    exports.initializeAltDeviceLinking = async () => {
      if (Conn.ref) return;
      const shown = new Promise((resolve) => Conn.once('change:ref', resolve));
      require('WAWebStandinLink').link.open();
      await shown;
    };
    exports.genLinkDeviceCodeForPhoneNumber = async (phone) => {
      try {
        return (await require('WAWebStandinLink').link.request('pairing_code', { phone })).code;
      } catch (error) {
        if (error.message !== '429 rate-overlimit') throw error;
        const type = { name: 'IQErrorRateOverlimit', value: { text: 'rate-overlimit', code: 429 } };
        throw Object.assign(new Error(), { name: 'CompanionHelloError', type }); // wwebjs#3763
      }
    };
  });

  define('WAWebStandinLink', (exports, require) => {
    const { Stream } = require('WAWebStreamModel');
    const { Socket } = require('WAWebSocketModel');
    const { Conn } = require('WAWebConnModel');
    const { Cmd } = require('WAWebCmd');
    const { BackendEventBus } = require('WAWebBackendEventBus');
    const { session } = require('WAWebStandinSession');
    const credentials = require('WAWebStandinCredentials');
    const { encodeB64 } = require('WABase64');
    const network = require('WAWebNetworkStatus').default;

    class Link {
      constructor() {
        this.socket = null;
        this.ready = false; // logged in and synced: messages may go out
        this.attempt = 0;
        this.asked = new Map();
        this.questions = 0;
        this.turn = Promise.resolve();
      }

      /** Connects now; what was said to stop reconnecting (conflict, idle) is forgotten. */
      open() {
        clearTimeout(this.retry);
        if (this.socket) return;
        this.isStopped = false;
        Socket.state = 'OPENING';
        Stream.info = session.linked && this.attempt ? 'CONNECTING' : 'OPENING';
        if (!session.linked) Stream.mode = 'QR';
        const socket = new WebSocket(`wss://${location.host}/ws/chat`);
        this.socket = socket;
        socket.onmessage = ({ data }) => {
          // One stanza after the other: the next message waits until this one is stored.
          this.turn = this.turn.then(() => socket === this.socket && this.receive(JSON.parse(data))).catch(reportError);
        };
        socket.onclose = () => socket === this.socket && this.closed();
      }

      send(type, fields = {}) {
        if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type, ...fields }));
      }

      request(type, fields) {
        if (this.socket?.readyState !== WebSocket.OPEN) return Promise.reject(new Error('socket closed'));
        this.questions += 1;
        const number = this.questions;
        return new Promise((resolve, reject) => {
          this.asked.set(number, { resolve, reject });
          this.send(type, { number, ...fields });
        });
      }

      closed() {
        this.socket = null;
        this.ready = false;
        Conn.set({ ref: null, connected: false });
        for (const { reject } of this.asked.values()) reject(new Error('socket closed'));
        this.asked.clear();
        if (this.isStopped) return;
        network.online = false;
        Socket.state = session.linked ? 'TIMEOUT' : 'OPENING';
        if (session.linked) {
          Stream.info = 'OFFLINE';
          Stream.mode ??= 'OFFLINE';
        }
        this.attempt += 1;
        const delay = Math.min(config.reconnect_max, config.reconnect_delay * 2 ** (this.attempt - 1));
        this.retry = setTimeout(() => this.open(), delay * 1000);
      }

      stop() {
        this.isStopped = true;
        clearTimeout(this.retry);
        this.socket?.close();
        this.closed(); // not when the close has been answered: who opens again must not wait for it
      }

      /** Ends with the socket closed by us and a state that only a person or takeover() leaves. */
      halt(state) {
        this.stop();
        Conn.ref = null;
        Socket.state = state;
        if (state !== 'UNPAIRED_IDLE') Stream.mode = state;
        BackendEventBus.trigger('set_socket_state', state);
      }

      logOut() {
        this.wantsLogout = true;
        this.send('logout');
      }

      async receive(stanza) {
        const modules = [
          'WAWebStandinInbox', 'WAWebStandinHappenings', 'WAWebStandinNotices', 'WAWebStandinMigration',
          'WAWebStandinCiphertexts', 'WAWebStandinLimits', 'WAWebStandinGroups', 'WAWebStandinPasskey',
        ];
        const handlers = modules.map((id) => require(id).handlers[stanza.type]);
        const handle = this[`on_${stanza.type}`] ?? handlers.find(Boolean);
        if (!handle) throw new Error(`unknown stanza ${stanza.type}`);
        await handle.call(this, stanza);
      }

      async on_welcome({ challenge }) {
        const { keys, linked } = session;
        if (!linked) {
          this.send('register', { revision: config.revision });
          return;
        }
        const text = new TextEncoder().encode(challenge);
        const signature = encodeB64(await crypto.subtle.sign('Ed25519', keys.noise.privKey, text));
        const proof = { secret: linked.secret, signature, public_key: encodeB64(keys.noise.pubKey) };
        this.send('login', { device: linked.device, revision: config.revision, ...proof });
      }

      on_ref({ ref }) {
        this.attempt = 0;
        network.online = true;
        Stream.set({ mode: 'QR', info: 'NORMAL' });
        Socket.state = 'UNPAIRED';
        Conn.ref = ref;
      }

      on_idle() {
        this.halt('UNPAIRED_IDLE');
      }

      async on_paired({ linked }) {
        require('WAWebStandinPasskey').linking.hide();
        Socket.state = 'PAIRING';
        Stream.info = 'PAIRING';
        Conn.ref = null;
        await credentials.save(session.keys, linked);
        session.linked = linked;
        // As WhatsApp does: the stream of the pairing ends, the next one logs in.
        this.stop();
        this.open();
      }

      async on_success({ isFresh, name, lids, groups, names, admin_of }) {
        this.attempt = 0;
        for (const [number, lid, known] of lids) require('WAWebStandinLids').lids.note(number, lid, known);
        require('WAWebStandinGroups').note(groups, names, admin_of);
        network.online = true;
        if (this.wantsLogout) this.send('logout');
        document.cookie = `standin_account=${session.linked.wid.split('@')[0]}; path=/; secure; max-age=31536000`;
        Conn.set({ connected: true, wid: session.linked.wid, pushname: name });
        Socket.set({ state: 'CONNECTED', stream: isFresh ? 'SYNCING' : 'RESUMING' });
        Stream.set(isFresh ? { mode: 'SYNCING', info: 'SYNCING' } : { mode: 'MAIN', info: 'RESUMING' });
        Cmd.mainLoaded();
        if (Stream.available !== false) Stream.markAvailable(); // assumed: the page says so whenever it logs in
      }

      /** The server has sent what waited: whatever still has no ack of ours goes out (again) now. */
      async on_offline_done() {
        Socket.stream = 'CONNECTED';
        Stream.set({ mode: 'MAIN', info: 'NORMAL' });
        BackendEventBus.trigger('offline_delivery_end');
        this.ready = true;
        if (isBroken('reloads')) setTimeout(() => location.reload(), LOOPS_AFTER);
        if (isBroken('spins')) setTimeout(() => { for (;;); }, LOOPS_AFTER);
        await require('WAWebStandinOutbox').outbox.flush();
      }

      on_block({ kind }) {
        this.halt(kind);
      }

      on_conflict() {
        this.halt('CONFLICT');
      }

      async on_logged_out({ reason }) {
        this.stop();
        const code = require('WAWebLogoutReason').getErrorCodeFromLogoutReason(reason);
        await credentials.clear();
        await require('WAWebStandinMessages').clear();
        session.linked = null;
        BackendEventBus.trigger('logout');
        Cmd.trigger('logout', reason);
        setTimeout(() => location.assign(`/?post_logout=1&logout_reason=${code}`), 100);
      }

      on_result({ number, error, ...result }) {
        const question = this.asked.get(number);
        this.asked.delete(number);
        if (error) question?.reject(new Error(error));
        else question?.resolve(result);
      }
    }

    exports.link = new Link();
    Cmd.on('refresh_qr', () => {
      const { link } = exports;
      if (link.socket) link.send('refresh_qr');
      else link.open();
    });
  });
})();
