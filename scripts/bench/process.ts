import { spawnSync } from "node:child_process";

/** A whole run of a program, with limits that are stated to users. */
export interface ProcessRow {
  readonly name: string;
  /** Arguments for Node. */
  readonly args: readonly string[];
  /** Its CPU time at most this many times that of another run, such as bare Node's. */
  readonly against?: { readonly name: string; readonly args: readonly string[]; readonly ratio: number };
  /** Milliseconds of CPU time, and bytes of resident memory. */
  readonly limits?: { readonly milliseconds: number; readonly bytes: number };
  readonly source: string;
}

/** What one process used. */
export interface ProcessCost {
  /** CPU time in milliseconds, of all its threads, from its start. */
  readonly milliseconds: number;
  /** Largest resident set in bytes. */
  readonly bytes: number;
}

const MARK = "bench-cost:";
/** Printed by the measured process itself when it ends: the parent cannot ask for one child's usage. */
const REPORT = `process.on("exit", () => { const u = process.resourceUsage(); process.stderr.write("\\n${MARK}" + JSON.stringify({ milliseconds: (u.userCPUTime + u.systemCPUTime) / 1000, bytes: u.maxRSS * 1024 }) + "\\n"); });`;

/** @throws Error when the process fails or reports nothing */
const costOf = (args: readonly string[]): ProcessCost => {
  const result = spawnSync(process.execPath, ["--import", `data:text/javascript,${encodeURIComponent(REPORT)}`, ...args], { encoding: "utf8", maxBuffer: 256 * 1024 * 1024 });
  const line = result.stderr.split("\n").findLast((text) => text.startsWith(MARK));
  if (result.status !== 0) throw new Error(`${args.join(" ")} ended with ${result.status ?? result.signal}; is it built?\n${result.stderr}`);
  if (line === undefined) throw new Error(`${args.join(" ")} reported no cost:\n${result.stderr}`);
  return JSON.parse(line.slice(MARK.length)) as ProcessCost;
};

/** Median of the cost of several runs, alternating with the runs it is compared with. */
export const measureProcess = (row: ProcessRow, runs = 11): { readonly own: ProcessCost; readonly other: ProcessCost | undefined } => {
  const own: ProcessCost[] = [];
  const other: ProcessCost[] = [];
  for (let i = 0; i < runs; i++) {
    own.push(costOf(row.args));
    if (row.against) other.push(costOf(row.against.args));
  }
  return { own: median(own), other: other.length > 0 ? median(other) : undefined };
};

const median = (costs: readonly ProcessCost[]): ProcessCost => {
  const middle = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
  return { milliseconds: middle(costs.map(({ milliseconds }) => milliseconds)), bytes: middle(costs.map(({ bytes }) => bytes)) };
};
