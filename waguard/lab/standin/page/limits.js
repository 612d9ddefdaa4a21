// What WhatsApp's page knows of the lock on first contacts. The names of the modules, of the note and of what is
// in it are read in its own scripts; so is that it notes a minute where the server names no end. wa-js knows nothing of it.
(() => {
  'use strict';
  const { define } = window.__standin;
  const KEY = 'reachout_timelock';

  define('WAWebUserPrefsIndexedDBStorage', (exports) => {
    const notes = new Map(); // the real ones are kept; here each log-in sends them again
    exports.userPrefsIdb = {
      get: (key) => notes.get(key),
      set: async (key, value) => { notes.set(key, value); },
      remove: async (key) => { notes.delete(key); },
    };
  });

  define('WAWebReachoutTimelockUtils', (exports, require) => {
    const { userPrefsIdb } = require('WAWebUserPrefsIndexedDBStorage');
    exports.REACHOUT_TIMELOCK_IDB_KEY = KEY;
    exports.isUserReachoutTimelocked = () => Date.now() < (userPrefsIdb.get(KEY)?.time_enforcement_ends ?? 0);
  });

  define('WAWebStandinLimits', (exports, require) => {
    const { userPrefsIdb } = require('WAWebUserPrefsIndexedDBStorage');
    exports.handlers = {
      async timelock({ active, ends }) {
        if (!active) return userPrefsIdb.remove(KEY);
        const until = ends ? ends * 1000 : Date.now() + 60_000;
        return userPrefsIdb.set(KEY, { state: 'hidden', time_enforcement_ends: until, enforcement_type: 'RESTRICT_ALL_COMPANIONS' });
      },
    };
  });
})();
