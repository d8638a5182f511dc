import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  resolve: { conditions: ["@iommu-lab/source", "module", "browser", "development|production"] },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  worker: { format: "es" },
  build: { target: "es2023" },
});
