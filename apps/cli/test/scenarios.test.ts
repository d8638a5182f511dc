/** `iommu scenarios`, `iommu run` and `iommu machine` as commands. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { buildHost, ivyBridgeZ68 } from "@iommu-lab/host/bundled";
import { packTree } from "@iommu-lab/host";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readRun } from "@iommu-lab/hypervisor/scenarios";
import { iommu, shareCompiled } from "./run-iommu.ts";

const folder = mkdtempSync(join(tmpdir(), "iommu-lab-run-"));
const at = (name: string): string => join(folder, name);
const EVIL = "x\u001b[2J\u009b31m\b";
/** What a terminal would obey. */
const commands = (text: string): boolean => /[\u0080-\u009f]/.test(text) || ["\u001b", "\b"].some((control) => text.includes(control));
const PLAIN = { format: "iommu-lab-machine", version: 1, name: EVIL, kernel: { version: "6.12", commandLine: "intel_iommu=on" }, firmware: { kind: "uefi" }, processors: { count: 1 }, memory: "0x10000000", iommus: [{ vendor: "intel" }], hostBridges: [{ functions: [{ at: "00.0", vendor: 1, device: 2, classCode: 0 }] }] };

beforeAll(async () => {
  shareCompiled(at("compiled"));
  writeFileSync(at("host.tar"), await packTree(buildHost(ivyBridgeZ68)));
  writeFileSync(at("plain.json"), JSON.stringify(PLAIN));
  writeFileSync(at("wrong.json"), JSON.stringify({ ...PLAIN, memory: EVIL, [EVIL]: 1 }));
  writeFileSync(at("cut.json"), JSON.stringify(PLAIN).slice(0, -9));
  writeFileSync(at("deep.json"), "[".repeat(100_000));
  writeFileSync(at("impossible.json"), JSON.stringify({ ...PLAIN, hostBridges: [{ functions: [] }, { functions: [] }] }));
  writeFileSync(at("binary.json"), Uint8Array.of(0, 0xff, 0x1b, 0x5b));
  writeFileSync(at("empty.json"), "");
  await iommu(["scenarios"]);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Result {
  readonly scenario: string;
  readonly iommu: string;
  readonly seed: number;
  readonly without?: readonly string[];
  readonly assertions: readonly { readonly id: string; readonly ok: boolean }[];
  readonly hash: string;
}

describe.concurrent("iommu scenarios", () => {
  test("lists every scenario with its title", async () => {
    const { code, stdout, stderr } = await iommu(["scenarios"]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^rogue-device {2,}\S/m);
    expect(stdout).toContain("iommu run NAME");
  });

  test("--json says what each protects", async () => {
    const { code, stdout } = await iommu(["scenarios", "--json"]);
    const list = JSON.parse(stdout) as { readonly name: string; readonly protections: readonly string[] }[];
    expect(code).toBe(0);
    expect(list.find(({ name }) => name === "ats-stale")?.protections).toContain("device-tlb-invalidation");
  });
});

describe.concurrent("iommu run", () => {
  test("tells the story, what must hold, and ends with 0", async () => {
    const { code, stdout, stderr } = await iommu(["run", "rogue-device"]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/PASS {2}unprotected/);
    expect(stdout).toMatch(/PASS {2}protected/);
    expect(stdout).toMatch(/All \d+ hold\. Result [0-9a-f]{16}$/m);
    expect(stdout).not.toMatch(/FAIL/);
    expect(commands(stdout)).toBe(false);
  });

  test.each(["intel", "amd"])("--json on %s is the result alone, and the same again", async (vendor) => {
    const runs = await Promise.all([1, 2].map(() => iommu(["run", "ats-stale", "--iommu", vendor, "--seed", "9", "--json"])));
    expect(runs[0]).toEqual(runs[1]);
    const result = JSON.parse(runs[0]?.stdout ?? "") as Result;
    expect(result).toMatchObject({ scenario: "ats-stale", iommu: vendor, seed: 9 });
    expect(result.assertions.every(({ ok }) => ok)).toBe(true);
    expect(result.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(result).not.toHaveProperty("without");
  });

  test("without a protection what it protects fails, in words and as JSON, and the end is 1", async () => {
    const [text, json] = await Promise.all([iommu(["run", "ats-stale", "--without", "device-tlb-invalidation"]), iommu(["run", "ats-stale", "--without", "device-tlb-invalidation", "--json"])]);
    expect([text.code, json.code]).toEqual([1, 1]);
    expect(text.stdout).toMatch(/FAIL {2}protected .*expected/);
    expect(text.stdout).toMatch(/\d+ of \d+ do not hold/);
    expect((JSON.parse(json.stdout) as Result).without).toEqual(["device-tlb-invalidation"]);
  });

  test("--trace writes the events: the format first, the result last, packed when the name says so", async () => {
    const [plain, packed] = [at("run.jsonl"), at("run.jsonl.gz")];
    const [run] = await Promise.all([iommu(["run", "rogue-device", "--trace", plain, "--json"]), iommu(["run", "rogue-device", "--trace", packed])]);
    const text = readFileSync(plain, "utf8");
    const events = text.trimEnd().split("\n").map((line) => JSON.parse(line) as { readonly kind?: string; readonly result?: unknown });
    expect(events[0]).toEqual({ format: "iommu-lab-run", version: 1 });
    expect(events.at(-1)).toEqual({ kind: "result", result: JSON.parse(run.stdout) as unknown });
    for (const kind of ["machine", "say", "check", "hop"]) expect(events.some((event) => event.kind === kind)).toBe(true);
    expect(gunzipSync(readFileSync(packed)).toString()).toBe(text);
    expect(readRun(text).events).toHaveLength(events.length - 2);
  });

  test("--machine-trace writes a trace for each IOMMU, which replays; of one IOMMU under the name given", async () => {
    const [one, two] = await Promise.all([iommu(["run", "guest-address-trap", "--machine-trace", at("one.jsonl.gz"), "--json"]), iommu(["run", "rogue-device", "--iommu", "amd", "--machine-trace", at("two.jsonl")])]);
    expect([one.code, two.code]).toEqual([0, 0]);
    expect(two.stdout).toContain(`Machine traces, one for each IOMMU: ${at("two-1.jsonl")}, ${at("two-2.jsonl")}`);
    const { code, stdout } = await iommu(["replay", at("one.jsonl.gz"), at("two-1.jsonl"), at("two-2.jsonl"), "--json"]);
    expect(code).toBe(0);
    expect((JSON.parse(stdout) as { readonly files: readonly { readonly compared: number; readonly skipped: number; readonly mismatches: readonly object[] }[] }).files.map(({ compared, skipped, mismatches }) => [compared > 0, skipped, mismatches])).toEqual(Array.from({ length: 3 }, () => [true, 0, []]));
  });

  test("a run without any IOMMU says that there is nothing to trace", async () => {
    const { code, stderr } = await iommu(["run", "vga-curse", "--machine-trace", at("none.jsonl"), "--json"]);
    expect([code, stderr]).toEqual([0, "warning: no machine of this run has an IOMMU: there is nothing to trace.\n"]);
  });

  test.each<readonly [string, readonly string[], RegExp]>([
    ["a machine trace that cannot be written", ["run", "rogue-device", "--machine-trace", "/dev/null/run.jsonl"], /cannot be written/],
    ["a scenario that is none", ["run", `no-${EVIL}`], /there is no scenario "no-x/],
    ["no scenario", ["run"], /missing required args/],
    ["a vendor that is none", ["run", "rogue-device", "--iommu", "via"], /--iommu takes intel or amd, not "via"/],
    ["a seed that is none", ["run", "rogue-device", "--seed", "1.5"], /--seed takes a whole number/],
    ["a seed that is too large", ["run", "rogue-device", "--seed", "4294967296"], /--seed takes a whole number/],
    ["a protection that is none", ["run", "rogue-device", "--without", EVIL], /is no protection of rogue-device; it has /],
    ["an option given twice", ["run", "rogue-device", "--seed", "1", "--seed", "2"], /--seed is given twice/],
    ["a file that cannot be written", ["run", "rogue-device", "--trace", "/dev/null/run.jsonl"], /cannot be written/],
    ["an option that is none", ["run", "rogue-device", "--colour"], /colour/],
  ])("%s ends with 2 and a sentence", async (_what, args, text) => {
    const { code, stdout, stderr } = await iommu(args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(text);
    expect(stderr).toMatch(/^iommu: [^\n]*\n$/);
    expect(commands(stderr)).toBe(false);
  });
});

describe.concurrent("iommu machine", () => {
  test("makes a machine of a host, and builds it", async () => {
    const file = at("made.json");
    const made = await iommu(["machine", "--from", at("host.tar"), "-o", file]);
    expect([made.code, made.stdout]).toEqual([0, `${file}: 18 functions; iommu machine ${file} builds it.\n`]);
    const [text, json, piped] = await Promise.all([iommu(["machine", file]), iommu(["machine", file, "--json"]), iommu(["machine", "-"], { stdin: readFileSync(file) })]);
    expect([text.code, json.code]).toEqual([0, 0]);
    expect(text.stdout).toMatch(/functions, \d IOMMU/);
    expect(piped.stdout).toBe(text.stdout);
    expect(JSON.parse(json.stdout)).toMatchObject({ kernel: { passthrough: false }, groups: expect.any(Array) as unknown });
  });

  test("without -o the machine is on standard output, alone; what it assumes is said beside it", async () => {
    const { code, stdout, stderr } = await iommu(["machine", "--from", at("host.tar")]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ format: "iommu-lab-machine", version: 1 });
    expect(stderr).toMatch(/assumed|not show/);
  });

  test("--schema prints the published schema", async () => {
    const { code, stdout } = await iommu(["machine", "--schema"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual(JSON.parse(readFileSync(new URL("../../../packages/pci-bus/machine.schema.json", import.meta.url), "utf8")));
  });

  test("a name cannot command the terminal", async () => {
    const { code, stdout } = await iommu(["machine", at("plain.json")]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/: 1 functions, 1 IOMMU, 256 MiB/);
    expect(commands(stdout)).toBe(false);
  });

  test.each<readonly [string, RegExp]>([
    ["wrong.json", /is no machine: .*There is no ".*memory: The size of memory is a whole number|is no machine: memory: .*There is no "/],
    ["cut.json", /is no JSON/],
    ["deep.json", /is no JSON|nested/],
    ["binary.json", /is no JSON/],
    ["empty.json", /is no JSON|empty/],
    ["impossible.json", /cannot be built: .*overlap/],
    ["missing.json", /missing\.json/],
  ])("%s ends with 2 and a sentence", async (file, text) => {
    const { code, stdout, stderr } = await iommu(["machine", at(file)]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(text);
    expect(stderr).toMatch(/^iommu: [^\n]*\n$/);
    expect(commands(stderr)).toBe(false);
  });

  test("a file that cannot be written ends with 2", async () => {
    const { code, stderr } = await iommu(["machine", "--from", at("host.tar"), "-o", "/dev/null/x.json"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/Cannot write/);
  });
});
