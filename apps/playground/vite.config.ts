import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  resolve: { conditions: ["@iommu-lab/source", "module", "browser", "development|production"] },
  build: { target: "es2023" },
});
