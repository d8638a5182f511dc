// Runs the tests against one mutant after the other; each file's start is reported, so that the parent can end what does not.
import { createRequire } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import fc from "fast-check";
import { Harness } from "./harness.ts";
import { dependentsOf, type ModuleMap } from "./modules.ts";

/** What the parent asks: one mutant, or none to see that the tests pass. */
export interface Job {
  readonly path?: string;
  readonly code?: string;
  /** Test files, in the order to run them. */
  readonly tests: readonly string[];
}

/** What comes back. */
export type Report = { readonly kind: "file"; readonly file: string } | { readonly kind: "done"; readonly killedBy?: string; readonly file?: string; readonly error?: string };

const { modules, seed } = workerData as { modules: ModuleMap; seed: number };
const outside = createRequire(import.meta.url);
const harness = new Harness();
fc.configureGlobal({ seed, endOnFailure: true });

type Registry = Map<string, { exports: Record<string, unknown> }>;
const base: Registry = new Map();

/** Loads a module; what a mutant does not reach comes from the registry that all mutants share. */
const load = (path: string, registry: Registry, reached: ReadonlySet<string>, job: Job): Record<string, unknown> => {
  const home = reached.has(path) ? registry : base;
  const known = home.get(path);
  if (known) return known.exports;
  const compiled = modules[path];
  if (!compiled) throw new Error(`No module ${path}.`);
  const module = { exports: {} as Record<string, unknown> };
  home.set(path, module);
  const require = (specifier: string): unknown => {
    const target = compiled.imports[specifier] ?? specifier;
    if (target === "vitest") return harness.exports;
    if (target === "fast-check") return { ...fc, default: fc, __esModule: true };
    return target.startsWith("/") ? load(target, registry, reached, job) : outside(target);
  };
  const code = path === job.path && job.code !== undefined ? job.code : compiled.code;
  // eslint-disable-next-line @typescript-eslint/no-implied-eval, @typescript-eslint/no-unsafe-call -- a mutant is code made at run time
  new Function("exports", "require", "module", code)(module.exports, require, module);
  return module.exports;
};

const run = async (job: Job, report: (message: Report) => void): Promise<Report> => {
  const reached = new Set([...(job.path === undefined ? [] : dependentsOf(job.path, modules)), ...job.tests]);
  const registry: Registry = new Map();
  for (const file of job.tests) {
    report({ kind: "file", file });
    harness.tests.length = 0;
    let name = "its modules";
    try {
      load(file, registry, reached, job);
      for (const test of harness.tests.splice(0)) {
        name = test.name;
        await test.run();
      }
    } catch (error) {
      return { kind: "done", killedBy: name, file, error: error instanceof Error ? error.message : String(error) };
    }
  }
  return { kind: "done" };
};

parentPort?.on("message", (job: Job) => {
  const send = (message: Report): void => {
    parentPort?.postMessage(message);
  };
  void run(job, send).then(send);
});
