import { expect, expectTypeOf } from "vitest";

type Body = (...args: unknown[]) => unknown;
/** One test as a file declares it. */
export interface CollectedTest {
  readonly name: string;
  readonly run: () => unknown;
}

/** Stands for `vitest` in test files: declares tests into a list; only `expect` is vitest's own. Whatever a test uses of it and is not here fails the run without mutants. */
export class Harness {
  readonly tests: CollectedTest[] = [];
  #path: string[] = [];
  readonly exports: Readonly<Record<string, unknown>>;

  constructor() {
    const test = (name: string, body: Body): void => {
      this.tests.push({ name: [...this.#path, name].join(" > "), run: () => body() });
    };
    const describe = (name: string, body: Body): void => {
      this.#path.push(name);
      body();
      this.#path.pop();
    };
    const each = (declare: (name: string, body: Body) => void) => (rows: readonly unknown[]) => (name: string, body: Body): void => {
      for (const [i, row] of rows.entries()) declare(`${name} (row ${i})`, () => (Array.isArray(row) ? body(...(row as unknown[])) : body(row)));
    };
    const skip = (): void => undefined;
    const choose = (declare: unknown) => (skipped: boolean): unknown => (skipped ? skip : declare);
    const run = (declare: unknown) => (wanted: boolean): unknown => (wanted ? declare : skip);
    const withModifiers = (declare: (name: string, body: Body) => void): unknown => Object.assign(declare, { each: each(declare), skip, skipIf: choose(declare), runIf: run(declare) });
    this.exports = { test: withModifiers(test), it: withModifiers(test), describe: withModifiers(describe), expect, expectTypeOf };
  }
}
