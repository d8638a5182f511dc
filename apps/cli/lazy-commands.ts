import { fileURLToPath } from "node:url";
import { build, type Plugin } from "esbuild";

const options = { bundle: true, minify: true, keepNames: true, platform: "node", target: "node22", write: false, logLevel: "error" } as const;

/**
 * Replaces src/load-commands.ts in the build: the commands are bundled to one text, which main.js holds as a string
 * literal and compiles when a command runs. Parsing takes 30 ms for each megabyte; scanning a string takes none.
 */
export const lazyCommands: Plugin = {
  name: "lazy-commands",
  setup(context) {
    context.onLoad({ filter: /load-commands\.ts$/ }, async () => {
      const entry = fileURLToPath(new URL("src/commands/index.ts", import.meta.url));
      const result = await build({ ...options, entryPoints: [entry], format: "cjs", define: { "import.meta.url": "__here" } });
      const code = result.outputFiles[0]?.text ?? "";
      return {
        loader: "js",
        contents: `const code = ${JSON.stringify(code)};
export const loadCommands = () => {
  const { compileFunction } = process.getBuiltinModule("node:vm");
  const { createRequire } = process.getBuiltinModule("node:module");
  const module = { exports: {} };
  compileFunction(code, ["module", "exports", "require", "__here"], { filename: "iommu-commands.js" })(module, module.exports, createRequire(import.meta.url), import.meta.url);
  return Promise.resolve(module.exports);
};`,
      };
    });
  },
};
