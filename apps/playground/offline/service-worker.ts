/**
 * Keeps the page's own files, all of them, so that it opens without a network after the first visit. Files under
 * assets/ carry a hash in their names and never change; the page itself is asked for first and kept as it last was.
 */
const worker = self as unknown as ServiceWorkerGlobalScope; // "self" is typed for every kind of worker

/** The build writes the names of its files here (plugin.ts). */
const FILES: readonly string[] = JSON.parse("__FILES__") as string[];
const CACHE = "__VERSION__";

worker.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then(async (cache) => cache.addAll(["./", ...FILES])).then(async () => worker.skipWaiting()));
});

worker.addEventListener("activate", (event) => {
  event.waitUntil(caches.keys().then(async (names) => Promise.all(names.filter((name) => name !== CACHE).map(async (name) => caches.delete(name)))).then(async () => worker.clients.claim()));
});

/** Undefined also where the browser's storage fails: the network is still there. */
const kept = async (request: Request): Promise<Response | undefined> => caches.open(CACHE).then(async (cache) => cache.match(request, { ignoreSearch: true, ignoreVary: true })).catch(() => undefined);

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || new URL(request.url).origin !== worker.location.origin) return;
  if (request.mode === "navigate") event.respondWith(fetch(request).catch(async () => (await kept(request)) ?? Response.error()));
  else event.respondWith(kept(request).then(async (found) => found ?? fetch(request)));
});
