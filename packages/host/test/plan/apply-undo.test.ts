/** apply.sh and undo.sh on a system in a folder: what undo leaves is what apply found. Needs sh, as every Linux has it. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DISTROS, type Distro, type PlanRequest } from "../../src/plan/index.ts";
import { GPU, gpuHost, planned, request } from "./make.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "iommu-apply-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const write = (root: string, files: Readonly<Record<string, string>>): void => {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
};

/** Every file and folder below one, with contents and permissions; the empty place for the plan's notes does not count. */
const everything = (root: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(root, { recursive: true, encoding: "utf8" })
      .sort()
      .filter((path) => !["var", "var/lib"].includes(path))
      .map((path) => {
        const stat = lstatSync(join(root, path));
        return [path, stat.isDirectory() ? "folder" : `${(stat.mode & 0o777).toString(8)} ${readFileSync(join(root, path), "latin1")}`];
      }),
  );

/** Writes a plan, and a system to apply it to. */
const set = (files: Readonly<Record<string, string>>, more: Partial<PlanRequest>): { readonly root: string; readonly run: (script: string) => { readonly status: number | null; readonly stdout: string; readonly stderr: string } } => {
  rmSync(folder, { recursive: true, force: true });
  const at = join(folder, "plan with a space");
  const root = join(folder, "root $HOME");
  mkdirSync(root, { recursive: true });
  write(root, files);
  for (const { path, text, mode } of planned(gpuHost(), request(GPU, more)).files) {
    write(at, { [path]: text });
    chmodSync(join(at, path), mode);
  }
  return { root, run: (script) => spawnSync("sh", [join(at, script), root], { encoding: "utf8" }) };
};

const GRUB = "/etc/default/grub";
const ENTRY = "/boot/loader/entries/arch.conf";
const BEFORE: Readonly<Partial<Record<Distro, Readonly<Record<string, string>>>>> = {
  arch: { [GRUB]: "GRUB_CMDLINE_LINUX_DEFAULT='quiet intel_iommu=sm_on' # mine\nGRUB_CMDLINE_LINUX_DEFAULT+=' splash'", [ENTRY]: "title Arch\noptions root=/dev/sda2 rw\ninitrd /x\n", "/etc/kernel/cmdline": "root=/dev/sda2 rw\n" },
  opensuse: { [GRUB]: "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n" },
  proxmox: { "/etc/kernel/cmdline": "root=ZFS=rpool/ROOT/pve-1 boot=zfs\n", "/etc/kernel/proxmox-boot-uuids": "x\n" },
};

describe("apply.sh and undo.sh", () => {
  test.each(DISTROS)("%s: undo gives back what was there, to the byte", (distro) => {
    const { root, run } = set(BEFORE[distro] ?? {}, { distro });
    const before = everything(root);
    expect(run("apply.sh")).toMatchObject({ status: 0, stderr: "" });
    expect(everything(root)).not.toEqual(before);
    expect(run("undo.sh")).toMatchObject({ status: 0, stderr: "" });
    expect(everything(root)).toEqual(before);
  });

  test("any text of the files that are edited comes back, and what was in it stays in it", () => {
    const line = fc.oneof(fc.constantFrom("", "# options x", "options root=/dev/sda rw", "options\tquiet", "title Linux", "GRUB_CMDLINE_LINUX='a'", "  root=/dev/sda  ", "intel_iommu=on"), fc.string({ maxLength: 12, unit: fc.constantFrom("a", "b", " ", "\t", "'", "\"", "\\", "$", "`", "&", "/", "%", "#", "=") }));
    const text = fc.tuple(fc.array(line, { maxLength: 4 }), fc.boolean()).map(([lines, ended]) => lines.join("\n") + (ended ? "\n" : ""));
    fc.assert(
      fc.property(text, text, text, (grub, entry, cmdline) => {
        const { root, run } = set({ [GRUB]: grub, [ENTRY]: entry, "/etc/kernel/cmdline": cmdline }, { distro: "arch" });
        const before = everything(root);
        expect(run("apply.sh")).toMatchObject({ status: 0, stderr: "" });
        for (const path of [ENTRY, "/etc/kernel/cmdline"]) expect(readFileSync(join(root, path), "utf8")).toMatch(/(?:^|\s)intel_iommu=on(?:\s|$)/);
        expect(readFileSync(join(root, GRUB), "utf8").startsWith(grub)).toBe(true);
        expect(run("undo.sh")).toMatchObject({ status: 0, stderr: "" });
        expect(everything(root)).toEqual(before);
      }),
      { numRuns: 12 },
    );
  });

  test("GRUB's own shell makes the right line of it, whatever the user's quoting", () => {
    const { root, run } = set(BEFORE.arch ?? {}, { distro: "arch" });
    run("apply.sh");
    const { stdout } = spawnSync("bash", ["-c", `. "${join(root, GRUB).replaceAll("$", "\\$")}"; echo "$GRUB_CMDLINE_LINUX_DEFAULT"`], { encoding: "utf8" });
    expect(stdout).toBe("quiet intel_iommu=sm_on splash intel_iommu=on\n");
    expect(readFileSync(join(root, ENTRY), "utf8")).toBe("title Arch\noptions root=/dev/sda2 rw intel_iommu=on\ninitrd /x\n");
  });

  test("applied twice, it changes nothing the second time; undone twice neither", () => {
    const { root, run } = set({}, {});
    expect(run("undo.sh").status).toBe(1);
    run("apply.sh");
    const once = everything(root);
    expect(run("apply.sh")).toMatchObject({ status: 1 });
    expect(everything(root)).toEqual(once);
    run("undo.sh");
    expect(run("undo.sh").status).toBe(1);
  });

  test("a file of the user's is never replaced", () => {
    const { root, run } = set({ "/etc/modprobe.d/iommu-lab-vfio.conf": "mine\n" }, {});
    const before = everything(root);
    const { status, stderr } = run("apply.sh");
    expect({ status, stderr }).toEqual({ status: 1, stderr: "/etc/modprobe.d/iommu-lab-vfio.conf is there already and not of this plan; nothing was changed.\n" });
    expect(everything(root)).toEqual(before);
  });

  test("a file that the user changed after apply.sh is left to the user", () => {
    const { root, run } = set(BEFORE.opensuse ?? {}, { distro: "opensuse" });
    run("apply.sh");
    writeFileSync(join(root, GRUB), `${readFileSync(join(root, GRUB), "utf8")}GRUB_TIMEOUT=1\n`);
    const { status, stderr } = run("undo.sh");
    expect(status).toBe(1);
    expect(stderr).toContain("/etc/default/grub was changed since: take these options out by hand: intel_iommu=on rd.driver.pre=vfio-pci");
    expect(readFileSync(join(root, GRUB), "utf8")).toContain("GRUB_TIMEOUT=1");
  });

  test("on a folder no command runs: they are shown", () => {
    const { root, run } = set({}, { distro: "fedora" });
    const { stdout } = run("apply.sh");
    expect(stdout).toContain("+ grubby --update-kernel=ALL --args=intel_iommu=on rd.driver.pre=vfio-pci\n+ dracut --force --regenerate-all\n");
    expect(existsSync(join(root, "boot"))).toBe(false);
  });
});

describe("verify.sh", () => {
  const good = (driver: string): Record<string, string> => ({ "/sys/class/iommu/dmar0/x": "", "/proc/interrupts": " 25: 1 IR-PCI-MSI 1 nvme\n", "/proc/cmdline": "quiet intel_iommu=on\n", [`/sys/bus/pci/drivers/${driver}/x`]: "" });
  const link = (root: string, driver: string, member: string): void => {
    for (const name of ["0000:01:00.0", "0000:01:00.1"]) {
      mkdirSync(join(root, `sys/bus/pci/devices/${name}/iommu_group/devices/${member}`), { recursive: true });
      spawnSync("ln", ["-s", `../../drivers/${driver}`, join(root, `sys/bus/pci/devices/${name}/driver`)]);
    }
  };

  test.each([
    ["all as planned", "vfio-pci", "0000:01:00.1", {}, []],
    ["another driver", "nouveau", "0000:01:00.1", {}, ["0000:01:00.0 is with nouveau", "0000:01:00.1 is with nouveau"]],
    ["a stranger in the group", "vfio-pci", "0000:05:00.0", {}, ["the group of 0000:01:00.0 also holds 0000:05:00.0", "the group of 0000:01:00.1 also holds 0000:05:00.0"]],
    ["an option that only looks like it", "vfio-pci", "0000:01:00.1", { "/proc/cmdline": "xintel_iommu=on intel_iommu=on,sm_on\n" }, ["kernel option intel_iommu=on is missing"]],
    ["interrupts that are not remapped", "vfio-pci", "0000:01:00.1", { "/proc/interrupts": " 25: 1 PCI-MSI 1 nvme\n" }, ["no interrupt is remapped (no IR- in /proc/interrupts)"]],
  ])("%s", (_what, driver, member, more, wrong) => {
    const { root, run } = set({ ...good(driver), ...more }, {});
    link(root, driver, member);
    const { status, stdout, stderr } = run("verify.sh");
    expect({ status, stderr, wrong: stdout.split("\n").filter((each) => each.startsWith("NOT OK: ")).map((each) => each.slice(8)) }).toEqual({ status: wrong.length > 0 ? 1 : 0, stderr: "", wrong });
  });
});
