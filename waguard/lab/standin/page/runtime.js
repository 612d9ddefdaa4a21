// A module runtime in the manner of Meta's: __d registers, require runs a factory once.
// wa-js finds modules through require('__debug').modulesMap and importNamespace.
(() => {
  'use strict';
  const config = window.__standinConfig;
  const modulesMap = Object.create(null);
  let late = 0;
  let whenComplete = null;

  // What a cold load of the real page registers last: without these wa-js is injected but never ready.
  const REST = new Set(['WAWebBuildConstants', 'WAWebUserPrefsMeUser', 'WAWebNetworkStatus']);
  const EARLY = new Set(['WAWebEventEmitter', 'WAWebModel', 'WAWebWid', 'WAWebWidFactory']);

  const isLate = (id) =>
    config.slow_modules > 0 && (config.slow_part === 'rest' ? REST.has(id) : !EARLY.has(id));

  const require = (id) => {
    if (id === '__debug') return { modulesMap };
    const entry = modulesMap[id];
    if (!entry) throw new Error(`Requiring unknown module "${id}".`);
    if (!entry.module) {
      entry.module = { exports: {} };
      const { module } = entry;
      try {
        entry.factory(window, require, require, require, null, module, module.exports);
      } catch (error) {
        entry.module = null; // what it needs is not registered yet: the next one who asks tries again
        throw error;
      }
    }
    return entry.module.exports;
  };

  // Whether this build is broken in that way, for this account: a page that is not linked yet has none.
  const isBroken = (way) => {
    if (config.way !== way) return false;
    const account = /^"(\d+)/.exec(localStorage.getItem('last-wid-md'))?.[1];
    return !config.broken_for || config.broken_for.includes(account);
  };

  const isUnregistered = isBroken('unregistered');
  window.__d = (id, dependencies, factory) => {
    if (isUnregistered) return;
    const register = () => {
      modulesMap[id] = { id, dependencies, factory, module: null };
    };
    if (!isLate(id)) {
      register();
      return;
    }
    late += 1;
    setTimeout(() => {
      register();
      late -= 1;
      if (late === 0) whenComplete?.();
    }, config.slow_modules * 1000);
  };
  // wa-js comes this way; what it gets of a factory that throws is the same as of none.
  const tooEarly = (id) => {
    const after = config.factories[id];
    return after !== undefined && (after < 0 || performance.now() < after * 1000);
  };
  // What the document itself says: it may be of another revision than the scripts that it names.
  for (const part of document.querySelectorAll('script[data-sjs]')) {
    for (const [, , , [defines]] of JSON.parse(part.textContent).require) {
      for (const [id, dependencies, exports] of defines) {
        modulesMap[id] = { id, dependencies, factory: (g, r, d, n, l, module) => { module.exports = exports; } };
      }
    }
  }
  window.require = require;
  window.importNamespace = (id) => {
    if (tooEarly(id)) throw new Error(`Requiring module "${id}", whose dependencies are not there yet.`);
    return require(id);
  };
  window.importDefault = (id) => require(id).default;
  window.ErrorGuard = { skipGuardGlobal() {}, applyWithGuard: (f, self, args) => f.apply(self, args) };
  // What messages have beside their text.
  const CONTENT = [
    'lat', 'lng', 'loc', 'clientUrl', 'comment', 'isLive', 'pollName', 'pollOptions', 'pollSelectableOptionsCount',
    'vcardFormattedName', 'vcardList', 'selectedButtonId', 'selectedId', 'listResponse', 'orderId', 'orderTitle', 'itemCount',
    'totalAmount1000', 'totalCurrencyCode', 'message', 'sellerJid', 'productId', 'title', 'description', 'priceAmount1000',
    'currencyCode', 'url', 'businessOwnerJid', 'inviteGrp', 'inviteGrpName', 'inviteCode', 'inviteCodeExp', 'eventName',
    'eventDescription', 'eventStartTime', 'eventEndTime', 'eventLocation', 'eventJoinLink', 'isEventCanceled', 'isAnimated',
    'waveform', 'ctwaContext', 'matchedText', 'canonicalUrl', 'duration', 'isViewOnce', 'isForwarded', 'mediaKey', 'footer',
  ];
  window.__standin = {
    CONTENT,
    config,
    isBroken,
    define: (id, factory) => window.__d(id, [], (g, r, d, n, l, module, exports) => factory(exports, r)),
    onceComplete(boot) {
      if (late === 0) boot();
      else whenComplete = boot;
    },
  };
})();
