// Measures the models against bare kernels: pnpm bench [--filter TEXT] [--rows N [--seed N]] [--json] [--renew].
// A row fails when its ratio is past three times its target, or more than 25 % above that of scripts/bench/baseline.json twice in a row.
// A filter is a part of a row's name or of its package; --rows measures so many rows, drawn by the seed.
// The committed baseline holds, row by row, the higher ratio of two whole runs.
// After a change that is meant to cost what it costs, `pnpm bench --renew` on a quiet machine writes a new baseline; commit it with the reason.
import { globSync, mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { isWorse, readBaseline, writeBaseline } from "./bench/baseline.ts";
import { measure, measureFootprints, type Measurement } from "./bench/measure.ts";
import { measureProcess } from "./bench/process.ts";
import { randomSequence } from "./random-sequence.ts";
import type { BenchFile, FootprintRow } from "./bench/row.ts";

/** A ratio to a target fails the run only past this many times it: machines differ, ratios of two processes in turn hardly. */
const TOLERANCE = 3;

const root = resolve(import.meta.dirname, "..");
const { values } = parseArgs({ options: { json: { type: "boolean", default: false }, filter: { type: "string", default: "" }, rows: { type: "string" }, seed: { type: "string" }, renew: { type: "boolean", default: false } } });
/** Whether a name has the filter in it. */
const wanted = (name: string): boolean => name.toLowerCase().includes(values.filter.toLowerCase());

const LEFT_COLUMNS = new Set(["what", "memory", "process", "quartiles", "verdict", "target from", "limit from"]);
const table = (head: readonly string[], lines: readonly (readonly string[])[]): string => {
  const widths = head.map((title, column) => Math.max(title.length, ...lines.map((line) => line[column]?.length ?? 0)));
  const format = (cells: readonly string[]): string => cells.map((cell, column) => (LEFT_COLUMNS.has(head[column] ?? "") ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join("  ").trimEnd();
  return [format(head), ...lines.map(format)].join("\n");
};

const verdict = (value: number, target: number): string => (value <= target ? "met" : value <= target * TOLERANCE ? "missed" : "FAILED");
const size = (bytes: number): string => (bytes < 2 ** 20 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`);
const limitText = ({ limit, model }: Measurement): string => (limit === undefined ? "" : `${model <= limit.must ? "<=" : ">"} ${limit.must}${limit.goal === undefined ? "" : ` (${limit.goal})`}`);
const progress = (text: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
};

const files: { path: string; bench: BenchFile }[] = [];
for (const path of globSync(["packages/*/bench/*.bench.ts", "apps/*/bench/*.bench.ts"], { cwd: root }).toSorted())
  files.push({ path: join(root, path), bench: (await import(pathToFileURL(join(root, path)).href)) as BenchFile });
const keyOf = (path: string, name: string): string => `${dirname(dirname(path)).slice(root.length + 1)}: ${name}`;

/** Keys of the rows to measure. */
const chosen = ((): ReadonlySet<string> => {
  const keys = files.flatMap(({ path, bench }) => bench.rows.map(({ name }) => keyOf(path, name))).filter(wanted);
  if (values.rows === undefined) return new Set(keys);
  const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
  const random = randomSequence(seed);
  if (!values.json) console.log(`${values.rows} of ${keys.length} rows, seed ${seed}`);
  return new Set(keys.map((key) => ({ key, order: random() })).toSorted((a, b) => a.order - b.order).slice(0, Number(values.rows)).map(({ key }) => key));
})();

const footprints: FootprintRow[] = [];
for (const { path, bench } of files) if (bench.memoryFootprint && (values.filter === "" || wanted("memory footprint"))) footprints.push(...(await measureFootprints(path)));

const baseline = readBaseline();
const measurements: Measurement[] = [];
const regressions: Measurement[] = [];
for (const { path, bench } of files)
  for (const [index, row] of bench.rows.entries()) {
    const key = keyOf(path, row.name);
    if (!chosen.has(key)) continue;
    progress(`${row.name} …`);
    let measured = await measure(path, index, row, key);
    if (!row.mutual && isWorse(measured, baseline)) {
      progress(`${row.name}, again …`);
      measured = await measure(path, index, row, key);
      if (isWorse(measured, baseline)) regressions.push(measured);
    }
    measurements.push(measured);
  }
progress("");

const processes = files
  .flatMap(({ bench }) => bench.processes ?? [])
  .filter(({ name }) => wanted(name))
  .map((row) => ({ row, ...measureProcess(row) }))
  .flatMap(({ row, own, other }) => [
    ...(row.against && other ? [{ name: `${row.name}, CPU time against ${row.against.name}`, value: own.milliseconds / other.milliseconds, limit: row.against.ratio, text: `${own.milliseconds.toFixed(0)} ms`, source: row.source }] : []),
    ...(row.limits ? [{ name: `${row.name}, CPU time`, value: own.milliseconds, limit: row.limits.milliseconds, text: `${own.milliseconds.toFixed(0)} ms`, source: row.source }, { name: `${row.name}, memory`, value: own.bytes, limit: row.limits.bytes, text: size(own.bytes), source: row.source }] : []),
  ]);

const machine = { node: process.version, processor: cpus()[0]?.model ?? "unknown" };
const report = { ...machine, v8: process.versions.v8, date: new Date().toISOString(), tolerance: TOLERANCE, baseline: baseline.ratios, rows: measurements, regressions: regressions.map(({ key }) => key), footprints, processes };
mkdirSync(join(root, "bench-results"), { recursive: true });
writeFileSync(join(root, "bench-results", "latest.json"), `${JSON.stringify(report, null, 2)}\n`);

if (values.json) console.log(JSON.stringify(report, null, 2));
else {
  console.log(`CPU time, Node ${machine.node}, ${machine.processor}; ratio = model / kernel, median of pairs (quartiles); baseline of ${baseline.node}, ${baseline.processor}\n`);
  console.log(
    table(
      ["what", "model ns", "limit (goal)", "kernel ns", "ratio", "baseline", "target", "quartiles", "verdict", "target from"],
      measurements.map((row) => [
        row.key.replace(/^packages\//, ""), row.model.toFixed(2), limitText(row), row.kernel.toFixed(2), row.ratio.toFixed(2), baseline.ratios[row.key]?.toFixed(2) ?? "-", row.target.toFixed(2), row.spread.map((end) => end.toFixed(2)).join("-"),
        regressions.includes(row) ? "WORSE" : verdict(row.ratio, row.target), row.source,
      ]),
    ),
  );
  if (footprints.length > 0) console.log(`\n${table(["memory", "takes", "limit", "verdict", "limit from"], footprints.map(({ name, bytes, limit, source }) => [name, size(bytes), size(limit), verdict(bytes, limit), source]))}`);
  if (processes.length > 0) console.log(`\n${table(["process", "takes", "ratio to limit", "verdict", "limit from"], processes.map(({ name, text, value, limit, source }) => [name, text, (value / limit).toFixed(2), verdict(value, limit), source]))}`);
  if (processes.length === 0 && measurements.length === 0 && footprints.length === 0) console.log(`No benchmark matches "${values.filter}".`);
}

const failed = [...measurements.filter(({ ratio, target }) => ratio > target * TOLERANCE), ...processes.filter(({ value, limit }) => value > limit * TOLERANCE), ...footprints.filter(({ bytes, limit }) => bytes > limit * TOLERANCE)];
if (failed.length > 0) {
  console.error(`${failed.length} of ${measurements.length + processes.length + footprints.length} values exceed ${TOLERANCE} times their target: ${failed.map((value) => ("key" in value ? value.key : value.name)).join("; ")}.`);
  process.exitCode = 1;
}
if (values.renew) {
  const kept = new Set(files.flatMap(({ path, bench }) => bench.rows.filter(({ mutual }) => !mutual).map(({ name }) => keyOf(path, name))));
  writeBaseline(measurements.filter(({ key }) => kept.has(key)), baseline, kept, machine);
} else if (regressions.length > 0) {
  console.error(`${regressions.length} ratios are more than 25 % above the baseline, measured twice: ${regressions.map(({ key }) => key).join("; ")}.`);
  process.exitCode = 1;
}
