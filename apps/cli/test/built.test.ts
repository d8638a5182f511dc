/** The built command as a user runs it. `npm test` builds it first. */
import { spawnSync, type SpawnSyncReturns } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
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

/** What `file` imports at once, and what that imports; what `import()` brings later is not among it. */
const importsOf = (file: string, found = new Set<string>()): Set<string> => {
  for (const [, name = ""] of readFileSync(join(dirname(main), file), "utf8").matchAll(/(?:^|[;\n])import\b[^;(]*?["]([^"]+)["]/g)) {
    if (found.has(name)) continue;
    found.add(name);
    if (name.startsWith("./")) importsOf(name, found);
  }
  return found;
};

describe.skipIf(!existsSync(main))("the built files", () => {
  test("--help stays near Node's own start-up time: no Node builtin and less than 40 kB before a command runs", () => {
    const first = ["main.js", ...importsOf("main.js")];
    expect(first.filter((name) => !name.endsWith(".js"))).toEqual([]);
    expect(first.reduce((sum, name) => sum + statSync(join(dirname(main), name)).size, 0)).toBeLessThan(40_000);
  });
  test("listing groups does not load what runs machines and guests", () => {
    const [command = ""] = readdirSync(dirname(main)).filter((name) => /^groups-.*\.js$/.test(name));
    expect(["main.js", command, ...importsOf(command)].map((name) => (name.endsWith(".js") ? statSync(join(dirname(main), name)).size : 0)).reduce((a, b) => a + b)).toBeLessThan(600_000);
  });
});
