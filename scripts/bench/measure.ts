import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { BenchRow, FootprintRow } from "./row.ts";

/** What a row measured. */
export interface Measurement {
  /** The row's file and name: what a baseline knows it by. */
  readonly key: string;
  readonly name: string;
  readonly unit: BenchRow["unit"];
  /** CPU time of one operation, first quartile of the samples: what the machine does when it is not slowed down. */
  readonly model: number;
  readonly kernel: number;
  /** Median of the ratios of the pairs. */
  readonly ratio: number;
  /** First and third quartile of those ratios. */
  readonly spread: readonly [number, number];
  readonly target: number;
  readonly limit: BenchRow["limit"];
  readonly source: string;
}

const PAIRS = 41;
/** Shortest sample: cpuUsage counts microseconds. Machines change speed within seconds, so many short pairs tell more than few long ones. */
const SAMPLE_NS = 4e6;
const WARM_UP_NS = 80e6;
const WARM_UPS = 2;
/** Options of every measured process. */
const NODE_OPTIONS = ["--conditions=@iommu-lab/source", "--expose-gc"];

/** Model and kernel of a row share a core where the system can say so: cores of a virtual machine differ in what else runs beside them. */
const TASKSET = "/usr/bin/taskset";
const PINNED = existsSync(TASKSET) ? [TASKSET, "-c", "0"] : [];

const start = (args: readonly string[]): ChildProcess => {
  const [command = process.execPath, ...rest] = [...PINNED, process.execPath, ...NODE_OPTIONS, join(import.meta.dirname, "child.ts"), ...args];
  return spawn(command, rest, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
};

/** The child's next message. */
const answer = async (child: ChildProcess): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const failed = (code: number | null): void => {
      reject(new Error(`A measured process ended with ${code}: ${child.spawnargs.slice(-3).join(" ")}`));
    };
    child.once("exit", failed);
    child.once("message", (message) => {
      child.off("exit", failed);
      resolve(message);
    });
  });

const quantile = (values: readonly number[], fraction: number): number => values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * fraction)] ?? NaN;

/**
 * Runs model and kernel in turn, each in a process of its own, so that whatever else the machine does hits both alike and
 * neither sees the other's types; compares them by pairs.
 * @param file the bench file; @param index of the row in it
 */
export const measure = async (file: string, index: number, row: BenchRow, key: string): Promise<Measurement> => {
  const children = { model: start([file, `${index}`, "model"]), kernel: start([file, `${index}`, "kernel"]) };
  const sample = async (side: "model" | "kernel", duration: number, warm = false): Promise<number> => {
    children[side].send({ warm, duration });
    return (await answer(children[side])) as number;
  };
  try {
    await Promise.all([answer(children.model), answer(children.kernel)]);
    for (let i = 0; i < WARM_UPS; i++) await Promise.all([sample("model", WARM_UP_NS, true), sample("kernel", WARM_UP_NS, true)]);
    const pairs: { readonly model: number; readonly kernel: number }[] = [];
    for (let i = 0; i < PAIRS; i++) {
      if (i % 2) pairs.push({ model: await sample("model", SAMPLE_NS), kernel: await sample("kernel", SAMPLE_NS) });
      else {
        const kernel = await sample("kernel", SAMPLE_NS);
        pairs.push({ kernel, model: await sample("model", SAMPLE_NS) });
      }
    }
    const ratios = pairs.map((pair) => pair.model / pair.kernel);
    const { name, unit, target, limit, source } = row;
    return {
      key,
      name,
      unit,
      model: quantile(pairs.map((pair) => pair.model), 0.25),
      kernel: quantile(pairs.map((pair) => pair.kernel), 0.25),
      ratio: quantile(ratios, 0.5),
      spread: [quantile(ratios, 0.25), quantile(ratios, 0.75)],
      target,
      limit,
      source,
    };
  } finally {
    for (const child of Object.values(children)) if (child.connected) child.disconnect();
  }
};

/** A file's footprints, from a process that is still small. */
export const measureFootprints = async (file: string): Promise<readonly FootprintRow[]> => (await answer(start([file, "footprint"]))) as readonly FootprintRow[];
