import type { BenchRow } from "./row.ts";

/** What a row measured. */
export interface Measurement {
  readonly name: string;
  readonly unit: BenchRow["unit"];
  /** Median CPU time of one operation. */
  readonly model: number;
  readonly kernel: number;
  /** Median of the ratios of the pairs. */
  readonly ratio: number;
  /** First and third quartile of those ratios. */
  readonly spread: readonly [number, number];
  readonly target: number;
  readonly source: string;
}

const PAIRS = 11;
/** Shortest sample: cpuUsage counts microseconds and other threads (compiler, collector) a little. */
const SAMPLE_NS = 8e6;
const WARM_UP_NS = 60e6;

const cpu = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};

/** Repeats `run` for at least `duration` of CPU time; nanoseconds per operation. */
const sample = (run: () => number, duration: number): number => {
  const start = cpu();
  let operations = 0;
  let spent: number;
  do {
    operations += run();
    spent = cpu() - start;
  } while (spent < duration);
  return spent / operations;
};

const quantile = (values: readonly number[], fraction: number): number => values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * fraction)] ?? NaN;

/** Runs model and kernel in turn, so that whatever else the machine does hits both alike, and compares them by pairs. */
export const measure = (row: BenchRow): Measurement => {
  // Two of each: with one instance ever made, the compiler takes its fields for constants, which no user's program lets it.
  const [firstModel, model, firstKernel, kernel] = [row.model(), row.model(), row.kernel(), row.kernel()];
  for (const run of [firstKernel, firstModel, kernel, model]) sample(run, WARM_UP_NS);
  const pairs = Array.from({ length: PAIRS }, (_, i) => {
    if (i % 2) return { model: sample(model, SAMPLE_NS), kernel: sample(kernel, SAMPLE_NS) };
    const first = sample(kernel, SAMPLE_NS);
    return { kernel: first, model: sample(model, SAMPLE_NS) };
  });
  const ratios = pairs.map((pair) => pair.model / pair.kernel);
  return {
    name: row.name,
    unit: row.unit,
    model: quantile(pairs.map((pair) => pair.model), 0.5),
    kernel: quantile(pairs.map((pair) => pair.kernel), 0.5),
    ratio: quantile(ratios, 0.5),
    spread: [quantile(ratios, 0.25), quantile(ratios, 0.75)],
    target: row.target,
    source: row.source,
  };
};
