/** When there is a plan, when there is none, and when too little is known: each rule firing and nearly so. */
import { formatAddress } from "@iommu-lab/pci-bus";
import { encodeDmar } from "@iommu-lab/iommu-intel/dmar";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bundledHosts } from "../../src/bundled/index.ts";
import { lspciSnapshot, MemoryTree, parseLspci, readSysfs, reportGroups, type HostSnapshot } from "../../src/index.ts";
import { ASSUMPTIONS, makePlan } from "../../src/plan/index.ts";
import { address, bridge, endpoint, hostOf, withGroups, ACS_ON } from "../made-hosts.ts";
import { randomHost } from "../random-hosts.ts";
import { buildHost } from "../../src/bundled/build-host.ts";
import { fileOf, GPU, gpuHost, planned, request, withFunction } from "./make.ts";

const rules = (snapshot: HostSnapshot, devices: readonly string[], more = {}): string[] => {
  const result = makePlan(snapshot, request(devices, more));
  return result.kind === "refusal" ? result.blockers.map(({ rule }) => rule) : [result.kind];
};
const keys = (snapshot: HostSnapshot, devices: readonly string[], more = {}): unknown[] => {
  const result = makePlan(snapshot, request(devices, more));
  return result.kind === "not-enough-data" ? result.missing.map(({ key }) => key) : [result.kind];
};
const ON = ["[    0.1] DMAR: Intel(R) Virtualization Technology for Directed I/O", "[    0.2] DMAR-IR: Enabled IRQ remapping in x2apic mode"];
const firstOf = <T>([first]: readonly T[]): T => {
  if (first === undefined) throw new Error("empty");
  return first;
};
const cpuinfo = (flags: string): MemoryTree => new MemoryTree("made").addFile("proc/cpuinfo", `flags\t\t: ${flags}\n`);

describe("what is refused", () => {
  test("the bundled host's card goes with its sound function; the port above stays", () => {
    const plan = planned(gpuHost(), request(GPU));
    expect(plan.functions.map(formatAddress)).toEqual(["0000:01:00.0", "0000:01:00.1"]);
    expect(planned(gpuHost(), request(["01:00.1"])).functions).toEqual(plan.functions);
  });

  test.each([
    ["a bridge", "00:01.0", ["GRP-004"]],
    ["a host bridge", "00:00.0", ["GRP-004"]],
    ["a disk controller beside the chipset's bridge, with the root file system", "00:1f.2", ["GRP-002", "GRP-005"]],
    ["a USB controller in a group of its own", "03:00.0", ["plan"]],
    ["integrated graphics", "00:02.0", ["plan"]],
  ])("%s", (_what, device, expected) => {
    expect(rules(gpuHost(), [device])).toEqual(expected);
  });

  test.each([
    ["intel_iommu=off", ["HOST-003"]],
    ["intel_iommu=sp_off", ["plan"]],
    ["iommu=off", ["HOST-003"]],
    ["iommu=pt", ["plan"]],
    ["intel_iommu=on", ["HOST-005"]],
    ["intel_iommu=on,sm_on", ["HOST-005"]],
    ["intremap=off", ["IRQ-001"]],
    ["intremap=nosid", ["plan"]],
  ])("with %s on the command line of a host whose IOMMU is off", (option, expected) => {
    expect(rules(gpuHost({ commandLine: `quiet ${option}` }), GPU)).toEqual(expected);
  });

  test("a machine without DMAR and IVRS, when its tables were read", () => {
    expect(rules(gpuHost({ acpi: new Map([["MCFG", new Uint8Array(44)]]) }), GPU)).toEqual(["HOST-001"]);
    expect(keys(gpuHost({ acpi: new Map() }), GPU)).toEqual(["iommu", "interrupt-remapping", "reserved-memory", "reserved-memory"]);
  });

  test("a table that says interrupts are not remapped", () => {
    const table = encodeDmar({ hostAddressWidth: 39, interruptRemapping: false, structures: [] });
    expect(rules(gpuHost({ acpi: new Map([["DMAR", table]]) }), GPU)).toContain("IRQ-001");
  });

  test("a function whose configuration space reads all ones", () => {
    expect(rules(withFunction(gpuHost(), "01:00.0", { config: new Uint8Array(64).fill(0xff) }), GPU)).toContain("RST-007");
  });

  test("a physical function with virtual ones; not the virtual function", () => {
    const host = gpuHost();
    const withVf = withFunction(host, "03:00.0", { physicalFunction: address("01:00.1") });
    expect(rules(withVf, GPU)).toContain("SRV-001");
    expect(rules(host, GPU)).not.toContain("SRV-001");
  });

  test("what is behind a VMD", () => {
    expect(rules(withFunction(gpuHost(), "03:00.0", { dmaFunction: address("00:0e.0") }), ["03:00.0"])).toEqual(["GRP-010"]);
  });

  test("a group with another slot's function in use, unless that is named too or has no driver", () => {
    const tree = withGroups(hostOf([bridge("0000:00:01.0", 1, { below: [endpoint("0000:01:00.0", { classCode: 0x030000 }), endpoint("0000:01:01.0", { classCode: 0x0c0330, driver: "xhci_hcd" })] })], { dmesg: ON }), [[3, ["0000:00:01.0", "0000:01:00.0", "0000:01:01.0"]]]);
    expect(rules(readSysfs(tree), GPU)).toEqual(["GRP-002"]);
    expect(rules(readSysfs(tree), ["01:00.0", "01:01.0"])).toEqual(["plan"]);
    const idle = withFunction(readSysfs(tree), "01:01.0", { driver: undefined });
    const plan = planned(idle, request(GPU));
    expect(plan.functions.map(formatAddress)).toEqual(["0000:01:00.0"]);
    expect(plan.files.find(({ path }) => path === "host/etc/udev/rules.d/10-iommu-lab-vfio.rules")?.text).toContain("0000:01:01.0");
    expect(rules(withFunction(readSysfs(tree), "01:01.0", { driver: "vfio-pci" }), GPU)).toEqual(["plan"]);
  });

  test("a group with memory that is mapped one to one; not a relaxable one", () => {
    const tree = (kind: string): MemoryTree => withGroups(hostOf([bridge("0000:00:01.0", 1, { acs: ACS_ON, below: [endpoint("0000:01:00.0", { classCode: 0x0c0330 })] })], { dmesg: ON }), [[3, ["0000:01:00.0"]]]).addFile("sys/kernel/iommu_groups/3/reserved_regions", `0x00000000fee00000 0x00000000feefffff msi\n0x000000007b800000 0x000000007fffffff ${kind}\n`);
    expect(rules(readSysfs(tree("direct")), GPU)).toEqual(["RMRR-002"]);
    expect(rules(readSysfs(tree("direct-relaxable")), GPU)).toEqual(["plan"]);
  });

  test("a function that no group holds, though the kernel made groups", () => {
    expect(rules(readSysfs(withGroups(hostOf([endpoint("0000:00:03.0"), endpoint("0000:00:04.0", { classCode: 0x030000 })], { dmesg: ON }), [[1, ["0000:00:03.0"]]])), ["00:04.0"])).toEqual(["GRP-001"]);
  });
});

describe("what the doctor knows besides", () => {
  test.each([[0x0435, ["SRV-002"]], [0x0436, ["plan"]]])("a device 8086:%i, which vfio-pci may have on its list of devices it refuses", (device, expected) => {
    expect(rules(withFunction(gpuHost(), "03:00.0", { vendor: 0x8086, device }), ["03:00.0"])).toEqual(expected);
  });

  test("an error that the plan does not settle is told, with the words of a log made harmless", () => {
    const said = gpuHost({ dmesg: "[    0.1] pci 0000:03:00.0: BAR 0: can't assign; no space `<b>` [x](y)\n" });
    const plan = planned(said, request(["03:00.0"]));
    expect(plan.cautions.map(({ rule }) => rule)).toContain("BAR-001");
    expect(fileOf(plan, "README.md")).not.toContain("`<b>`");
    expect(planned(gpuHost(), request(["03:00.0"])).cautions.map(({ rule }) => rule)).not.toContain("BAR-001");
  });
});

describe("what is not known", () => {
  test("a function that is not there", () => {
    expect(makePlan(gpuHost(), request(["07:00.0"]))).toMatchObject({ kind: "unknown-function" });
  });

  test("a text says little; what is assumed is told in the README", () => {
    const snapshot = lspciSnapshot(firstOf(parseLspci("00:01.0 PCI bridge [0604]: Intel Corporation Device [8086:0151]\n\tKernel driver in use: pcieport\n\n01:00.0 VGA compatible controller [0300]: NVIDIA Corporation Device [10de:1402]\n\tIOMMU group: 1\n\tKernel driver in use: nouveau\n")), "paste.txt");
    const missing = keys(snapshot, GPU);
    expect(missing).toEqual(["interrupt-remapping", "reserved-memory"]);
    const plan = planned(snapshot, request(GPU, { assume: new Set(["interrupt-remapping", "reserved-memory"]) }));
    expect(plan.files[0]?.text).toContain("## Assumed, not seen");
  });

  test("a disk of another function that must go along", () => {
    const tree = withGroups(hostOf([bridge("0000:00:01.0", 1, { below: [endpoint("0000:01:00.0", { multifunction: true, classCode: 0x0c0330 }), endpoint("0000:01:00.1", { driver: "ahci", classCode: 0x010601 })] })], { dmesg: ON }), [[3, ["0000:00:01.0", "0000:01:00.0", "0000:01:00.1"]]]);
    expect(keys(readSysfs(tree), GPU)).toEqual(["unused"]);
    expect(keys(readSysfs(tree), ["01:00.0", "01:00.1"])).toEqual(["plan"]);
    expect(keys(readSysfs(tree), GPU, { assume: new Set(["unused"]) })).toEqual(["plan"]);
  });
});

describe("what concerns the machine alone", () => {
  test.each([
    ["fpu vmx", []],
    ["fpu svm", []],
    ["fpu", ["HOST-014"]],
    ["fpu hypervisor", ["HOST-014", "HOST-015"]],
    ["fpu vmx hypervisor", ["HOST-015"]],
  ])("a processor with %s", (flags, expected) => {
    const plan = planned(gpuHost({ files: cpuinfo(flags) }), request(GPU));
    expect(plan.host.map(({ rule }) => rule)).toEqual(expected);
    if (expected[0] !== undefined) expect(plan.files[0]?.text.indexOf(expected[0])).toBeLessThan(200);
  });

  test.each([
    [8 << 20, 4096, []],
    [8 << 20, 7168, []],
    [8 << 20, 7169, ["MEM-004"]],
  ])("%i kB of memory and a guest of %i MiB", (total, memory, expected) => {
    const files = new MemoryTree("made").addFile("proc/meminfo", `MemTotal: ${total} kB\n`);
    expect(planned(gpuHost({ files }), request(GPU, { memory })).host.map(({ rule }) => rule)).toEqual(expected);
  });
});

describe("any host", () => {
  const all = bundledHosts.map(({ tree }) => readSysfs(tree()));

  test("every function of every bundled host has an answer, with its reason", () => {
    for (const snapshot of all)
      for (const f of snapshot.functions) {
        const result = makePlan(snapshot, { devices: [f.address], distro: "fedora", target: "libvirt" });
        if (result.kind === "refusal") expect(result.blockers.every(({ rule, text }) => /^[A-Z]+-\d{3}$/.test(rule) && text.length > 20)).toBe(true);
        else expect(["plan", "not-enough-data"]).toContain(result.kind);
      }
  });

  test("a plan takes every group whole: what it leaves is a bridge, of the chipset or without a driver", () => {
    fc.assert(
      fc.property(randomHost, fc.nat(), (host, pick) => {
        const snapshot = readSysfs(buildHost(host));
        const f = snapshot.functions[pick % snapshot.functions.length];
        if (!f) return;
        const result = makePlan(snapshot, { devices: [f.address], distro: "debian", target: "qemu", assume: new Set(ASSUMPTIONS) });
        if (result.kind !== "plan") return;
        const bound = new Set(fileOf(result, "host/etc/udev/rules.d/10-iommu-lab-vfio.rules").match(/[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]/g));
        for (const member of result.functions) {
          expect(bound).toContain(formatAddress(member));
          const group = reportGroups(snapshot).groups.find(({ devices }) => devices.some((each) => formatAddress(each) === formatAddress(member)));
          for (const other of group?.devices ?? []) {
            const facts = snapshot.functions.find((each) => formatAddress(each.address) === formatAddress(other));
            expect(bound.has(formatAddress(other)) || facts?.driver === undefined || ((facts.config?.[14] ?? 0) & 0x7f) === 1, formatAddress(other)).toBe(true);
          }
        }
      }),
      { numRuns: 60 },
    );
  });
});
