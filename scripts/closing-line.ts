import type { Reporter, TestModule } from "vitest/node";

/** Suites and tests that cannot run here carry the reason in their names: "… (skipped: lspci is not installed)". */
const REASON = /\(skipped: [^)]+\)/;

const skippedNames = (module: TestModule): string[] => [...module.children.allSuites(), ...module.children.allTests()].map(({ name }) => name).filter((name) => REASON.test(name));

/** Ends a test run with one line for each suite that was skipped, with the reason, and the plain line `N passed, N failed[, N skipped]`. */
export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const count = { passed: 0, failed: 0, skipped: 0, pending: 0 };
    for (const module of modules) for (const test of module.children.allTests()) count[test.result().state]++;
    const skipped = modules.flatMap(skippedNames);
    for (const name of new Set(skipped)) console.log(`skipped: ${name}`);
    console.log(`${count.passed} passed, ${count.failed} failed${count.skipped ? `, ${count.skipped} skipped` : ""}`);
  }
}
