// Evaluated in each document before any script of its own.

// the defaults of wa-js send a beacon to an analytics host, and links found in messages to third parties
window.WPPConfig = {
  disableGoogleAnalytics: true, linkPreviewApiServers: [], deviceName: false, poweredBy: 'waguard',
};

// Chromium closes a database for good when it cannot write it (a full disk, damage). The page goes on
// as if nothing had been, and can neither send nor take a message: a new page is all that helps.
(() => {
  const open = IDBFactory.prototype.open;
  IDBFactory.prototype.open = function (...given) {
    const request = open.apply(this, given);
    request.addEventListener('success', () => {
      const { name } = request.result;
      request.result.addEventListener('close', () => {
        window.waguardReport?.(JSON.stringify({ kind: 'storage_closed', data: name }));
      });
    });
    return request;
  };
})();
