// Measures the models against bare kernels in this process: npm run bench [-- --filter TEXT] [--json].
import { globSync, mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { measure, type Measurement } from "./bench/measure.ts";
import { measureProcess } from "./bench/process.ts";
import type { BenchFile, FootprintRow } from "./bench/row.ts";

/** A ratio fails the run only past this many times its target: machines differ, ratios in one process hardly. */
const TOLERANCE = 3;

const root = resolve(import.meta.dirname, "..");
const { values } = parseArgs({ options: { json: { type: "boolean", default: false }, filter: { type: "string", default: "" } } });
const wanted = (name: string): boolean => name.toLowerCase().includes(values.filter.toLowerCase());

const table = (head: readonly string[], lines: readonly (readonly string[])[]): string => {
  const widths = head.map((title, column) => Math.max(title.length, ...lines.map((line) => line[column]?.length ?? 0)));
  const format = (cells: readonly string[]): string => cells.map((cell, column) => (column === 0 || column >= 5 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join("  ").trimEnd();
  return [format(head), ...lines.map(format)].join("\n");
};

const verdict = (value: number, target: number): string => (value <= target ? "met" : value <= target * TOLERANCE ? "missed" : "FAILED");
const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

const files: { path: string; bench: BenchFile }[] = [];
for (const path of globSync(["packages/*/bench/*.bench.ts", "apps/*/bench/*.bench.ts"], { cwd: root }).toSorted())
  files.push({ path, bench: (await import(pathToFileURL(join(root, path)).href)) as BenchFile });

const footprints: FootprintRow[] = files.flatMap(({ bench }) => (values.filter === "" || wanted("memory footprint") ? (bench.memoryFootprint?.() ?? []) : []));
const measurements: Measurement[] = [];
for (const { bench } of files)
  for (const row of bench.rows.filter(({ name }) => wanted(name))) {
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${row.name} …`);
    measurements.push(measure(row));
  }
if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");

const processes = files
  .flatMap(({ bench }) => bench.processes ?? [])
  .filter(({ name }) => wanted(name))
  .map((row) => ({ row, ...measureProcess(row) }))
  .flatMap(({ row, own, other }) => [
    ...(row.against && other ? [{ name: `${row.name}, CPU time against ${row.against.name}`, value: own.milliseconds / other.milliseconds, limit: row.against.ratio, text: `${own.milliseconds.toFixed(0)} ms`, source: row.source }] : []),
    ...(row.limits ? [{ name: `${row.name}, CPU time`, value: own.milliseconds, limit: row.limits.milliseconds, text: `${own.milliseconds.toFixed(0)} ms`, source: row.source }, { name: `${row.name}, memory`, value: own.bytes, limit: row.limits.bytes, text: mebibytes(own.bytes), source: row.source }] : []),
  ]);

const failed = [...measurements.filter(({ ratio, target }) => ratio > target * TOLERANCE), ...processes.filter(({ value, limit }) => value > limit * TOLERANCE)];
const report = { node: process.version, v8: process.versions.v8, processor: cpus()[0]?.model ?? "unknown", date: new Date().toISOString(), tolerance: TOLERANCE, rows: measurements, footprints, processes };
mkdirSync(join(root, "bench-results"), { recursive: true });
writeFileSync(join(root, "bench-results", "latest.json"), `${JSON.stringify(report, null, 2)}\n`);

if (values.json) console.log(JSON.stringify(report, null, 2));
else {
  console.log(`CPU time, Node ${process.version}, ${report.processor}; ratio = model / kernel, median of pairs (quartiles)\n`);
  console.log(
    table(
      ["what", "model ns", "kernel ns", "ratio", "target", "quartiles", "verdict", "target from"],
      measurements.map(({ name, model, kernel, ratio, target, spread, source }) => [name, model.toFixed(2), kernel.toFixed(2), ratio.toFixed(2), target.toFixed(2), spread.map((end) => end.toFixed(2)).join("–"), verdict(ratio, target), source]),
    ),
  );
  if (footprints.length > 0) console.log(`\n${table(["memory", "takes", "limit", "", "", "verdict", "limit from"], footprints.map(({ name, bytes, limit, source }) => [name, mebibytes(bytes), mebibytes(limit), "", "", verdict(bytes, limit), source]))}`);
  if (processes.length > 0) console.log(`\n${table(["process", "takes", "ratio to limit", "", "", "verdict", "limit from"], processes.map(({ name, text, value, limit, source }) => [name, text, (value / limit).toFixed(2), "", "", verdict(value, limit), source]))}`);
  if (processes.length === 0 && measurements.length === 0 && footprints.length === 0) console.log(`No benchmark matches "${values.filter}".`);
}
if (failed.length > 0) {
  console.error(`${failed.length} of ${measurements.length} ratios exceed ${TOLERANCE} times their target: ${failed.map(({ name }) => name).join("; ")}.`);
  process.exitCode = 1;
}
