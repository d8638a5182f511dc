import { formatAddress } from "@iommu-lab/pci-bus";
import { singleRootIov } from "@iommu-lab/pci-bus/capabilities";
import { describe, expect, test } from "vitest";
import { buildHost } from "../src/bundled/build-host.ts";
import { hasSysfs, MemoryTree, readSysfs, reportGroups, type HostFunction } from "../src/index.ts";
import { ACS_ON, address, bridge, endpoint, hostOf, outcome, switchHost, withGroups } from "./made-hosts.ts";

const find = (functions: readonly HostFunction[], text: string): HostFunction => {
  const f = functions.find((each) => formatAddress(each.address) === text);
  if (!f) throw new Error(`${text} is not there.`);
  return f;
};

const DEVICES = "sys/bus/pci/devices";

describe("readSysfs", () => {
  test("reads what the kernel shows of a function", () => {
    const tree = buildHost(hostOf([endpoint("0000:00:02.0", { driver: "nvme", bootVga: true, resetMethods: "flr bus", subsystemVendor: 0x1234, subsystemDevice: 0x5678, revision: 7 })]));
    tree.addFile("sys/devices/pci0000:00/0000:00:02.0/resource", "0x00000000fe000000 0x00000000fe00ffff 0x0000000000140204\nnot a line\n0x0000000000000000 0x0000000000000000 0x0000000000000000\n");
    expect(readSysfs(tree).functions).toMatchObject([
      {
        address: address("0000:00:02.0"), parent: undefined, vendor: 0x144d, device: 0xa804, classCode: 0x010802, revision: 7, subsystemVendor: 0x1234, subsystemDevice: 0x5678, driver: "nvme", bootVga: true, resetMethods: ["flr", "bus"],
        resources: [{ start: 0xfe00_0000n, end: 0xfe00_ffffn, flags: 0x140204n }, { start: 0n, end: 0n, flags: 0n }],
      },
    ]);
  });

  test("reads kernel, command line, log, tables and units, from whichever file has them", () => {
    const tree = buildHost(hostOf([endpoint("0000:00:02.0")], { tables: { DMAR: new Uint8Array(48), TINY: new Uint8Array(8) } })).addLink("sys/class/iommu/dmar0", "../../devices/virtual/iommu/dmar0");
    expect(readSysfs(tree)).toMatchObject({ kernelRelease: "6.12.0", commandLine: "quiet", dmesg: "[    0.000000] made", iommus: ["dmar0"] });
    expect([...readSysfs(tree).acpi.keys()]).toEqual(["DMAR"]);
    expect(readSysfs(tree.addFile("proc/sys/kernel/osrelease", "6.13.1-box\n")).kernelRelease).toBe("6.13.1-box");
    const log = new MemoryTree("test").addFile("var/log/dmesg", "[    0.0] Linux version 5.15.0 (gcc)\n[    0.0] Command line: quiet iommu=pt\n");
    expect(readSysfs(log)).toMatchObject({ kernelRelease: "5.15.0", commandLine: "quiet iommu=pt", functions: [] });
  });

  test("an empty tree is an empty host, and no host", () => {
    const tree = new MemoryTree("test");
    expect([hasSysfs(tree), readSysfs(tree).functions, readSysfs(tree).groups]).toEqual([false, [], undefined]);
  });

  test("names that are no addresses are passed over", () => {
    const tree = buildHost(hostOf([endpoint("0000:00:02.0")])).addFile(`${DEVICES}/readme`, "x").addFile(`${DEVICES}/0000:00:20.0/vendor`, "0x1234");
    expect(readSysfs(tree).functions).toHaveLength(1);
  });
});

describe("what a tree lacks", () => {
  test("is listed with what follows from it", () => {
    const tree = buildHost(hostOf([endpoint("0000:00:02.0"), endpoint("0000:00:03.0")])).remove("dmesg.txt");
    tree.remove("sys/devices/pci0000:00/0000:00:02.0/config");
    tree.addFile("sys/devices/pci0000:00/0000:00:03.0/config", (tree.read("sys/devices/pci0000:00/0000:00:03.0/config") ?? new Uint8Array()).slice(0, 64));
    expect(readSysfs(tree).missing.map(({ what }) => what)).toEqual([
      "configuration space of 0000:00:02.0",
      "configuration space past the first 64 bytes of 0000:00:03.0 (read without root)",
      "ACPI tables",
      "the kernel log (dmesg)",
    ]);
  });

  test("tables that are listed but cannot be read are another matter than none", () => {
    const tree = buildHost(switchHost()).addFile("sys/firmware/acpi/tables/DMAR", new Uint8Array());
    expect(readSysfs(tree).missing.map(({ what }) => what)).toEqual(["ACPI tables (they are listed, but only root may read them)"]);
  });

  test("64 bytes of configuration space: ids and bus numbers are known, isolation is not guessed", () => {
    const tree = buildHost(switchHost());
    for (const path of tree.paths()) if (path.endsWith("/config")) tree.addFile(path, (tree.read(path) ?? new Uint8Array()).slice(0, 64));
    const report = reportGroups(readSysfs(tree), "computed");
    // Only what has no siblings and nothing above it does not depend on what the bytes would say.
    expect(outcome(report).groups).toEqual(["0000:00:00.0"]);
    expect(report.unknown.every(({ text }) => text !== "")).toBe(true);
    expect(find(readSysfs(tree).functions, "0000:05:00.0")).toMatchObject({ vendor: 0x10de, device: 0x1402 });
  });

  test("64 bytes that say that there are no capabilities do answer", () => {
    const tree = buildHost(hostOf([endpoint("0000:00:1f.0", { capabilities: [], multifunction: true }), endpoint("0000:00:1f.3", { capabilities: [] })]));
    for (const path of tree.paths()) if (path.endsWith("/config")) tree.addFile(path, (tree.read(path) ?? new Uint8Array()).slice(0, 64));
    expect(outcome(reportGroups(readSysfs(tree), "computed"))).toEqual({ groups: ["0000:00:1f.0 0000:00:1f.3"], ungrouped: [], unknown: [] });
  });

  test("ids come from the configuration space when their own files are not there", () => {
    const tree = buildHost(hostOf([endpoint("0000:00:02.0", { revision: 3 })]));
    for (const name of ["vendor", "device", "class"]) tree.remove(`sys/devices/pci0000:00/0000:00:02.0/${name}`);
    expect(readSysfs(tree).functions[0]).toMatchObject({ vendor: 0x144d, device: 0xa804, classCode: 0x010802, revision: 3 });
  });
});

describe("places", () => {
  test("the parent is the folder above", () => {
    const { functions } = readSysfs(buildHost(switchHost()));
    expect(functions.map(({ parent }) => parent && formatAddress(parent))).toEqual([undefined, undefined, undefined, "0000:00:01.0", "0000:01:00.0", "0000:01:00.0", "0000:02:00.0", "0000:02:01.0", "0000:02:01.0", "0000:00:02.0"]);
  });

  test("folders that are no links get their parents from bus numbers", () => {
    const linked = buildHost(switchHost());
    const flat = new MemoryTree("flat");
    for (const name of linked.list(DEVICES)) {
      const folder = linked.link(`${DEVICES}/${name}`)?.replace("../../../", "sys/") ?? "";
      for (const file of ["config", "vendor", "device", "class"]) flat.addFile(`${DEVICES}/${name}/${file}`, linked.read(`${folder}/${file}`) ?? "");
    }
    const parents = (tree: MemoryTree): unknown[] => readSysfs(tree).functions.map(({ parent }) => parent);
    expect(parents(flat)).toEqual(parents(linked));
    expect(outcome(reportGroups(readSysfs(flat), "computed"))).toEqual(outcome(reportGroups(readSysfs(linked), "computed")));
  });

  test("a link that leads out of the tree or in a circle is a function without files", () => {
    const tree = buildHost(switchHost()).addLink(`${DEVICES}/0000:00:1e.0`, "../../../../../etc").addLink(`${DEVICES}/0000:00:1d.0`, "0000:00:1d.0");
    for (const name of ["0000:00:1e.0", "0000:00:1d.0"]) {
      const { config, vendor, parent } = find(readSysfs(tree).functions, name);
      expect([config, vendor, parent]).toEqual([undefined, undefined, undefined]);
    }
  });

  test("functions of a VMD domain hang below the endpoint whose requester ID they use", () => {
    const host = buildHost(hostOf([endpoint("0000:00:0e.0", { vendor: 0x8086, device: 0x467f, classCode: 0x010400 })]));
    const at = "sys/devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0";
    const inner = buildHost(hostOf([bridge("0000:e0:06.0", 0xe1, { acs: ACS_ON })]));
    host.addLink(`${DEVICES}/10000:e0:06.0`, `../../../${at.slice(4)}`).addFile(`${at}/config`, inner.read("sys/devices/pci0000:00/0000:e0:06.0/config") ?? "");
    host.addLink(`${DEVICES}/10000:e1:00.0`, `../../../${at.slice(4)}/10000:e1:00.0`).addFile(`${at}/10000:e1:00.0/config`, host.read("sys/devices/pci0000:00/0000:00:0e.0/config") ?? "");
    const snapshot = readSysfs(host);
    expect(snapshot.functions.slice(1)).toMatchObject([
      { address: { domain: 0x10000 }, parent: undefined, dmaFunction: address("0000:00:0e.0") },
      { address: { domain: 0x10000 }, parent: address("10000:e0:06.0"), dmaFunction: address("0000:00:0e.0") },
    ]);
    expect(outcome(reportGroups(snapshot, "computed")).groups).toEqual(["0000:00:0e.0 10000:e0:06.0 10000:e1:00.0"]);
  });

  test("a virtual function names its physical one; it is no multifunction device", () => {
    const physical = endpoint("0000:01:00.0", { classCode: 0x020000, capabilities: [...(endpoint("0000:01:00.0").capabilities ?? []), singleRootIov({ totalVfs: 2, numVfs: 1, vfDevice: 0x10ca, firstVfOffset: 128, vfStride: 2, control: { VFEnable: 1 } })] });
    const tree = buildHost(hostOf([bridge("0000:00:01.0", 1, { acs: ACS_ON, below: [physical, endpoint("0000:01:10.0"), endpoint("0000:01:10.1")] })], { dmesg: ["[    0.1] DMAR: Intel(R) Virtualization Technology for Directed I/O"] }));
    for (const vf of ["0000:01:10.0", "0000:01:10.1"]) tree.addLink(`sys/devices/pci0000:00/0000:00:01.0/${vf}/physfn`, "../0000:01:00.0");
    const snapshot = readSysfs(tree);
    expect(find(snapshot.functions, "0000:01:10.1").physicalFunction).toEqual(address("0000:01:00.0"));
    expect(outcome(reportGroups(snapshot, "computed")).groups).toEqual(["0000:00:01.0", "0000:01:00.0", "0000:01:10.0", "0000:01:10.1"]);
  });
});

describe("groups the kernel made", () => {
  test("keep their numbers, however sparse; functions without a link have none", () => {
    const report = reportGroups(readSysfs(withGroups(switchHost(), [[0, ["0000:00:01.0"]], [7, ["0000:05:00.0", "0000:00:02.0"]], [1000, ["0000:04:00.0"]]])));
    expect(report.mode).toBe("recorded");
    expect(report.groups.map(({ id, type, devices }) => [id, type, devices.map(formatAddress)])).toEqual([
      [0, "DMA-FQ", ["0000:00:01.0"]],
      [7, "DMA-FQ", ["0000:00:02.0", "0000:05:00.0"]],
      [1000, "DMA-FQ", ["0000:04:00.0"]],
    ]);
    expect(outcome(report).ungrouped).toEqual(["0000:00:00.0", "0000:01:00.0", "0000:02:00.0", "0000:02:01.0", "0000:03:00.0", "0000:04:00.1"]);
  });

  test("members that are no PCI functions are listed, not matched", () => {
    const tree = withGroups(switchHost(), [[0, ["0000:00:01.0"]]]).addLink("sys/kernel/iommu_groups/0/devices/AMDI0020:00", "../../../../devices/platform/AMDI0020:00").addLink("sys/kernel/iommu_groups/5/devices/INTC1055:00", "../x");
    expect(readSysfs(tree).groups?.get(0)).toEqual({ id: 0, type: "DMA-FQ", reservedRegions: ["0x00000000fee00000 0x00000000feefffff msi"], others: ["AMDI0020:00"] });
    expect(reportGroups(readSysfs(tree)).groups.map(({ id, others }) => [id, others])).toEqual([[0, ["AMDI0020:00"]], [5, ["INTC1055:00"]]]);
  });

  test("either side of the links is enough", () => {
    const groups = [[3, ["0000:00:01.0", "0000:01:00.0"]]] as const;
    const [bySide, byMembers] = [withGroups(switchHost(), groups), withGroups(switchHost(), groups)];
    bySide.remove("sys/kernel/iommu_groups");
    for (const path of byMembers.paths()) if (path.endsWith("/iommu_group")) byMembers.remove(path);
    for (const tree of [bySide, byMembers]) expect(outcome(reportGroups(readSysfs(tree))).groups).toEqual(["0000:00:01.0 0000:01:00.0"]);
  });

  test("names that are no numbers are no groups", () => {
    expect(readSysfs(buildHost(switchHost()).addFile("sys/kernel/iommu_groups/readme", "x").addLink("sys/devices/pci0000:00/0000:00:01.0/iommu_group", "../x/readme")).groups).toBeUndefined();
  });
});
