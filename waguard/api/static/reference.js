// The API's reference: what /api/openapi.json says. The key of the status page, in the same tab, is used for calls.
'use strict';
const ui = SwaggerUIBundle({
  url: '/api/openapi.json',
  dom_id: '#reference',
  deepLinking: true,
  docExpansion: 'none', // of 150 groups and routes on show, it has only those on the screen: a browser's search misses the rest
  displayRequestDuration: true,
  validatorUrl: null, // else it asks a server elsewhere
  onComplete: () => {
    const key = sessionStorage.getItem('waguard-key');
    if (key) ui.preauthorizeApiKey('key', key);
  },
});
