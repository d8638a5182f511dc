import { createHash } from "node:crypto";
import type { Plugin } from "vite";

/** Writes the names of all built files into the service worker, and a version that changes with them. */
export const offline = (): Plugin => ({
  name: "offline",
  apply: "build",
  generateBundle(_, bundle) {
    const worker = bundle["sw.js"];
    if (worker?.type !== "chunk") throw new Error("There is no sw.js among the built files.");
    const files = Object.keys(bundle).filter((name) => name !== "sw.js" && name !== "index.html").toSorted();
    const version = createHash("sha256").update(files.join("\n")).update(worker.code).digest("hex").slice(0, 16);
    worker.code = worker.code.replace("__VERSION__", version).replace(/(["'`])__FILES__\1/, JSON.stringify(JSON.stringify(files)));
  },
});
