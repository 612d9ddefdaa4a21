// Serves the document that it saw first, whatever the network has now.
'use strict';
const STORE = 'document';

self.addEventListener('install', (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(STORE).then((cache) => cache.add('/')));
});
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('fetch', (event) => {
  const isDocument = event.request.mode === 'navigate' && new URL(event.request.url).pathname === '/';
  if (isDocument) event.respondWith(caches.match('/').then((kept) => kept ?? fetch(event.request)));
});
