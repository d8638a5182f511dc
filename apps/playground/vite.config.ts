import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { experimentTypes } from "./experiment-types/plugin.ts";
import { firstRun } from "./first-run/plugin.ts";
import { offline } from "./offline/plugin.ts";

const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  base: "./",
  resolve: { conditions: ["@iommu-lab/source", "module", "browser", "development|production"] },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  plugins: [experimentTypes(), firstRun(), offline()],
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
