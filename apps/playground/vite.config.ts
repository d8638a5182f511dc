import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";
import { experimentTypes } from "./experiment-types/plugin.ts";
import { firstRun } from "./first-run/plugin.ts";
import { offline } from "./offline/plugin.ts";

const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** While the page is worked on, styles come as markup and changes through a socket: the policy is for the built page. */
const withoutPolicy: Plugin = { name: "without-policy", apply: "serve", transformIndexHtml: (html) => html.replace(/<meta http-equiv="Content-Security-Policy"[^>]*>/, "") };

export default defineConfig({
  base: "./",
  resolve: { conditions: ["@iommu-lab/source", "module", "browser", "development|production"] },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  plugins: [withoutPolicy, experimentTypes(), firstRun(), offline()],
  worker: { format: "es", plugins: () => [experimentTypes()] },
  build: {
    target: "es2023",
    rolldownOptions: {
      input: { index: source("index.html"), sw: source("offline/service-worker.ts") },
      // The service worker's address must stay the same, and stand above what it serves.
      output: { entryFileNames: ({ name }) => (name === "sw" ? "sw.js" : "assets/[name]-[hash].js") },
    },
  },
});
