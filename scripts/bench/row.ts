import type { ProcessRow } from "./process.ts";

/**
 * One comparison: the model against a kernel, a bare typed-array loop of the same algorithm. Both are made once and called often;
 * each call does some operations and returns how many. Every row has loops of its own: shared ones would share type feedback.
 */
export interface BenchRow {
  readonly name: string;
  readonly unit: "ns/op";
  readonly model: () => () => number;
  readonly kernel: () => () => number;
  /** Largest ratio of model to kernel that we aim for; a run fails only past three times that. */
  readonly target: number;
  /** Where the target is from. */
  readonly source: string;
}

/** Memory that something takes, in bytes, and how much it may take. */
export interface FootprintRow {
  readonly name: string;
  readonly bytes: number;
  readonly limit: number;
  readonly source: string;
}

/** What a `*.bench.ts` file exports. `memoryFootprint` runs before all rows, while the process is still small. */
export interface BenchFile {
  readonly rows: readonly BenchRow[];
  /** Whole runs of a program; they need the build. */
  readonly processes?: readonly ProcessRow[];
  readonly memoryFootprint?: () => readonly FootprintRow[];
}
