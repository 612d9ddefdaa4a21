// Starts the page once every module is registered.
(() => {
  'use strict';
  window.__standin.onceComplete(async () => {
    const { config, isBroken } = window.__standin;
    if (isBroken('throws')) throw new TypeError("Cannot read properties of undefined (reading 'start')");
    if (config.service_worker) navigator.serviceWorker.register('/sw.js').catch(reportError);
    const { session } = require('WAWebStandinSession');
    const { link } = require('WAWebStandinLink');
    const { Stream } = require('WAWebStreamModel');
    const { keys, linked, isHalf } = await require('WAWebStandinCredentials').load();
    Object.assign(session, { keys, linked });
    if (isHalf) await require('WAWebStandinMessages').clear();
    Stream.mode = linked ? 'OFFLINE' : 'QR';
    await require('WAWebStandinOutbox').outbox.restore();
    if (config.connect_delay) await new Promise((resolve) => setTimeout(resolve, config.connect_delay * 1000));
    link.open();
  });
})();
