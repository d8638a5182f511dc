// Changes the hardware models at random places and sees whether their tests notice: pnpm mutate [--vendor intel|amd] [--count N] [--seed N] [--file TEXT].
// --count is for each vendor. Survivors are listed; those that change nothing belong into scripts/mutate/accepted.json by their key, with the reason.
import { globSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { limitOf } from "./mutate/limit.ts";
import { compile, compileAll } from "./mutate/modules.ts";
import { applyMutant, mutantsOf, type Mutant } from "./mutate/mutants.ts";
import { Runner } from "./mutate/pool.ts";
import { randomSequence } from "./random-sequence.ts";

/** Milliseconds a test file may take beyond three times what it took without mutants. */
const GRACE = 4000;
/** Only words, or no code. */
const WITHOUT_BEHAVIOUR = new Set(["explain.ts", "index.ts"]);
/** Measures what the compiler does, not what the code says. */
const NOT_RUN = new Set(["heap.test.ts"]);
const VENDORS: readonly string[] = ["intel", "amd"];

const root = resolve(import.meta.dirname, "..");
const { values } = parseArgs({ options: { vendor: { type: "string" }, count: { type: "string", default: "300" }, seed: { type: "string" }, file: { type: "string", default: "" } } });
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const count = Number(values.count);
if (!Number.isInteger(seed) || !Number.isInteger(count) || count < 1) throw new RangeError("--seed and --count are integers, and --count is positive.");
if (values.vendor !== undefined && !VENDORS.includes(values.vendor)) throw new RangeError(`--vendor is one of ${VENDORS.join(", ")}.`);
const accepted = JSON.parse(readFileSync(join(root, "scripts/mutate/accepted.json"), "utf8")) as Readonly<Record<string, string>>;

/** Files below a folder of a vendor's package, without some. */
const filesOf = (vendor: string, pattern: string, without: ReadonlySet<string>): string[] =>
  globSync(`packages/iommu-${vendor}/${pattern}`, { cwd: root }).filter((path) => !without.has(basename(path))).toSorted();

/** Some mutants of all, without those known to change nothing. */
const draw = (candidates: readonly Mutant[]): { readonly chosen: readonly Mutant[]; readonly leftOut: number } => {
  const random = randomSequence(seed);
  const pool = [...candidates];
  const chosen: Mutant[] = [];
  let leftOut = 0;
  while (chosen.length < count && pool.length > 0) {
    const at = Math.floor(random() * pool.length);
    const mutant = pool[at] as Mutant; // random() is below 1
    pool[at] = pool.at(-1) as Mutant;
    pool.pop();
    if (accepted[mutant.key] === undefined) chosen.push(mutant);
    else leftOut++;
  }
  return { chosen, leftOut };
};

/** @throws Error when the tests fail without any mutant */
const survivorsOf = async (chosen: readonly Mutant[], tests: readonly string[], codeOf: ReadonlyMap<string, string>): Promise<{ readonly survivors: readonly Mutant[]; readonly outOfTime: number }> => {
  const modules = compileAll(tests);
  const runners = Array.from({ length: Math.min(availableParallelism(), chosen.length) }, () => new Runner(modules, seed));
  const first = await (runners[0] as Runner).run({ tests }, () => 300_000);
  if (first.killedBy !== undefined) throw new Error(`Without any mutant ${relative(root, first.file ?? "")} fails: ${first.killedBy}: ${first.error}`);
  const timeOf = (file: string): number => first.times.get(file) ?? 1;
  const kills = new Map(tests.map((file) => [file, 1]));
  /** Most mutants found a millisecond first. */
  const order = (): string[] => tests.toSorted((a, b) => (kills.get(b) ?? 0) / timeOf(b) - (kills.get(a) ?? 0) / timeOf(a));

  const survivors: Mutant[] = [];
  let done = 0;
  let outOfTime = 0;
  const queue = [...chosen];
  const work = async (runner: Runner): Promise<void> => {
    for (let mutant = queue.pop(); mutant !== undefined; mutant = queue.pop()) {
      const path = join(root, mutant.file);
      const { killedBy, file } = await runner.run({ path, code: compile(path, applyMutant(codeOf.get(mutant.file) ?? "", mutant)), tests: order() }, (test) => 3 * timeOf(test) + GRACE);
      if (killedBy === undefined) survivors.push(mutant);
      else if (file !== undefined) kills.set(file, (kills.get(file) ?? 0) + 1);
      if (killedBy === "time") outOfTime++;
      done++;
      if (!process.stderr.isTTY && done % 50 === 0) console.error(`${done} of ${chosen.length}, ${survivors.length} survive …`);
      if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${done} of ${chosen.length}, ${survivors.length} survive …`);
    }
    await runner.close();
  };
  await Promise.all(runners.map(work));
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
  return { survivors, outOfTime };
};

const oneLine = (text: string): string => text.replaceAll(/\s+/g, " ");

/** Mutates one vendor's model and says what its tests missed. @returns whether they found enough */
const judge = async (vendor: string): Promise<boolean> => {
  const tests = filesOf(vendor, "test/hardware/**/*.test.ts", NOT_RUN).map((path) => join(root, path));
  const sources = filesOf(vendor, "src/hardware/*.ts", WITHOUT_BEHAVIOUR).filter((path) => path.includes(values.file));
  const codeOf = new Map(sources.map((path) => [path, readFileSync(join(root, path), "utf8")]));
  const candidates = [...codeOf].flatMap(([path, code]) => mutantsOf(path, code));
  const { chosen, leftOut } = draw(candidates);
  if (chosen.length === 0) return true; // --file names the other vendor's
  console.log(`${vendor}, seed ${seed}: ${chosen.length} of ${candidates.length} mutants of ${sources.length} files; ${tests.length} test files.`);
  const { survivors, outOfTime } = await survivorsOf(chosen, tests, codeOf);

  for (const { file, line, operator, original, mutated, key } of survivors.toSorted((a, b) => (a.file === b.file ? a.start - b.start : a.file < b.file ? -1 : 1)))
    console.log(`${file}:${line} ${operator}: ${oneLine(original)} -> ${oneLine(mutated)}\n    ${JSON.stringify(key)}`);
  const keys = new Set(candidates.map(({ key }) => key));
  for (const key of Object.keys(accepted)) if (key.startsWith(`packages/iommu-${vendor}/`) && key.includes(values.file) && !keys.has(key)) console.log(`\nAccepted, but no longer in the code: ${key}`);
  const killed = chosen.length - survivors.length;
  const { kills, rule } = limitOf(chosen.length);
  console.log(`\n${vendor}: ${killed} of ${chosen.length} mutants killed (${((100 * killed) / chosen.length).toFixed(1)} %, ${outOfTime} of them by time), at least ${kills} are needed (${rule}); ${leftOut} known to change nothing were drawn and left out. Seed ${seed}.`);
  if (killed < kills) console.error(`Too few of ${vendor}'s mutants were killed.`);
  return killed >= kills;
};

for (const vendor of VENDORS) if ((values.vendor ?? vendor) === vendor && !(await judge(vendor))) process.exitCode = 1;
