/**
 * Lets the page work without a network from the next visit on. Where the browser or the address (file:) cannot, nothing is lost.
 * For the end of drawing the page: every file is fetched, and what the first screen needs must not wait for them.
 */
export const workOffline = (): void => {
  if (!("serviceWorker" in navigator) || location.protocol === "file:") return;
  navigator.serviceWorker.register("./sw.js").catch(() => undefined);
};
