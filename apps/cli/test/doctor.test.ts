import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packTree } from "@iommu-lab/host";
import { bundledTree } from "@iommu-lab/host/bundled";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { iommu, shareCompiled } from "./run-iommu.ts";

let folder = "";
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "iommu-doctor-"));
  shareCompiled(at("compiled"));
  writeFileSync(at("ivy.tar"), await packTree(bundledTree("i7-3770-p8z68-v")));
  const changed = bundledTree("i7-3770-p8z68-v").addFile("proc/version", "Linux version 6.12.0 (another)\n");
  writeFileSync(at("ivy-new.tar"), await packTree(changed));
  writeFileSync(at("dmesg.txt"), "[    0.000000] Linux version 6.12.0\n[    9.000000] DMAR: [DMA Read NO_PASID] Request device [01:00.0] fault addr 0x1000 [fault reason 0x06] PTE Read access is not set\n");
  writeFileSync(at("empty.txt"), "");
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Answer {
  readonly verdict: string;
  readonly recognised: readonly string[];
  readonly rules: readonly { readonly id: string; readonly status: string; readonly evidence: readonly unknown[]; readonly link: string; readonly device?: string }[];
  readonly log: readonly { readonly id: string; readonly device?: string }[];
  readonly changes?: readonly { readonly what: string }[];
}
const json = (text: string): Answer => JSON.parse(text) as Answer;

describe("iommu report", () => {
  test("writes an anonymous report that others read", async () => {
    const made = await iommu(["report", "--from", at("ivy.tar"), "--device", "01:00", "--worked", "yes", "-o", at("report.json")]);
    expect([made.code, made.stderr]).toEqual([0, ""]);
    const { code, stdout } = await iommu(["report", at("report.json")]);
    expect(code).toBe(0);
    expect(stdout).toContain("10de:1402");
    expect(stdout).toContain("that it works");
    const refused = await iommu(["report", at("dmesg.txt")]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain("is no report");
  });
});

describe("iommu doctor", () => {
  test("fits one screen, worst first, in plain words, and exits 3 for what is blocked", async () => {
    const { code, stdout } = await iommu(["doctor", "--from", at("ivy.tar"), "--device", "01:00"]);
    expect(code).toBe(3);
    const lines = stdout.trimEnd().split("\n");
    expect(lines.length).toBeLessThanOrEqual(30);
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(130);
    expect(lines.find((line) => line.startsWith("BLOCKS"))).toContain("HOST-002");
    expect(stdout).toContain("Add intel_iommu=on");
  });

  test("tells every rule with evidence, advice and link as JSON", async () => {
    const { stdout } = await iommu(["doctor", "--from", at("ivy.tar"), "--device", "01:00.0", "--device", "01:00.1", "--json"]);
    const { verdict, rules } = json(stdout);
    expect(verdict).toBe("blocked");
    expect(rules.find(({ id }) => id === "HOST-002")).toMatchObject({ status: "fail", link: "docs/doctor/HOST-002.md" });
    expect(rules.filter(({ id }) => id === "GRP-001").map(({ device }) => device)).toEqual(["0000:01:00.0", "0000:01:00.1"]);
  });

  test("-v tells the rules that hold, too", async () => {
    const { stdout } = await iommu(["doctor", "--from", at("ivy.tar"), "-v"]);
    expect(stdout).toMatch(/ok +HOST-003/);
    expect(stdout).toContain("docs/doctor/HOST-002.md");
  });

  test("puts pieces together, and explains the log", async () => {
    const { stdout, code } = await iommu(["doctor", "--from", at("dmesg.txt"), "--from", "-", "--json"], { stdin: "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation Device [10de:1402]\n" });
    const answer = json(stdout);
    expect(answer.recognised).toEqual(["kernel log", "lspci"]);
    expect(answer.log[0]).toMatchObject({ id: "fault", device: "0000:01:00.0" });
    expect(code).toBe(answer.verdict === "blocked" ? 3 : 4);
  });

  test("says what changed since a baseline", async () => {
    const { stdout } = await iommu(["doctor", "--from", at("ivy-new.tar"), "--baseline", at("ivy.tar"), "--json"]);
    expect(json(stdout).changes?.map(({ what }) => what)).toEqual(["kernel"]);
  });

  test.each([
    [["--from", "NOWHERE"], "no such file"],
    [["--from", "EMPTY"], "is empty"],
    [["--from", "IVY", "--device", "frob"], "no PCI address"],
    [["--from", "IVY", "--device", "77:00.0"], "is not in"],
    [["--from", "IVY", "--rom", "x.rom"], "name the function"],
  ])("%j is bad input: exit 2 with a message", async (args, message) => {
    const { code, stderr, stdout } = await iommu(["doctor", ...args.map((arg) => arg.replace("NOWHERE", at("nowhere")).replace("EMPTY", at("empty.txt")).replace("IVY", at("ivy.tar")))]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(message);
  });

  test("what is nothing known is refused, with what can be given", async () => {
    const { code, stderr } = await iommu(["doctor", "--from", "-"], { stdin: "hello\n" });
    expect(code).toBe(2);
    expect(stderr).toContain("lspci, dmesg, /proc/cmdline");
  });
});
