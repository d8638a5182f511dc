import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Measurement } from "./measure.ts";

/** A ratio this many times that of the baseline, twice in a row, is a regression: what noise there is stays below 10 %. */
const WORSE = 1.25;

/** The ratios that runs are compared with, as committed. */
export interface Baseline {
  readonly node: string;
  readonly processor: string;
  /** Ratio by `Measurement.key`. */
  readonly ratios: Readonly<Record<string, number>>;
}

const path = join(import.meta.dirname, "baseline.json");

/** The committed baseline, or an empty one. */
export const readBaseline = (): Baseline => (existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Baseline) : { node: "", processor: "", ratios: {} });

/** Whether a ratio is worse than the baseline lets it be. */
export const isWorse = ({ key, ratio }: Measurement, { ratios }: Baseline): boolean => ratio > (ratios[key] ?? Infinity) * WORSE;

/** Writes the ratios measured now; of rows not measured those in `kept` stay. */
export const writeBaseline = (measurements: readonly Measurement[], old: Baseline, kept: ReadonlySet<string>, machine: Omit<Baseline, "ratios">): void => {
  const ratios = { ...Object.fromEntries(Object.entries(old.ratios).filter(([key]) => kept.has(key))), ...Object.fromEntries(measurements.map(({ key, ratio }) => [key, Number(ratio.toFixed(3))])) };
  writeFileSync(path, `${JSON.stringify({ ...machine, ratios: Object.fromEntries(Object.entries(ratios).toSorted(([a], [b]) => (a < b ? -1 : 1))) }, null, 2)}\n`);
};
