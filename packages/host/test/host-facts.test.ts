import { formatAddress } from "@iommu-lab/pci-bus";
import { PcieType } from "@iommu-lab/pci-bus/capabilities";
import type { FunctionFacts } from "@iommu-lab/pci-bus/groups";
import { describe, expect, test } from "vitest";
import { buildHost, type BuiltFunction, type BuiltHost } from "../src/bundled/build-host.ts";
import { hostFacts, parseCommandLine, readSysfs, reportGroups, wasIommuOn, type GroupsMode, type HostSnapshot } from "../src/index.ts";
import { dmar, drhd, ivhdAlias, ivhdRange, ivhdSelect, ivrs } from "./acpi-bytes.ts";
import { DRIVER, snapshotOf, twoPorts } from "./lspci-texts.ts";
import { ACS_OFF, ACS_ON, bridge, endpoint, hostOf, outcome, switchHost, withGroups } from "./made-hosts.ts";

const ON = ["[    0.1] DMAR: Intel(R) Virtualization Technology for Directed I/O"];

const read = (host: BuiltHost): HostSnapshot => readSysfs(buildHost(host));
const groupsOf = (host: BuiltHost, mode: GroupsMode = "computed"): ReturnType<typeof outcome> => outcome(reportGroups(read(host), mode));
const controlOf = (host: BuiltHost, address: string): number | undefined => {
  const acs = hostFacts(read(host)).facts.find((f) => formatAddress(f.address) === address)?.acs;
  return typeof acs === "object" ? acs.control : undefined;
};

/** A port and a switch below it that have ACS, not switched on; two endpoints. */
const idle = (more: Partial<BuiltHost> = {}): BuiltHost =>
  hostOf(
    [
      bridge("0000:00:01.0", 1, {
        acs: ACS_OFF, subordinateBus: 4, below: [bridge("0000:01:00.0", 2, { type: PcieType.UpstreamPort, subordinateBus: 4, below: [bridge("0000:02:00.0", 3, { type: PcieType.DownstreamPort, acs: ACS_OFF, below: [endpoint("0000:03:00.0")] }), bridge("0000:02:01.0", 4, { type: PcieType.DownstreamPort, acs: ACS_OFF, vendor: 0x10b5, device: 0x8747, below: [endpoint("0000:04:00.0")] })] })],
      }),
    ],
    more,
  );
const ALONE = ["0000:00:01.0", "0000:01:00.0", "0000:02:00.0", "0000:02:01.0", "0000:03:00.0", "0000:04:00.0"];
const SECOND_PORT_OPEN = ["0000:00:01.0", "0000:01:00.0", "0000:02:00.0", "0000:02:01.0 0000:04:00.0", "0000:03:00.0"];

describe("ACS control of a host whose IOMMU was off", () => {
  test("is predicted, and the report says so", () => {
    const report = reportGroups(read(idle()), "computed");
    expect([outcome(report).groups, report.acs]).toEqual([ALONE, "predicted"]);
    expect(controlOf(idle(), "0000:00:01.0")).toBe(0x1d);
  });

  test("with the IOMMU on the same words are what the kernel left: not isolated", () => {
    const report = reportGroups(read(idle({ dmesg: ON })), "computed");
    expect([outcome(report).groups, report.acs]).toEqual([[ALONE.join(" ")], "read"]);
  });

  test.each<[string, Partial<HostSnapshot>, boolean]>([
    ["nothing", {}, false],
    ["the log says it remaps", { dmesg: "AMD-Vi: Found IOMMU cap 0x40" }, true],
    ["the log says it does not", { dmesg: "DMAR: IOMMU disabled" }, false],
    ["a unit is in /sys/class/iommu", { iommus: ["dmar0"] }, true],
    ["there are groups", { groups: new Map() }, true],
  ])("signs that it was on: %s", (_sign, more, on) => {
    expect(wasIommuOn({ ...read(idle({ dmesg: [] })), ...more })).toBe(on);
  });

  test("a text shows it by a control word that is not zero", () => {
    expect(wasIommuOn(snapshotOf(twoPorts()))).toBe(true);
    expect(wasIommuOn(snapshotOf(twoPorts().replaceAll(/(ACSCtl:.*)$/gm, (line) => line.replaceAll("+", "-"))))).toBe(false);
  });
});

describe("kernel options (Linux, admin-guide/kernel-parameters)", () => {
  test("pci=noats switches translation blocking on as well", () => {
    expect(controlOf(idle({ commandLine: "pci=noats" }), "0000:02:01.0")).toBe(0x1f);
  });

  test.each([
    ["an address", "02:01.0"],
    ["an address with its domain", "0000:02:01.0"],
    ["a path", "00:01.0/00.0/01.0"],
    ["ids", "pci:10b5:8747"],
    ["ids with any subsystem", "pci:10b5:8747:0:0"],
    ["the second of two", "0f:00.0;02:01.0"],
  ])("pci=disable_acs_redir= with %s", (_form, device) => {
    expect(groupsOf(idle({ commandLine: `quiet pci=realloc,disable_acs_redir=${device}` })).groups).toEqual(SECOND_PORT_OPEN);
  });

  test.each(["02:02.0", "1:02:01.0", "00:01.0/01.0", "pci:10b5:8748", "nonsense", "02:01"])("pci=disable_acs_redir=%s names no function of the host", (device) => {
    expect(groupsOf(idle({ commandLine: `pci=disable_acs_redir=${device}` })).groups).toEqual(ALONE);
  });

  test.each([
    ["6.10.3", ALONE],
    ["6.11.0", SECOND_PORT_OPEN],
    ["7.2.1", SECOND_PORT_OPEN],
  ])("pci=config_acs= on Linux %s", (release, groups) => {
    expect(groupsOf(idle({ version: `Linux version ${release} (made)`, commandLine: "pci=config_acs=x00x1@0000:02:01.0" })).groups).toEqual(groups);
  });

  test("pci=config_acs= that only clears bits is unknown to Linux 6.10 too", () => {
    expect(groupsOf(idle({ version: "Linux version 6.10.3 (made)", commandLine: "pci=config_acs=x00xx@0000:02:01.0" })).groups).toEqual(ALONE);
  });

  test("config_acs: the rightmost flag is bit 0, x leaves what is there", () => {
    expect(parseCommandLine("pci=config_acs=10x@pci:1234:5678").configAcs).toEqual([{ clear: 0b110, set: 0b100, match: { kind: "id", vendor: 0x1234, device: 0x5678, subsystemVendor: 0xffff, subsystemDevice: 0xffff } }]);
    expect(parseCommandLine(`pci=config_acs=${"1".repeat(40)}@pci:0:0`).configAcs).toMatchObject([{ set: 0xffff, match: { vendor: 0xffff, device: 0xffff } }]);
  });

  const bare = (more: Partial<BuiltHost> = {}): BuiltHost => hostOf([bridge("0000:00:01.0", 1, { below: [endpoint("0000:01:00.0", { multifunction: true }), endpoint("0000:01:00.1")] })], { dmesg: ON, ...more });
  const MERGED = ["0000:00:01.0 0000:01:00.0 0000:01:00.1"];

  test.each([
    ["downstream", ["0000:00:01.0", "0000:01:00.0 0000:01:00.1"]],
    ["multifunction", MERGED],
    ["downstream,multifunction", ["0000:00:01.0", "0000:01:00.0", "0000:01:00.1"]],
    ["id:1022:1453", ["0000:00:01.0", "0000:01:00.0 0000:01:00.1"]],
    ["id:1022:9999", MERGED],
  ])("pcie_acs_override=%s of a patched kernel", (value, groups) => {
    const report = reportGroups(read(bare({ commandLine: `pcie_acs_override=${value}`, dmesg: [...ON, "[    0.0] Warning: PCIe ACS overrides enabled; This may allow non-IOMMU protected peer-to-peer DMA"] })), "computed");
    expect(outcome(report).groups).toEqual(groups);
    expect(report.unsafe).toBe(value !== "id:1022:9999");
  });

  test("pcie_acs_override= without the patch's line in the log does nothing, and the report says why", () => {
    const report = reportGroups(read(bare({ commandLine: "pcie_acs_override=downstream" })), "computed");
    expect([outcome(report).groups, report.unsafe]).toEqual([MERGED, false]);
    expect(report.notes.join(" ")).toContain("does not confirm it");
    const unseen = buildHost(bare({ commandLine: "pcie_acs_override=downstream" })).remove("dmesg.txt");
    expect(reportGroups(readSysfs(unseen), "computed").notes.join(" ")).toContain("without the kernel log");
  });

  test("a caller's override is taken at its word, and marked unsafe", () => {
    const report = reportGroups(read(bare()), "computed", { override: { downstream: true, multifunction: true, ids: [] } });
    expect([report.groups.length, report.unsafe]).toEqual([3, true]);
  });
});

describe("Intel PCH root ports, which the kernel isolates by registers behind RCBA", () => {
  const lpc = (more: Partial<BuiltFunction>): BuiltFunction => endpoint("0000:00:1f.0", { type: "conventional", vendor: 0x8086, device: 0x1c44, classCode: 0x060100, ...more });
  const host = (more: Partial<BuiltFunction> | undefined, dmesg: readonly string[] = ON): BuiltHost => hostOf([bridge("0000:00:1c.0", 1, { vendor: 0x8086, device: 0x1c10, below: [endpoint("0000:01:00.0")] }), ...(more === undefined ? [] : [lpc(more)])], { dmesg: [...dmesg] });
  const isolated = (made: BuiltHost): boolean => groupsOf(made).groups.includes("0000:01:00.0");

  test.each<[string, BuiltHost, boolean]>([
    ["RCBA is enabled", host({ raw: { 0xf0: [0x01, 0xc0, 0xd1, 0xfe] } }), true],
    ["RCBA is disabled", host({ raw: { 0xf0: [0x00, 0xc0, 0xd1, 0xfe] } }), false],
    ["there is no LPC bridge: it reads all ones", host(undefined), true],
    ["the log says that it worked, whatever RCBA reads now", host({}, [...ON, "[    0.2] pci 0000:00:1c.0: Intel PCH root port ACS workaround enabled"]), true],
    ["the log says that it failed, whatever RCBA reads now", host({ raw: { 0xf0: [1, 0, 0, 0] } }, [...ON, "[    0.2] pci 0000:00:1c.0: Failed to enable Intel PCH ACS quirk"]), false],
  ])("%s", (_what, made, expected) => {
    expect(isolated(made)).toBe(expected);
  });

  test("RCBA that cannot be seen is assumed enabled, with a note", () => {
    const tree = buildHost(host({ raw: { 0xf0: [0, 0, 0, 0] } }));
    tree.addFile("sys/devices/pci0000:00/0000:00:1f.0/config", (tree.read("sys/devices/pci0000:00/0000:00:1f.0/config") ?? new Uint8Array()).slice(0, 64));
    const report = reportGroups(readSysfs(tree), "computed");
    expect(outcome(report).groups).toContain("0000:01:00.0");
    expect(report.notes.join(" ")).toContain("RCBA");
  });
});

describe("functions that an IOMMU covers", () => {
  const machine = (tables: Record<string, Uint8Array>, commandLine = ""): BuiltHost =>
    hostOf([endpoint("0000:00:00.2", { classCode: 0x080600, type: "conventional" }), endpoint("0000:00:02.0", { classCode: 0x030000, type: "conventional" }), bridge("0000:00:01.0", 1, { acs: ACS_ON, below: [endpoint("0000:01:00.0")] })], { tables, commandLine, dmesg: ON });
  const ungrouped = (tables: Record<string, Uint8Array>, commandLine?: string): string[] => groupsOf(machine(tables, commandLine)).ungrouped;
  const graphics = { type: 1, bus: 0, path: [[2, 0]] } as const;

  test("DMAR: a unit for all the rest covers everything", () => {
    expect(ungrouped({ DMAR: dmar(drhd(true)) })).toEqual([]);
  });

  test("DMAR: without one, only what is listed or below a listed bridge (VT-d §8.3)", () => {
    expect(ungrouped({ DMAR: dmar(drhd(false, [graphics])) })).toEqual(["0000:00:00.2", "0000:00:01.0", "0000:01:00.0"]);
    expect(ungrouped({ DMAR: dmar(drhd(false, [{ type: 2, bus: 0, path: [[1, 0]] }])) })).toEqual(["0000:00:00.2", "0000:00:02.0"]);
    expect(ungrouped({ DMAR: dmar(drhd(false, [{ type: 1, bus: 0, path: [[1, 0], [0, 0]] }])) })).toEqual(["0000:00:00.2", "0000:00:01.0", "0000:00:02.0"]);
  });

  test("DMAR: another segment's unit covers nothing here", () => {
    expect(ungrouped({ DMAR: dmar(drhd(true, [], 1)) })).toHaveLength(4);
  });

  test("DMAR: a scope whose type contradicts the function is dropped; a unit that then lists nothing present is ignored", () => {
    expect(ungrouped({ DMAR: dmar(drhd(false, [{ type: 1, bus: 0, path: [[1, 0]] }])) })).toHaveLength(4);
    expect(ungrouped({ DMAR: dmar(drhd(false, [{ type: 1, bus: 0, path: [[9, 0]] }]), drhd(true)) })).toEqual([]);
  });

  test("intel_iommu=igfx_off leaves out the unit that has only graphics", () => {
    const tables = { DMAR: dmar(drhd(false, [graphics]), drhd(true)) };
    expect([ungrouped(tables), ungrouped(tables, "intel_iommu=on,igfx_off")]).toEqual([[], ["0000:00:02.0"]]);
  });

  test("IVRS: what the ranges and selections hold; the IOMMU's own function never (AMD-Vi §5.2)", () => {
    expect(ungrouped({ IVRS: ivrs(ivhdRange(0x0000, 0xffff)) })).toEqual(["0000:00:00.2"]);
    expect(ungrouped({ IVRS: ivrs(ivhdSelect(0x0010), ivhdRange(0x0100, 0x01ff)) })).toEqual(["0000:00:00.2", "0000:00:01.0"]);
  });

  test("IVRS: an alias on the same bus joins the two", () => {
    const host = hostOf([endpoint("0000:00:02.0"), endpoint("0000:00:03.0")], { dmesg: ON, tables: { IVRS: ivrs(ivhdAlias(0x0010, 0x0018), ivhdRange(0x0018, 0xffff)) } });
    expect(groupsOf(host).groups).toEqual(["0000:00:02.0 0000:00:03.0"]);
  });

  test("the kernel's own links outrank the tables", () => {
    const tree = buildHost(machine({ DMAR: dmar(drhd(true)) })).addLink("sys/devices/pci0000:00/0000:00:02.0/iommu", "../../virtual/iommu/dmar0");
    expect(outcome(reportGroups(readSysfs(tree), "computed"))).toMatchObject({ groups: ["0000:00:02.0"], ungrouped: ["0000:00:00.2", "0000:00:01.0", "0000:01:00.0"] });
  });

  test("without tables everything but an IOMMU's own function, with a note", () => {
    const report = reportGroups(read(machine({})), "computed");
    expect(outcome(report).ungrouped).toEqual(["0000:00:00.2"]);
    expect(report.notes.join(" ")).toContain("no ACPI tables");
    expect(reportGroups(read(machine({ FACP: new Uint8Array(64) })), "computed").notes.join(" ")).toContain("no IOMMU is switched on");
  });

  test("a damaged table is named, not trusted in silence", () => {
    expect(reportGroups(read(machine({ DMAR: dmar(drhd(true)).slice(0, 52) })), "computed").notes.join(" ")).toMatch(/DMAR at offset 0x[0-9a-f]+/);
  });
});

describe("comparison with the kernel", () => {
  const computed = reportGroups(readSysfs(buildHost({ ...switchHost(), dmesg: ON })), "computed").groups.map(({ devices }) => devices.map(formatAddress));
  const compare = (groups: readonly (readonly string[])[]): ReturnType<typeof reportGroups> => reportGroups(readSysfs(withGroups(switchHost(), groups.map((members, id) => [id, members] as const))), "compare");

  test("agreement is no difference", () => {
    expect(compare(computed).differences).toEqual([]);
  });

  test("a group that the kernel split is one difference with both sides", () => {
    const whole = computed.find((members) => members.length > 1) ?? [];
    const report = compare([...computed.filter((members) => members !== whole), whole.slice(0, 1), whole.slice(1)]);
    expect(report.differences?.map((each) => [each.recorded.length, each.computed.map((members) => members.map(formatAddress)), each.unknown])).toEqual([[2, [whole], []]]);
  });

  test("functions that the kernel left without a group are not compared", () => {
    expect(compare(computed.slice(1)).differences).toEqual([]);
  });

  test("what the computation cannot know is said with the difference", () => {
    const tree = withGroups(switchHost(), computed.map((members, id) => [id, members] as const));
    for (const path of tree.paths()) if (path.endsWith("/config")) tree.addFile(path, (tree.read(path) ?? new Uint8Array()).slice(0, 64));
    expect(reportGroups(readSysfs(tree), "compare").differences?.every(({ unknown }) => unknown.length > 0)).toBe(true);
  });
});

describe("texts without device ids", () => {
  const nic = (name: string): string => [0, 1].map((fn) => `00:19.${fn} Ethernet controller: ${name}\n\tControl: I/O+\n\tCapabilities: [70] Express (v2) Endpoint, MSI 00\n${DRIVER}`).join("\n");
  const facts = (text: string): readonly FunctionFacts[] => hostFacts(snapshotOf(text)).facts;

  test("an Intel network function may be one that a rule isolates: unknown", () => {
    expect(outcome(reportGroups(snapshotOf(nic("Intel Corporation Gigabit Network Connection")), "computed"))).toEqual({ groups: [], ungrouped: [], unknown: ["0000:00:19.0", "0000:00:19.1"] });
    expect(facts(nic("Intel Corporation Gigabit Network Connection"))[0]).toMatchObject({ vendor: 0x8086, device: undefined, family: "other" });
  });

  test("one of a vendor without such rules is not", () => {
    expect(outcome(reportGroups(snapshotOf(nic("Acme Corp Gigabit")), "computed")).groups).toEqual(["0000:00:19.0 0000:00:19.1"]);
  });

  test("names stand for the families of Intel's root ports", () => {
    const port = (name: string): string => `00:1c.0 PCI bridge: Intel Corporation ${name}\n\tControl: I/O+\n\tBus: primary=00, secondary=01, subordinate=01\n\tCapabilities: [40] Express (v2) Root Port (Slot+), MSI 00\n${DRIVER}`;
    expect(["7 Series/C216 Chipset Family PCI Express Root Port 1", "Sunrise Point-H PCI Express Root Port #5", "Cannon Lake PCH PCI Express Root Port #1"].map((name) => facts(port(name))[0]?.family)).toEqual(["intel-pch-root-port", "intel-spt-root-port", "other"]);
  });

  test("6 Series/C200 is no 200 Series", () => {
    const name = "6 Series/C200 Series Chipset Family PCI Express Root Port 1";
    expect(facts(`00:1c.0 PCI bridge: Intel Corporation ${name}\n\tControl: I/O+\n\tCapabilities: [40] Express (v2) Root Port (Slot+), MSI 00\n${DRIVER}`)[0]?.family).toBe("intel-pch-root-port");
  });

  test("the one Intel RAID controller outside of it stands for a VMD domain", () => {
    const text = `0000:00:0e.0 RAID bus controller: Intel Corporation Volume Management Device NVMe RAID Controller\n\tControl: I/O+\n\tCapabilities: [80] MSI-X: Enable+\n\n10000:e1:00.0 Non-Volatile memory controller: Acme Corp Gizmo\n\tControl: I/O+\n\tCapabilities: [70] Express (v2) Endpoint, MSI 00\n${DRIVER}`;
    expect(outcome(reportGroups(snapshotOf(text), "computed")).groups).toEqual(["0000:00:0e.0 10000:e1:00.0"]);
  });
});
