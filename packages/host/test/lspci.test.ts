import { formatAddress } from "@iommu-lab/pci-bus";
import { PcieType } from "@iommu-lab/pci-bus/groups";
import { describe, expect, test } from "vitest";
import { lspciSnapshot, reportGroups } from "../src/index.ts";
import { outcome } from "./made-hosts.ts";
import { acsFlags, acsText, bridgeText, computedFrom, DRIVER, endpointText, readFunction, readOne, snapshotOf, TWO_PORTS_GROUPS, twoPorts } from "./lspci-texts.ts";

describe("addresses of an lspci text", () => {
  test.each([
    ["00:1f.3", "0000:00:1f.3"],
    ["0000:00:1f.3", "0000:00:1f.3"],
    ["10000:e0:06.0", "10000:e0:06.0"],
    ["000c:01:00.0", "000c:01:00.0"],
    ["0000:0A:1F.3", "0000:0a:1f.3"],
  ])("%s is %s", (written, address) => {
    expect(formatAddress(readFunction(`${written} SMBus [0c05]: Acme Corp Frob [1234:5678]\n`).address)).toBe(address);
  });

  test.each(["00:20.0 SMBus: device 32 does not exist", "00:1f.8 SMBus: nor does function 8", "at 00:1f.3 SMBus: not at the edge"])("%s: is none", (line) => {
    expect(() => readOne(`${line}\n`)).toThrow();
  });
});

describe("titles of an lspci text", () => {
  test.each([
    ["-nn", "VGA compatible controller [0300]: Acme Corp Frob GPU [1234:5678] (rev 0c) (prog-if 00 [VGA controller])", { className: "VGA compatible controller", classCode: 0x030000, name: "Acme Corp Frob GPU", vendor: 0x1234, device: 0x5678, revision: 0x0c }],
    ["no option", "VGA compatible controller: Acme Corp Frob GPU (rev 0c)", { className: "VGA compatible controller", classCode: 0x030000, name: "Acme Corp Frob GPU", vendor: undefined, device: undefined, revision: 0x0c }],
    ["-n", "0300: 1234:5678 (rev 0c)", { className: undefined, classCode: 0x030000, name: undefined, vendor: 0x1234, device: 0x5678, revision: 0x0c }],
    ["-n of old versions", "Class 0300: 1234:5678", { classCode: 0x030000, vendor: 0x1234, device: 0x5678, revision: undefined }],
    ["-nn, names with brackets and colons", "Display controller [0380]: Acme, Inc. [Gizmo] [AMD/ATI] Foo: Bar [Radeon X] [1002:73bf] (rev c1)", { className: "Display controller", classCode: 0x038000, name: "Acme, Inc. [Gizmo] [AMD/ATI] Foo: Bar [Radeon X]", vendor: 0x1002, device: 0x73bf }],
    ["no option, names with brackets and colons", "Display controller: Acme, Inc. [Gizmo] Foo: Bar [Radeon X] (rev c1)", { className: "Display controller", name: "Acme, Inc. [Gizmo] Foo: Bar [Radeon X]", device: undefined, revision: 0xc1 }],
    ["-nn, device unknown by name", "System peripheral [0880]: Intel Corporation Device [8086:5182]", { vendor: 0x8086, device: 0x5182 }],
    ["no option, device unknown by name", "System peripheral: Intel Corporation Device 5182", { classCode: 0x088000, vendor: 0x8086, device: 0x5182 }],
    ["no option, vendor unknown by name", "System peripheral: Device 1234:5182", { vendor: 0x1234, device: 0x5182 }],
    ["-nn, class unknown by name", "Class [1300]: Acme Corp Frob [1234:5678]", { classCode: 0x130000, vendor: 0x1234 }],
    ["a programming interface", "USB controller [0c03]: Acme Corp Frob [1234:5678] (prog-if 30 [XHCI])", { classCode: 0x0c0330, revision: undefined }],
    ["ids in upper case", "SMBus [0C05]: Acme Corp Frob [ABCD:EF01]", { classCode: 0x0c0500, vendor: 0xabcd, device: 0xef01 }],
  ])("%s: %s", (_form, title, expected) => {
    expect(readFunction(`00:02.0 ${title}\n`)).toMatchObject(expected);
  });

  test.each([
    ["Intel Corporation Foo", 0x8086],
    ["Advanced Micro Devices, Inc. [AMD] Foo", 0x1022],
    ["Advanced Micro Devices, Inc. [AMD/ATI] Foo", 0x1002],
    ["NVIDIA Corporation Foo", 0x10de],
    ["Acme Corp Foo", undefined],
  ])("without numbers, %s still names the vendor that rules ask for", (name, vendor) => {
    expect(readFunction(`00:02.0 USB controller: ${name}\n`).vendor).toBe(vendor);
  });

  test("a database of names gives the ids that the text lacks", () => {
    const snapshot = lspciSnapshot(readOne("00:02.0 USB controller: Acme Corp Foo\n"), "text", { find: (name) => (name === "Acme Corp Foo" ? { vendor: 0x1234, device: 0x9abc } : undefined) });
    expect(snapshot.functions[0]).toMatchObject({ vendor: 0x1234, device: 0x9abc });
  });

  test("an Intel integrated endpoint is isolated from its siblings although the text has no ids", () => {
    const integrated = "00:14.3 Network controller: Intel Corporation Wi-Fi\n\tFlags: fast devsel\n\tCapabilities: [40] Express Root Complex Integrated Endpoint, MSI 00\n\tKernel driver in use: iwlwifi\n";
    const usb = "00:14.0 USB controller: Intel Corporation xHCI\n\tFlags: fast devsel\n\tCapabilities: [70] Power Management version 2\n\n00:14.2 RAM memory: Intel Corporation SRAM\n\tFlags: fast devsel\n\tCapabilities: [80] Power Management version 3\n\n";
    expect(computedFrom(usb + integrated).groups).toEqual(["0000:00:14.0 0000:00:14.2", "0000:00:14.3"]);
  });

  test("an Intel Sunrise Point port is known by its name when the text has no ids", () => {
    const title = "00:1c.0 PCI bridge: Intel Corporation Sunrise Point-H PCI Express Root Port #5 (rev f1)\n";
    const text = title + bridgeText("00:1c.0", "01", "01").split("\n").slice(1).join("\n") + acsText(0x0f, 0) + DRIVER;
    expect(reportGroups(snapshotOf(text), "computed").unknown).toEqual([]);
  });
});

describe("capabilities of an lspci text", () => {
  test("<access denied> means unknown, not absent", () => {
    const text = "00:01.0 PCI bridge [0604]: Acme Corp Frob [1234:0001]\n\tFlags: bus master, fast devsel, latency 0\n\tBus: primary=00, secondary=01, subordinate=01, sec-latency=0\n\tCapabilities: <access denied>\n\n01:00.0 SMBus [0c05]: Acme Corp Frob [1234:5678]\n\tFlags: fast devsel\n\tCapabilities: <access denied>\n";
    expect(readOne(text).functions.map((f) => f.capabilitiesShown)).toEqual(["denied", "denied"]);
    expect(computedFrom(text)).toEqual({ groups: [], ungrouped: [], unknown: ["0000:00:01.0", "0000:01:00.0"] });
    expect(snapshotOf(text).missing[0]?.what).toContain("<access denied>");
  });

  test("a text of titles alone shows no capabilities, and says so", () => {
    const snapshot = snapshotOf("00:00.0 Host bridge [0600]: Acme Corp Frob [1234:5678]\n");
    expect(snapshot.functions[0]?.printed?.capabilitiesShown).toBe("not-shown");
    expect(snapshot.missing.map(({ what }) => what)).toEqual(["capabilities of 1 functions (lspci without -vv, or the text is cut)"]);
  });

  test("in a verbose text a function without capability lines has none", () => {
    const { functions } = readOne(`00:00.0 Host bridge [0600]: Acme Corp Frob [1234:5678]\n\tControl: I/O-\n\tStatus: Cap-\n\n${endpointText("01:00.0")}`);
    expect(functions[0]).toMatchObject({ capabilitiesShown: "yes", capabilities: [] });
  });

  test("extended capabilities have a version; unknown ones and Null are kept", () => {
    const { capabilities } = readFunction(endpointText("01:00.0").replace("\tKernel", "\tCapabilities: [100 v0] Null\n\tCapabilities: [2a0 v1] Extended Capability ID 0x2f <?>\n\tKernel"));
    expect(capabilities.map(({ offset, version, title }) => [offset, version, title]).slice(1)).toEqual([
      [0x100, 0, "Null"],
      [0x2a0, 1, "Extended Capability ID 0x2f <?>"],
    ]);
  });

  test("no extended capability on any function means that ECAM is not reachable", () => {
    expect(snapshotOf(endpointText("01:00.0")).missing.map(({ what }) => what)).toContain("extended capabilities of every function");
    expect(snapshotOf(endpointText("01:00.0").replace("\tKernel", `${acsText(0, 0)}\tKernel`)).missing).toEqual([]);
  });

  test.each([
    ["Express (v2) Root Port (Slot+), MSI 00", PcieType.RootPort],
    ["Express (v2) Root Port (Slot-), IntMsgNum 0", PcieType.RootPort],
    ["Express (v2) Upstream Port, IntMsgNum 0", PcieType.UpstreamPort],
    ["Express (v2) Downstream Port (Slot+), MSI 00", PcieType.DownstreamPort],
    ["Express (v1) Endpoint, MSI 00", PcieType.Endpoint],
    ["Express Legacy Endpoint, MSI 00", PcieType.LegacyEndpoint],
    ["Express (v2) Root Complex Integrated Endpoint, MSI 00", PcieType.RootComplexIntegratedEndpoint],
    ["Express (v2) Root Complex Event Collector, IntMsgNum 1", PcieType.RootComplexEventCollector],
    ["Express (v1) PCI-Express to PCI/PCI-X Bridge, MSI 00", PcieType.PcieToPciBridge],
    ["Express (v1) PCI/PCI-X to PCI-Express Bridge, MSI 00", PcieType.PciToPcieBridge],
    ["Express (v2) Unknown type 11, MSI 00", 11],
    ["Express (v2) Root\nPort (Slot+), MSI 00", PcieType.RootPort],
  ])("%s is port type %i", (title, type) => {
    expect(readFunction(`00:01.0 PCI bridge [0604]: Acme Corp Frob [1234:5678]\n\tControl: I/O+\n\tCapabilities: [58] ${title}\n\t\tDevCap:\tMaxPayload 256 bytes\n`).portType).toBe(type);
  });

  test("an Express capability whose type is not there makes the function unknown, not conventional", () => {
    expect(computedFrom(`00:01.0 PCI bridge [0604]: Acme Corp Frob [1234:5678]\n\tControl: I/O+\n\tBus: primary=00, secondary=01, subordinate=01\n\tCapabilities: [58] Express (v2)\n\n${endpointText("01:00.0")}`).unknown).toEqual(["0000:00:01.0", "0000:01:00.0"]);
  });
});

describe("Access Control Services of an lspci text", () => {
  const acsOf = (lines: string): unknown => readFunction(bridgeText("00:01.0", "01", "01") + lines + DRIVER).acs;
  const whole = acsText(0x1f, 0x1d);

  test.each([
    ["a tab after the colon", whole],
    ["spaces", whole.replaceAll("\t", "    ")],
    ["nothing", whole.replaceAll("\t", "")],
    ["a break after UpstreamFwd", whole.replaceAll(" EgressCtrl", "\nEgressCtrl")],
    ["a break before UpstreamFwd", whole.replaceAll(" UpstreamFwd", "\n> UpstreamFwd")],
    ["the last flags lost", whole.replaceAll(" EgressCtrl- DirectTrans-", "")],
  ])("%s", (_what, lines) => {
    expect(acsOf(lines)).toEqual({ offset: 0x2a0, capability: 0x1f, control: 0x1d });
  });

  test("flags are matched by name, so an unknown one in between does not matter", () => {
    expect(acsOf(`\tCapabilities: [2a0 v1] Access Control Services\n\t\tACSCap:\tSrcValid+ NewFlag- TransBlk- ReqRedir+ CmpltRedir- UpstreamFwd-\n\t\tACSCtl:\tSrcValid+ NewFlag- TransBlk- ReqRedir- CmpltRedir- UpstreamFwd-\n`)).toMatchObject({ capability: 5, control: 1 });
  });

  test("-v alone names the capability without its bits: unknown", () => {
    expect(acsOf("\tCapabilities: [2a0] Access Control Services\n")).toEqual({ offset: 0x2a0, capability: undefined, control: undefined });
  });

  test("a flag that isolation asks for and that is lost makes the word unknown", () => {
    expect(acsOf(`\tCapabilities: [2a0 v1] Access Control Services\n\t\tACSCap:\t${acsFlags(0x1f)}\n\t\tACSCtl:\tSrcValid+ TransBlk- Req\n`)).toMatchObject({ capability: 0x1f, control: undefined });
  });

  test("decide the groups", () => {
    expect(computedFrom(twoPorts())).toEqual(TWO_PORTS_GROUPS);
  });
});

describe("groups and places in an lspci text", () => {
  test("a group line is the kernel's word; a function without one is in no group", () => {
    const report = reportGroups(snapshotOf(twoPorts([3, undefined, 7, 3])));
    expect(report).toMatchObject({ mode: "recorded", groups: [{ id: 3 }, { id: 7 }] });
    expect(outcome(report)).toEqual({ groups: ["0000:00:01.0 0000:02:00.0", "0000:01:00.0"], ungrouped: ["0000:00:02.0"], unknown: [] });
  });

  test.each(["\tFlags: bus master, fast devsel, latency 0, IRQ 16, IOMMU group 14\n", "\tFlags: bus master, fast devsel, latency 0, IRQ 16, IOMMU\ngroup 14\n", "\tInterrupt: pin A routed to IRQ 16\n\tNUMA node: 0\n\tIOMMU group: 14\n"])("%j is group 14", (lines) => {
    expect(readFunction(`00:02.0 SMBus [0c05]: Acme Corp Frob [1234:5678]\n${lines}`).iommuGroup).toBe(14);
  });

  const parents = (text: string): Record<string, string | undefined> => Object.fromEntries(snapshotOf(text).functions.map(({ address, parent }) => [formatAddress(address), parent && formatAddress(parent)]));

  test("the parent is the bridge whose secondary bus it is, then the narrowest range, then a root bus", () => {
    expect(parents([bridgeText("00:01.0", "01", "09"), bridgeText("01:00.0", "02", "05", "", "Upstream Port"), endpointText("02:00.0"), endpointText("04:00.0"), endpointText("09:00.0"), endpointText("20:00.0")].join("\n"))).toEqual({
      "0000:00:01.0": undefined, "0000:01:00.0": "0000:00:01.0", "0000:02:00.0": "0000:01:00.0", "0000:04:00.0": "0000:01:00.0", "0000:09:00.0": "0000:00:01.0", "0000:20:00.0": undefined,
    });
  });

  test("secondary bus 0 is a bridge that nobody set up", () => {
    expect(parents([bridgeText("00:01.0", "00", "00"), endpointText("00:02.0")].join("\n"))).toMatchObject({ "0000:00:02.0": undefined });
  });

  test("a bridge of another domain is no parent", () => {
    expect(parents([bridgeText("10000:e0:06.0", "e1", "e1"), endpointText("0000:e1:00.0"), endpointText("10000:e1:00.0")].join("\n"))).toMatchObject({ "0000:e1:00.0": undefined, "10000:e1:00.0": "10000:e0:06.0" });
  });

  test.each(["09", "20", "a0", "3d"])("bus %s is a number, no quoted-printable", (bus) => {
    expect(parents([bridgeText("00:01.0", bus, bus), endpointText(`${bus}:00.0`)].join("\n"))).toMatchObject({ [`0000:${bus}:00.0`]: "0000:00:01.0" });
  });

  test("a Bus line that a mail broke is read", () => {
    expect(readFunction(bridgeText("00:01.0", "01", "05").replace(", subordinate", ",\nsubordinate")).buses).toEqual({ primary: 0, secondary: 1, subordinate: 5 });
  });

  test("functions of one slot are a multifunction device although no line says so", () => {
    const conventional = (address: string): string => `${address} SMBus [0c05]: Acme Corp Frob [1234:5678]\n\tControl: I/O+\n\tCapabilities: [50] Power Management version 3\n`;
    expect(computedFrom([conventional("00:1f.0"), conventional("00:1f.3"), conventional("00:02.0")].join("\n")).groups).toEqual(["0000:00:02.0", "0000:00:1f.0 0000:00:1f.3"]);
  });

  const sriov = (enable: string): string => `\tCapabilities: [160 v1] Single Root I/O Virtualization (SR-IOV)\n\t\tIOVCap:\tMigration-, Interrupt Message Number: 000\n\t\tIOVCtl:\tEnable${enable} Migration- Interrupt- MSE+ ARIHierarchy+\n\t\tInitial VFs: 8, Total VFs: 8, Number of VFs: 2, Function Dependency Link: 00\n\t\tVF offset: 128, stride: 2, Device ID: 10ca\n`;
  const physical = (enable: string): string => bridgeText("00:01.0", "01", "02") + acsText(0x1f, 0x1d) + DRIVER + "\n" + endpointText("01:00.0").replace("\tKernel", `${sriov(enable)}\tKernel`);

  test("offset and stride of SR-IOV give the virtual functions, whose parent is the physical one's", () => {
    const { functions } = snapshotOf([physical("+"), endpointText("01:10.0"), endpointText("01:10.2"), endpointText("01:10.4")].join("\n"));
    expect(functions.slice(1).map(({ physicalFunction, parent }) => [physicalFunction && formatAddress(physicalFunction), parent && formatAddress(parent)])).toEqual([
      [undefined, "0000:00:01.0"],
      ["0000:01:00.0", "0000:00:01.0"],
      ["0000:01:00.0", "0000:00:01.0"],
      [undefined, "0000:00:01.0"],
    ]);
  });

  test("SR-IOV that is switched off has no virtual functions", () => {
    expect(snapshotOf([physical("-"), endpointText("01:10.0")].join("\n")).functions.every((f) => f.physicalFunction === undefined)).toBe(true);
  });
});
