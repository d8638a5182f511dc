import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packTree } from "@iommu-lab/host";
import { bundledTree } from "@iommu-lab/host/bundled";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { iommu, shareCompiled } from "./run-iommu.ts";

const folder = mkdtempSync(join(tmpdir(), "iommu-plan-"));
const host = join(folder, "host.tar");
const virtual = join(folder, "virtual.tar");
const out = join(folder, "plan");
const plan = async (device: string, ...more: readonly string[]) => iommu(["plan", "--from", host, "--device", device, "--distro", "debian", "--target", "libvirt", "--out", out, ...more]);

beforeAll(async () => {
  shareCompiled(join(folder, "compiled"));
  writeFileSync(host, await packTree(bundledTree("i7-3770-p8z68-v")));
  const tree = bundledTree("i7-3770-p8z68-v").addFile("proc/cpuinfo", "flags : fpu hypervisor\n");
  writeFileSync(virtual, await packTree(tree));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("iommu plan", () => {
  test("writes a plan: exit 0", async () => {
    const { code, stdout } = await plan("01:00.0");
    expect({ code, first: stdout.split("\n")[0] }).toEqual({ code: 0, first: `${out}: 13 files for 0000:01:00.0, 0000:01:00.1. Nothing on this machine was changed.` });
    expect(readdirSync(out)).toEqual(["README.md", "apply.sh", "guest.xml", "host", "kernel-options.txt", "undo.sh", "verify.sh"]);
    expect(statSync(join(out, "apply.sh")).mode & 0o111).not.toBe(0);
    expect(readFileSync(join(out, "guest.xml"), "utf8")).toMatch(/^<domain type='kvm'>/);
  });

  test("does not write where something is: exit 2", async () => {
    const { code, stderr } = await plan("01:00.0");
    expect({ code, stderr }).toEqual({ code: 2, stderr: `iommu: ${out} is not empty; give a new folder with --out.\n` });
    rmSync(out, { recursive: true });
  });

  test("refuses: exit 3, the reason on standard error, nothing written", async () => {
    const { code, stdout, stderr } = await plan("00:1f.2");
    expect({ code, stdout, there: readdirSync(folder).includes("plan") }).toEqual({ code: 3, stdout: "", there: false });
    expect(stderr).toContain("GRP-002 0000:00:1f.2: ");
    expect(stderr).toContain("GRP-005 0000:00:1f.2: ");
  });

  test("says what is missing: exit 4; goes on when it is assumed", async () => {
    const text = join(folder, "lspci.txt");
    writeFileSync(text, "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation Device [10de:1402]\n\tIOMMU group: 1\n\tKernel driver in use: nouveau\n");
    const first = await plan("01:00.0", `--from=${text}`).catch(() => undefined);
    expect(first?.code).toBe(2);
    const args = ["plan", "--from", text, "--device", "01:00.0", "--distro", "arch", "--target", "qemu", "--out", out];
    const { code, stderr } = await iommu(args);
    expect({ code, keys: [...stderr.matchAll(/--assume (\S+)/g)].map(([, key]) => key) }).toEqual({ code: 4, keys: ["interrupt-remapping", "reserved-memory"] });
    const assumed = await iommu([...args, "--assume", "interrupt-remapping", "--assume", "reserved-memory", "--json"]);
    expect({ code: assumed.code, functions: (JSON.parse(assumed.stdout) as { functions: unknown }).functions }).toEqual({ code: 0, functions: ["0000:01:00.0"] });
    expect(readFileSync(join(out, "README.md"), "utf8")).toContain("## Assumed, not seen");
    rmSync(out, { recursive: true });
  });

  test("a machine that runs no guests gets its files and exit 1", async () => {
    const { code } = await iommu(["plan", "--from", virtual, "--device", "01:00", "--distro", "fedora", "--target", "libvirt", "--out", out]);
    expect(code).toBe(1);
    expect(readFileSync(join(out, "README.md"), "utf8")).toMatch(/^# .*\n\n## This machine\n\n- \*\*HOST-014\*\*/);
    rmSync(out, { recursive: true });
  });

  test("the version is read as it was written: 9.10 is newer than 9.3", async () => {
    expect((await plan("01:00.0", "--libvirt-version", "9.10")).code).toBe(0);
    rmSync(out, { recursive: true });
    expect((await plan("01:00.0", "--libvirt-version", "5.1")).code).toBe(2);
    expect((await plan("01:00.0", "--libvirt-version=5.10")).code).toBe(0);
    rmSync(out, { recursive: true });
  });

  test.each([
    [["plan"], "Say where to write"],
    [["plan", "--out", "x"], "--distro takes one of"],
    [["plan", "--out", "x", "--distro", "gentoo"], "\"gentoo\" is none of them"],
    [["plan", "--out", "x", "--distro", "arch", "--target", "xen"], "\"xen\" is none of them"],
    [["plan", "--out", "x", "--distro", "arch", "--target", "qemu", "--memory", "1"], "--memory takes MiB"],
    [["plan", "--out", "x", "--distro", "arch", "--target", "qemu", "--assume", "luck"], "\"luck\" is none of them"],
  ])("%j is bad input", async (args, reason) => {
    const { code, stderr } = await iommu(args);
    expect(code).toBe(2);
    expect(stderr).toContain(reason);
  });

  test.each([["07:00.0", "is not in"], ["nonsense", "is no PCI address"]])("so is the device %s", async (device, reason) => {
    const { code, stderr } = await plan(device);
    expect(code).toBe(2);
    expect(stderr).toContain(reason);
  });
});
