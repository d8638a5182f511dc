/** Lets the page work without a network from the next visit on. Where the browser or the address (file:) cannot, nothing is lost. */
export const workOffline = (): void => {
  if (!("serviceWorker" in navigator) || location.protocol === "file:") return;
  addEventListener("load", () => { navigator.serviceWorker.register("./sw.js").catch(() => undefined); });
};
