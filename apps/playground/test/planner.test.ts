import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { packTree } from "@iommu-lab/host";
import { bundledHosts, bundledTree, readBundled } from "@iommu-lab/host/bundled";
import { DISTROS, TARGETS } from "@iommu-lab/host/plan";
import { formatAddress } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { unzipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openTexts } from "../src/host/open-host.ts";
import { diffLines } from "../src/views/planner/diff-lines.ts";
import { commandOf, diagnoseFor, EXIT, otherText, planExit, planFor, rulesOf, sortRules } from "../src/views/planner/plan.ts";
import { readPlanner, type PlannerSettings } from "../src/views/planner/settings.ts";
import { zipPlan } from "../src/views/planner/zip.ts";

const main = fileURLToPath(new URL("../../cli/src/main.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "iommu-planner-"));
const DEVICES: Readonly<Record<string, readonly string[]>> = { "i7-3770-p8z68-v": ["0000:01:00.0"], "q35-intel-iommu": ["0000:01:00.0"], "q35-intel-iommu-off": ["0000:02:00.0"], "q35-amd-iommu": ["0000:01:00.0"] };

/** The command, run where the host's file has the bundled host's name, for that name stands in what it writes. */
const iommu = (args: readonly string[]): { readonly code: number | null; readonly stdout: string; readonly stderr: string } => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--conditions=@iommu-lab/source", "--no-warnings", main, ...args], { cwd: folder, encoding: "utf8", env: { PATH: process.env.PATH ?? "", NODE_COMPILE_CACHE: join(folder, "compiled") } });
  return { code: status, stdout, stderr };
};

const filesIn = (at: string): { readonly path: string; readonly text: string; readonly mode: number }[] =>
  readdirSync(at, { recursive: true, encoding: "utf8" }).filter((path) => statSync(join(at, path)).isFile()).toSorted().map((path) => ({ path, text: readFileSync(join(at, path), "utf8"), mode: statSync(join(at, path)).mode & 0o111 }));

const settingsOf = (host: string, more: Partial<PlannerSettings> = {}): PlannerSettings => readPlanner({ host: { bundled: host }, devices: DEVICES[host], ...more });

beforeAll(async () => {
  mkdirSync(folder, { recursive: true });
  for (const { name } of bundledHosts) writeFileSync(join(folder, name), await packTree(bundledTree(name)));
});
afterAll(() => { rmSync(folder, { recursive: true, force: true }); });

describe("the planner and the command", () => {
  const choices = bundledHosts.flatMap(({ name }, i) => [0, 1, 2].map((j) => [name, DISTROS[(3 * i + 4 * j) % DISTROS.length]!, TARGETS[(i + j) % TARGETS.length]!] as const));
  test.each(choices)("%s, %s, %s: the same files byte for byte, the same exit", (name, distro, target) => {
    const settings = settingsOf(name, { distro, target, guest: "windows", memory: 4096, hugepages: true });
    const planned = planFor(readBundled(name), settings)!;
    const out = `out-${name}-${distro}-${target}`;
    const { code, stderr } = iommu([...commandOf(settings).split(" ").slice(1, -2), "--from", name, "--out", out]);
    expect(code).toBe(planExit(planned));
    if (planned.kind === "plan") expect(filesIn(join(folder, out))).toEqual(planned.files.map(({ path, text, mode }) => ({ path, text, mode: mode & 0o111 })).toSorted((a, b) => (a.path < b.path ? -1 : 1)));
    else if (planned.kind === "refusal") for (const { rule } of planned.blockers) expect(stderr).toContain(rule);
    else if (planned.kind === "not-enough-data") for (const { text } of planned.missing) expect(stderr).toContain(text);
  });
  test.each(bundledHosts.map(({ name }) => name))("%s: the doctor's rules are the command's", (name) => {
    const snapshot = readBundled(name);
    for (const devices of [[], DEVICES[name] ?? []]) {
      const diagnosis = diagnoseFor(snapshot, [], devices);
      const { code, stdout } = iommu(["doctor", "--from", name, "--json", ...devices.flatMap((each) => ["--device", each])]);
      const said = JSON.parse(stdout) as { readonly rules: unknown; readonly verdict: string };
      expect(said.rules).toEqual(JSON.parse(JSON.stringify(rulesOf(diagnosis))));
      expect([said.verdict, code]).toEqual([diagnosis.verdict, EXIT[diagnosis.verdict]]);
    }
  });
  test("every kind of answer occurs", () => {
    const kinds = bundledHosts.flatMap(({ name }) => readBundled(name).functions.map(({ address }) => planFor(readBundled(name), settingsOf(name, { devices: [formatAddress(address)] }))?.kind));
    expect(new Set(kinds)).toContain("plan");
    expect(new Set(kinds)).toContain("refusal");
  });
});

describe("planner", () => {
  test("settings are read out of anything", () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => { expect(readPlanner(readPlanner(value))).toEqual(readPlanner(value)); }));
    expect(readPlanner({ libvirt: "5.1", memory: 3, devices: ["x", "01:00.0", "01:00.0"], assume: ["iommu", "nothing"] })).toMatchObject({ libvirt: "9.0", memory: 0, devices: ["01:00.0"], assume: ["iommu"] });
  });
  test("no pasted text makes the doctor or a plan throw", () => {
    const line = fc.oneof(fc.string({ maxLength: 80 }), fc.constantFrom("01:00.0 VGA compatible controller [0300]: A B [10de:1402]", "\tKernel driver in use: nouveau", "[    0.000000] DMAR: IOMMU enabled", "<domain type='kvm'>", "BOOT_IMAGE=/x intel_iommu=on", "MemTotal: 1 kB", "address sizes : 39 bits physical"));
    fc.assert(fc.property(fc.array(fc.array(line, { maxLength: 6 }).map((lines) => lines.join("\n")), { maxLength: 3 }), (texts) => {
      const { snapshot, guests } = openTexts(texts);
      expect(diagnoseFor(snapshot, guests, ["01:00.0"]).host.length).toBeGreaterThan(10);
      planFor(snapshot, readPlanner({ devices: ["01:00.0"] }));
    }), { numRuns: 60 });
  });
  test("failures come first, the gravest of them before all", () => {
    const sorted = sortRules(rulesOf(diagnoseFor(readBundled("q35-intel-iommu"), [], [])));
    const ranks = sorted.map(({ status, severity }) => ["fail", "unknown", "pass"].indexOf(status) * 4 + ["block", "error", "warning", "info"].indexOf(severity));
    expect(ranks).toEqual(ranks.toSorted((a, b) => a - b));
  });
  test("the archive has every file with its bytes and its permission", () => {
    const plan = planFor(readBundled("i7-3770-p8z68-v"), settingsOf("i7-3770-p8z68-v"));
    if (plan?.kind !== "plan") throw new Error("no plan");
    const archive = zipPlan(plan.files);
    expect(Object.fromEntries(Object.entries(unzipSync(archive)).map(([path, bytes]) => [path, Buffer.from(bytes).toString()]))).toEqual(Object.fromEntries(plan.files.map(({ path, text }) => [path, text])));
    expect(Buffer.from(archive).equals(Buffer.from(zipPlan(plan.files)))).toBe(true);
  });
  test("a difference gives back both sides", () => {
    const texts = fc.array(fc.constantFrom("a", "b", "c", ""), { maxLength: 8 }).map((lines) => lines.map((text) => `${text}\n`).join(""));
    fc.assert(fc.property(texts, texts, (before, after) => {
      const lines = diffLines(before, after);
      const side = (sign: string): string => lines.filter((each) => each.sign === " " || each.sign === sign).map(({ text }) => `${text}\n`).join("");
      expect([side("-"), side("+")]).toEqual([before, after]);
    }));
    expect(diffLines("a\nb\nc\n", "a\nc\nd\n").map(({ sign, text }) => sign + text)).toEqual([" a", "-b", " c", "+d"]);
  });
  test("another distribution's plan can be held beside it", () => {
    const [snapshot, settings] = [readBundled("i7-3770-p8z68-v"), settingsOf("i7-3770-p8z68-v", { against: "fedora" })];
    const plan = planFor(snapshot, settings);
    if (plan?.kind !== "plan") throw new Error("no plan");
    expect(otherText(snapshot, settings, plan, "apply.sh")).toBeDefined();
    expect(otherText(snapshot, settings, plan, "apply.sh")).not.toBe(plan.files.find(({ path }) => path === "apply.sh")?.text);
    expect(otherText(snapshot, { ...settings, against: "host" }, plan, "README.md")).toBeUndefined();
  });
});
