// The API's reference: what /api/openapi.json says. The key of the status page, in the same tab, is used for calls.
'use strict';
const ui = SwaggerUIBundle({
  url: '/api/openapi.json',
  dom_id: '#reference',
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null, // else it asks a server elsewhere
  onComplete: () => {
    const key = sessionStorage.getItem('waguard-key');
    if (key) ui.preauthorizeApiKey('key', key);
  },
});
