/** The built command, one file, as a user runs it. `npm test` builds it first. */
import { spawnSync, type SpawnSyncReturns } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const main = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const iommu = (...args: readonly string[]): SpawnSyncReturns<string> => spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });

describe.skipIf(!existsSync(main))("the built command", () => {
  test("prints its help", () => {
    const { status, stdout } = iommu("--help");
    expect(status).toBe(0);
    expect(stdout).toContain("Examples:");
  });
  test("runs the demo and names devices from a database", () => {
    const { status, stdout } = iommu("demo");
    expect(status).toBe(0);
    expect(stdout).toMatch(/Intel Corporation|IOMMU unit/);
  });
  test.each([
    [["groups", "--from", "no-such-file"], 2, /no such file/],
    [["groups", "--no-such-option"], 2, /Unknown option/],
    [["no-such-command"], 2, /there is no command/],
    [["pci", "zz:zz", "--from", "no-such-file"], 2, /no PCI address/],
    [["snapshot"], 2, /say where to write/],
  ])("%j ends with %i and one line that says why", (args, code, message) => {
    const { status, stderr, stdout } = iommu(...args);
    expect(status).toBe(code);
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect(stdout).toBe("");
  });
});

describe.skipIf(!existsSync(main))("the built file", () => {
  test("loads no Node builtin before a command runs: --help stays near Node's own start-up time", () => {
    // The commands' code inside is CommonJS: import statements can only be the launcher's.
    expect(readFileSync(main, "utf8").match(/(?:^|[;\n])import\b[^;(]*?from\s*"[^"]+"/g) ?? []).toEqual([]);
  });
});
