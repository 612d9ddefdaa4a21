// Starts the page once every module is registered.
(() => {
  'use strict';
  window.__standin.onceComplete(async () => {
    const { session } = require('WAWebStandinSession');
    const { link } = require('WAWebStandinLink');
    const { Stream } = require('WAWebStreamModel');
    const { keys, linked, isHalf } = await require('WAWebStandinCredentials').load();
    Object.assign(session, { keys, linked });
    if (isHalf) await require('WAWebStandinMessages').clear();
    Stream.mode = linked ? 'OFFLINE' : 'QR';
    await require('WAWebStandinOutbox').outbox.restore();
    link.open();
  });
})();
