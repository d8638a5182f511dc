import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { Plugin } from "vite";

const MODULE = "virtual:experiment-types";
const packages = fileURLToPath(new URL("../../../packages", import.meta.url));
const standard = dirname(createRequire(import.meta.url).resolve("typescript"));

/** Types of the packages as they are published, and of the language. Before the packages are built theirs are missing. */
const collect = (): Record<string, string> => {
  const files: Record<string, string> = {};
  for (const name of readdirSync(standard)) if (/^lib\.(?:es\d+|decorators)[\w.]*\.d\.ts$/.test(name) && !name.includes("full")) files[`/${name}`] = readFileSync(join(standard, name), "utf8");
  for (const name of readdirSync(packages)) {
    const dist = join(packages, name, "dist");
    if (!existsSync(dist)) continue;
    for (const file of readdirSync(dist, { recursive: true, encoding: "utf8" })) if (file.endsWith(".d.ts")) files[`/@iommu-lab/${name}/${relative(dist, join(dist, file))}`] = readFileSync(join(dist, file), "utf8");
  }
  // Machines' types are made of its.
  files["/valibot/index.d.ts"] = readFileSync(join(packages, "pci-bus/node_modules/valibot/dist/index.d.mts"), "utf8");
  return files;
};

/** Offers `virtual:experiment-types`: declaration files by path, for the editor of experiments. */
export const experimentTypes = (): Plugin => ({
  name: "experiment-types",
  resolveId: (id) => (id === MODULE ? `\0${MODULE}` : null),
  load: (id) => (id === `\0${MODULE}` ? `export const FILES = JSON.parse(${JSON.stringify(JSON.stringify(collect()))});` : null),
});
