import { defineConfig } from "tsup";

/** How every library package is built: ESM only (docs/decisions/002-esm-only.md), one file per entry, types beside it. */
export const library = (...entries: readonly string[]): ReturnType<typeof defineConfig> =>
  defineConfig({ entry: ["src/index.ts", ...entries], format: ["esm"], dts: true, sourcemap: true, clean: true, target: "es2023" });
