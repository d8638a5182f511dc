// Changes the VT-d hardware at random places and sees whether its tests notice: pnpm mutate [--count N] [--seed N] [--file TEXT].
// Survivors are listed; those that change nothing belong into scripts/mutate/accepted.json by their key, with the reason.
import { globSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { compile, compileAll } from "./mutate/modules.ts";
import { applyMutant, mutantsOf, type Mutant } from "./mutate/mutants.ts";
import { Runner } from "./mutate/pool.ts";

/** Share of mutants that the tests must find. */
const REQUIRED = 0.85;
/** Milliseconds a test file may take beyond three times what it took without mutants. */
const GRACE = 4000;

const root = resolve(import.meta.dirname, "..");
const { values } = parseArgs({ options: { count: { type: "string", default: "300" }, seed: { type: "string" }, file: { type: "string", default: "" } } });
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const count = Number(values.count);
if (!Number.isInteger(seed) || !Number.isInteger(count) || count < 1) throw new RangeError("--seed and --count are integers, and --count is positive.");

let state = seed | 0;
/** 0 to 1, the same sequence for the same seed (mulberry32). */
const random = (): number => {
  state = (state + 0x6d2b_79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
};

const SOURCES = "packages/iommu-intel/src/hardware/*.ts";
/** Only words, or no code. */
const WITHOUT_BEHAVIOUR = new Set(["explain.ts", "index.ts"]);
const TESTS = "packages/iommu-intel/test/hardware/*.test.ts";
/** Measures what the compiler does, not what the code says. */
const NOT_RUN = new Set(["heap.test.ts"]);

const accepted = JSON.parse(readFileSync(join(root, "scripts/mutate/accepted.json"), "utf8")) as Readonly<Record<string, string>>;
const tests = globSync(TESTS, { cwd: root }).filter((path) => !NOT_RUN.has(basename(path))).map((path) => join(root, path));
const sources = globSync(SOURCES, { cwd: root }).filter((path) => !WITHOUT_BEHAVIOUR.has(basename(path))).toSorted();
const codeOf = new Map(sources.map((path) => [path, readFileSync(join(root, path), "utf8")]));
const candidates = sources.filter((path) => path.includes(values.file)).flatMap((path) => mutantsOf(path, codeOf.get(path) ?? ""));
const stale = Object.keys(accepted).filter((key) => !candidates.some((mutant) => mutant.key === key) && key.includes(values.file));
const chosen: Mutant[] = [];
let drawnAccepted = 0;
const pool = [...candidates];
while (chosen.length < count && pool.length > 0) {
  const at = Math.floor(random() * pool.length);
  const mutant = pool[at] as Mutant; // random() is below 1
  pool[at] = pool.at(-1) as Mutant;
  pool.pop();
  if (accepted[mutant.key] === undefined) chosen.push(mutant);
  else drawnAccepted++;
}

const modules = compileAll(tests);
const runners = Array.from({ length: Math.min(availableParallelism(), chosen.length) }, () => new Runner(modules, seed));
console.log(`Seed ${seed}: ${chosen.length} of ${candidates.length} mutants of ${sources.length} files; ${tests.length} test files.`);

const first = await (runners[0] as Runner).run({ tests }, () => 300_000);
if (first.killedBy !== undefined) {
  console.error(`Without any mutant ${relative(root, first.file ?? "")} fails: ${first.killedBy}: ${first.error}`);
  process.exit(1);
}
const limitOf = (file: string): number => 3 * (first.times.get(file) ?? 0) + GRACE;
const kills = new Map(tests.map((file) => [file, 1]));
/** Most mutants found a millisecond first. */
const order = (): string[] => tests.toSorted((a, b) => (kills.get(b) ?? 0) / (first.times.get(b) ?? 1) - (kills.get(a) ?? 0) / (first.times.get(a) ?? 1));

const survivors: Mutant[] = [];
let done = 0;
let outOfTime = 0;
const queue = [...chosen];
await Promise.all(
  runners.map(async (runner) => {
    for (let mutant = queue.pop(); mutant !== undefined; mutant = queue.pop()) {
      const path = join(root, mutant.file);
      const { killedBy, file } = await runner.run({ path, code: compile(path, applyMutant(codeOf.get(mutant.file) ?? "", mutant)), tests: order() }, limitOf);
      if (killedBy === undefined) survivors.push(mutant);
      else if (file !== undefined) kills.set(file, (kills.get(file) ?? 0) + 1);
      if (killedBy === "time") outOfTime++;
      done++;
      if (!process.stderr.isTTY && done % 50 === 0) console.error(`${done} of ${chosen.length}, ${survivors.length} survive …`);
      if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${done} of ${chosen.length}, ${survivors.length} survive …`);
    }
    await runner.close();
  }),
);
if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");

const oneLine = (text: string): string => text.replaceAll(/\s+/g, " ");
for (const { file, line, operator, original, mutated, key } of survivors.toSorted((a, b) => (a.file === b.file ? a.start - b.start : a.file < b.file ? -1 : 1)))
  console.log(`${file}:${line} ${operator}: ${oneLine(original)} -> ${oneLine(mutated)}\n    ${JSON.stringify(key)}`);
for (const key of stale) console.log(`\nAccepted, but no longer in the code: ${key}`);
const score = (chosen.length - survivors.length) / chosen.length;
console.log(`\n${chosen.length - survivors.length} of ${chosen.length} mutants killed (${(100 * score).toFixed(1)} %, ${outOfTime} of them by time); ${drawnAccepted} known to change nothing were drawn and left out. Seed ${seed}.`);
if (score < REQUIRED) {
  console.error(`Fewer than ${100 * REQUIRED} % of the mutants were killed.`);
  process.exitCode = 1;
}
