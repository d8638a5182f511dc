// One side of one row, or the footprints of one file, for measure.ts: child.ts FILE INDEX model|kernel, child.ts FILE footprint.
import { pathToFileURL } from "node:url";
import type { BenchFile } from "./row.ts";
import { sample } from "./sample.ts";

const [file, index, side] = process.argv.slice(2) as [string, string, "model" | "kernel" | undefined];
const bench = (await import(pathToFileURL(file).href)) as BenchFile;

if (side === undefined) {
  process.send?.(bench.memoryFootprint?.() ?? []);
  process.disconnect();
} else {
  const row = bench.rows[Number(index)];
  if (row === undefined) throw new Error(`${file} has no row ${index}.`);
  // Two of it: with one instance ever made, the compiler takes its fields for constants, which no user's program lets it.
  const [first, run] = [row[side](), row[side]()];
  process.on("message", (message: { readonly warm: boolean; readonly duration: number }) => {
    if (message.warm) sample(first, message.duration);
    process.send?.(sample(run, message.duration));
  });
  process.send?.("ready");
}
