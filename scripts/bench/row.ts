import type { ProcessRow } from "./process.ts";

/**
 * One comparison: the model against a kernel, a bare typed-array loop of the same algorithm. Both are made once and called often;
 * each call does some operations and returns how many. Every row runs in two processes of its own, one for the model and one for
 * the kernel, so that no row shapes the type feedback of another.
 */
export interface BenchRow {
  /** Unique in its file. */
  readonly name: string;
  readonly unit: "ns/op";
  readonly model: () => () => number;
  readonly kernel: () => () => number;
  /** Largest ratio of model to kernel that we aim for; a run fails only past three times that. */
  readonly target: number;
  /** Nanoseconds of CPU time of one operation of the model, where such a limit is stated: shown, but machines differ and none fails by it. */
  readonly limit?: { readonly must: number; readonly goal?: number };
  /** The kernel is another model: no baseline is kept of the ratio, since it grows when the other one gets faster. */
  readonly mutual?: true;
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

/** What a `*.bench.ts` file exports. `memoryFootprint` runs in a process of its own that has a `gc` function. */
export interface BenchFile {
  readonly rows: readonly BenchRow[];
  /** Whole runs of a program; they need the build. */
  readonly processes?: readonly ProcessRow[];
  readonly memoryFootprint?: () => readonly FootprintRow[];
}
