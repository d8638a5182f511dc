import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Plugin } from "vite";

const MODULE = "virtual:first-run";
const script = fileURLToPath(new URL("print-first-run.ts", import.meta.url));

/** Offers `virtual:first-run`: the run of the first screen, played while the page is built, so that it shows before the machines' code has come. */
export const firstRun = (): Plugin => ({
  name: "first-run",
  resolveId: (id) => (id === MODULE ? `\0${MODULE}` : null),
  load: (id) => {
    if (id !== `\0${MODULE}`) return null;
    const json = execFileSync(process.execPath, ["--conditions=@iommu-lab/source", script], { encoding: "utf8", maxBuffer: 2 ** 26 });
    return `export const RUN = JSON.parse(${JSON.stringify(json)});`;
  },
});
