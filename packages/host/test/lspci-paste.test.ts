import { formatAddress } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { buildHost } from "../src/bundled/build-host.ts";
import { looksLikeLspci, lspciSnapshot, parseLspci, readSysfs, reportGroups } from "../src/index.ts";
import { carriageReturns, entities, fenced, indented, noBreakSpaces, quoted, quotedPrintable, tabsTo, withProse, wrapAt, type Damage } from "./damage.ts";
import { bridgeText, computedFrom, DRIVER, endpointText, readFunction, readOne, snapshotOf, TWO_PORTS_GROUPS, twoPorts } from "./lspci-texts.ts";
import { hexDump, outcome, switchHost } from "./made-hosts.ts";

const recordedGroups = (text: string): (readonly [number, string])[] =>
  reportGroups(snapshotOf(text), "recorded").groups.map(({ id, devices }) => [id ?? -1, devices.map(formatAddress).join(" ")] as const);

describe("an lspci text on its way through mail and forums", () => {
  const ways: readonly (readonly [string, Damage])[] = [
    ["quoted once", quoted("> ")],
    ["quoted twice", quoted("> > ")],
    ["quoted without spaces", quoted(">>")],
    ["tabs as one space", tabsTo(1)],
    ["tabs as four spaces", tabsTo(4)],
    ["tabs as eight spaces", tabsTo(8)],
    ["tabs lost", tabsTo(0)],
    ["CRLF", carriageReturns],
    ["no-break spaces", noBreakSpaces],
    ["wrapped at 72 columns", wrapAt(72)],
    ["wrapped and quoted", (text) => quoted("> ")(wrapAt(72)(text))],
    ["quoted-printable", quotedPrintable],
    ["quoted-printable with no-break spaces", (text) => quotedPrintable(noBreakSpaces(text))],
    ["HTML entities", entities],
    ["a code fence", fenced],
    ["a code block by indentation", indented],
    ["inside a report", withProse],
    ["a byte-order mark", (text) => `\uFEFF${text}`],
    ["upper case", (text) => text.replace(/^\S+/gm, (address) => address.toUpperCase())],
    ["a library that complains on top", (text) => `lspci: Unable to load libkmod resources: error -2\n${text}`],
  ];

  test.each(ways)("%s says the same", (_way, damage) => {
    const text = damage(twoPorts());
    expect(looksLikeLspci(text)).toBe(true);
    expect(computedFrom(text)).toEqual(TWO_PORTS_GROUPS);
  });

  test.each(ways)("%s shows the same group lines", (_way, damage) => {
    expect(recordedGroups(damage(twoPorts([0, 1, 2, 1])))).toEqual([
      [0, "0000:00:01.0"],
      [1, "0000:00:02.0 0000:02:00.0"],
      [2, "0000:01:00.0"],
    ]);
  });

  test("errors of pciutils' library fall into the middle of words, also of quoted ones", () => {
    const stray = "pcilib: Error reading /sys/bus/pci/devices/0000:00:08.3/label: Operation not permitted\n";
    const torn = twoPorts().replaceAll("UpstreamFwd+", `Upst${stray}reamFwd+`).replaceAll("secondary=01", `sec${stray}pcilib: sysfs_read_vpd: read failed: No such device\nondary=01`);
    expect(computedFrom(torn)).toEqual(TWO_PORTS_GROUPS);
    expect(computedFrom(quoted("> ")(torn))).toEqual(TWO_PORTS_GROUPS);
  });

  test.each(["Acme Corp Family of Universal Serial\nBus Controller", "Acme Corp Dual-Channel\nMemory Controller", "Acme Corp Power\nControl Unit"])("a title goes on below although %j starts like a property", (name) => {
    expect(readFunction(`00:02.0 System peripheral [0880]: ${name} [1234:5678] (rev 01)\n\tControl: I/O+\n`)).toMatchObject({ name: name.replace("\n", " "), vendor: 0x1234, device: 0x5678, revision: 1 });
  });

  test("<access denied> is denied also as HTML", () => {
    expect(readFunction("00:02.0 SMBus [0c05]: Acme Corp Frob [1234:5678]\n\tFlags: fast devsel\n\tCapabilities: &lt;access denied&gt;\n").capabilitiesShown).toBe("denied");
  });

  test("prose behind a dump does not become part of its last function", () => {
    expect(readOne(withProse(endpointText("01:00.0"))).functions[0]).toMatchObject({ driver: "nvme", name: "Acme Corp Gizmo" });
  });

  test("tens of kilobytes of vital product data on one line change nothing", () => {
    const vpd = `\tCapabilities: [d0] Vital Product Data\n\t\tProduct Name: ${"Example VPD ".repeat(3000)}\n\t\tRead-only fields:\n\t\t\t[PN] Part number: ${"x".repeat(30_000)}\n`;
    expect(computedFrom(twoPorts().replaceAll("\tKernel driver in use: nvme\n", `${vpd}\tKernel driver in use: nvme\n`))).toEqual(TWO_PORTS_GROUPS);
  });

  test("text without functions has no hosts", () => {
    for (const text of ["", "\n\n", "hello", "the card at 00:02.0 hangs", "2026-01-02 10:00:00 00:1f.0 -> error: no"]) {
      expect(looksLikeLspci(text), text).toBe(false);
      expect(parseLspci(text), text).toEqual([]);
    }
  });
});

describe("several dumps in one text", () => {
  test("a repeated address starts a new host; they are never merged", () => {
    const hosts = parseLspci(`before:\n\n${twoPorts([0, 1, 2, 1])}\nafter:\n\n${twoPorts([0, 1, 2, 3])}`);
    expect(hosts.map(({ functions }) => functions.length)).toEqual([4, 4]);
    expect(hosts.map((host) => reportGroups(lspciSnapshot(host, "text")).groups.length)).toEqual([3, 4]);
  });

  test("two listings of groups are two hosts", () => {
    const listing = (id: number): string => `IOMMU Group 0:\n\t00:00.0 Host bridge [0600]: Acme Corp Frob [1234:0000]\nIOMMU Group ${id}:\n\t00:01.0 PCI bridge [0604]: Acme Corp Frob [1234:0001]\n`;
    expect(parseLspci(`${listing(0)}\nwith the override:\n\n${listing(1)}`).map((host) => reportGroups(lspciSnapshot(host, "text")).groups.length)).toEqual([1, 2]);
  });

  test("records of -vmm that repeat are two hosts", () => {
    const record = "Slot:\t00:00.0\nClass:\tHost bridge [0600]\nVendor:\tAcme Corp [1234]\nDevice:\tFrob [5678]\n\n";
    expect(parseLspci(record + record).map(({ functions }) => functions.length)).toEqual([1, 1]);
  });
});

describe("a text that was cut", () => {
  test("a bus that a bridge announces and that has no function is named", () => {
    expect(readOne(bridgeText("00:1c.4", "04", "04") + DRIVER).warnings).toEqual(["No function is shown on bus 04 below 0000:00:1c.4: the slot is empty, or the text is cut."]);
  });

  test("a last line without an end is named, and what may have followed is unknown", () => {
    const text = `${bridgeText("00:01.0", "01", "01")}${DRIVER}\n${endpointText("01:00.0").split("\tCapabilities")[0] ?? ""}\tCapabilities: [70] Express (v2) Endp`;
    const host = readOne(text);
    expect(host.warnings[0]).toContain("may be cut inside 0000:01:00.0");
    expect(host.functions[1]?.capabilitiesShown).toBe("not-shown");
  });

  test("a port that is cut before its ACS lines would stand is unknown, not without ACS", () => {
    const text = `${endpointText("00:03.0")}\n${bridgeText("00:01.0", "01", "01")}`.slice(0, -4);
    expect(readOne(text).functions[1]).toMatchObject({ portType: 4, capabilitiesShown: "not-shown" });
    expect(snapshotOf(text).missing.map(({ what }) => what)).toContain("capabilities of 1 functions (lspci without -vv, or the text is cut)");
  });

  test("a text that only lost its last line end is whole: the driver stands last", () => {
    expect(readOne(twoPorts().trimEnd()).warnings).toEqual([]);
    expect(computedFrom(twoPorts().trimEnd())).toEqual(TWO_PORTS_GROUPS);
  });

  test("a whole text has no warnings", () => {
    expect(readOne(twoPorts()).warnings).toEqual([]);
  });

  test("reserved buses of hot-plug ports below which something is are no warning", () => {
    expect(readOne([bridgeText("00:01.0", "01", "40"), endpointText("01:00.0")].join("\n")).warnings).toEqual([]);
  });
});

describe("trees of lspci -t", () => {
  const parentsOf = (text: string): Record<string, string | undefined> => Object.fromEntries(snapshotOf(text).functions.map(({ address, parent }) => [formatAddress(address), parent && formatAddress(parent)]));

  test("-t: every function below its bridge", () => {
    expect(parentsOf("-[0000:00]-+-00.0\n           +-01.0-[01]--+-00.0\n           |            \\-00.1\n           +-1c.0-[02]--\n           \\-1c.6-[04-05]----00.0-[05]--\n")).toEqual({
      "0000:00:00.0": undefined, "0000:00:01.0": undefined, "0000:01:00.0": "0000:00:01.0", "0000:01:00.1": "0000:00:01.0", "0000:00:1c.0": undefined, "0000:00:1c.6": undefined, "0000:04:00.0": "0000:00:1c.6",
    });
  });

  test("several root buses, a VMD domain, and the extra buses of virtual functions", () => {
    const tree = "-+-[0000:00]-+-00.0\n |           +-01.0-[01-03]--+-[0000:01]---00.0\n |           |               +-[0000:02]---10.0\n |           |               \\-[0000:03]---10.1\n |           \\-02.0-[04]--\n +-[0000:40]---00.0\n \\-[10000:e0]---06.0-[e1]----00.0\n";
    const parents = parentsOf(tree);
    expect(parents).toEqual({
      "0000:00:00.0": undefined, "0000:00:01.0": undefined, "0000:00:02.0": undefined, "0000:01:00.0": "0000:00:01.0", "0000:02:10.0": "0000:00:01.0", "0000:03:10.1": "0000:00:01.0", "0000:40:00.0": undefined, "10000:e0:06.0": undefined, "10000:e1:00.0": "10000:e0:06.0",
    });
    expect(parentsOf(indented(tree))).toEqual(parents);
  });

  test("-tv and -tvnn: names, and ids where they stand", () => {
    const names = (text: string): unknown[] => readOne(text).functions.map(({ name, device }) => [name, device]);
    expect(names("-[0000:00]-+-00.0  Acme Corp Frob\n           \\-1f.0  Acme Corp Device 5182\n")).toEqual([["Acme Corp Frob", undefined], ["Acme Corp Device 5182", 0x5182]]);
    expect(readOne("-[0000:00]-+-00.0  Acme Corp Frob [1234:5678]\n           \\-1f.0  Intel Corporation Device [8086:5182]\n").functions.map(({ vendor, device }) => [vendor, device])).toEqual([[0x1234, 0x5678], [0x8086, 0x5182]]);
  });

  test("a tree beside a dump gives the parents that the dump lacks", () => {
    const titles = "00:01.0 PCI bridge [0604]: Acme Corp Frob [1234:0001]\n01:00.0 SMBus [0c05]: Acme Corp Frob [1234:5678]\n";
    expect(parentsOf(`${titles}\n$ lspci -t\n-[0000:00]---01.0-[01]----00.0\n`)).toMatchObject({ "0000:01:00.0": "0000:00:01.0" });
  });
});

describe("hex dumps of lspci -x", () => {
  const snapshot = readSysfs(buildHost(switchHost()));
  const dump = hexDump(snapshot);

  test("-xxxx: complete bytes are worth more than any printed line", () => {
    const [first = ""] = dump.split("\n\n");
    const printed = dump.replace(first, `${first.split("\n")[0] ?? ""}\n\tCapabilities: <access denied>\n${first.split("\n").slice(1).join("\n")}`);
    expect(computedFrom(dump)).toEqual(outcome(reportGroups(snapshot, "computed")));
    expect(computedFrom(printed)).toEqual(outcome(reportGroups(snapshot, "computed")));
  });

  const firstRows = (rows: number): string => dump.split("\n\n").map((block) => block.split("\n").slice(0, rows + 1).join("\n")).join("\n\n") + "\n";

  test("-x: 64 bytes give bus numbers and ids, no isolation", () => {
    const host = snapshotOf(firstRows(4));
    expect(host.functions.map(({ vendor, parent }) => [vendor, parent])).toEqual(snapshot.functions.map(({ vendor, parent }) => [vendor, parent]));
    expect(outcome(reportGroups(host, "computed")).unknown).not.toEqual([]);
  });

  test("-xxx: 256 bytes hide the extended capabilities, which is not the same as none", () => {
    expect(computedFrom(firstRows(16)).unknown).toContain("0000:05:00.0");
  });

  test("a dump with a hole ends at the hole", () => {
    const [config] = readOne(firstRows(8).replace(/^40: .*\n/m, "")).functions;
    expect(config?.config?.length).toBe(64);
  });
});

describe("other blocks of the same paste", () => {
  test("find /sys/kernel/iommu_groups fills in what an old lspci does not print", () => {
    const listing = [[0, "00:01.0"], [1, "00:02.0"], [2, "01:00.0"], [1, "02:00.0"]].map(([id, address]) => `/sys/kernel/iommu_groups/${id ?? 0}/devices/0000:${address ?? ""}\n`).join("");
    const groups = [[0, "0000:00:01.0"], [1, "0000:00:02.0 0000:02:00.0"], [2, "0000:01:00.0"]];
    expect(recordedGroups(`${twoPorts()}\n$ find /sys/kernel/iommu_groups/ -type l\n${listing}`)).toEqual(groups);
    expect(recordedGroups(`${listing}\n${twoPorts()}`)).toEqual(groups);
    expect(recordedGroups(listing)).toEqual(groups);
  });

  const LISTINGS = {
    "one line each": "IOMMU Group 0 00:01.0 PCI bridge [0604]: Acme Corp Port [1234:0001] (rev 07)\nIOMMU Group 1 01:00.0 VGA compatible controller [0300]: Acme Corp Frob [1234:5678] (rev a1)\nIOMMU Group 1 01:00.1 Audio device [0403]: Acme Corp Frob Audio [1234:5679] (rev a1)\n",
    "a heading each": "IOMMU Group 0:\n\t00:01.0 PCI bridge [0604]: Acme Corp Port [1234:0001] (rev 07)\nIOMMU Group 1:\n\t01:00.0 VGA compatible controller [0300]: Acme Corp Frob [1234:5678] (rev a1)\n\t01:00.1 Audio device [0403]: Acme Corp Frob Audio [1234:5679] (rev a1)\n",
    "with drivers": "IOMMU Group 0:\n\t00:01.0 PCI bridge [0604]: Acme Corp Port [1234:0001] (rev 07)\n\t\tKernel driver in use: pcieport\nIOMMU Group 1:\n\t01:00.0 VGA compatible controller [0300]: Acme Corp Frob [1234:5678] (rev a1)\n\t\tSubsystem: Acme Corp Frob [1234:0001]\n\t\tKernel driver in use: vfio-pci\n\t\tKernel modules: nouveau\n\t01:00.1 Audio device [0403]: Acme Corp Frob Audio [1234:5679] (rev a1)\n\t\tKernel driver in use: vfio-pci\n",
  } as const;
  const GROUPS = [[0, "0000:00:01.0"], [1, "0000:01:00.0 0000:01:00.1"]];

  test.each(Object.entries(LISTINGS))("a listing script's output, %s", (_form, listing) => {
    expect(recordedGroups(listing)).toEqual(GROUPS);
    expect(recordedGroups(quoted("> ")(listing))).toEqual(GROUPS);
    expect(recordedGroups(indented(listing))).toEqual(GROUPS);
    expect(recordedGroups(tabsTo(0)(listing))).toEqual(GROUPS);
  });

  test("the drivers of a listing are read, and nothing is concluded from missing capabilities", () => {
    const { functions } = readOne(LISTINGS["with drivers"]);
    expect(functions.map(({ driver, capabilitiesShown }) => [driver, capabilitiesShown])).toEqual([["pcieport", "not-shown"], ["vfio-pci", "not-shown"], ["vfio-pci", "not-shown"]]);
  });

  test("a listing and a dump of the same paste are one host", () => {
    const listing = "IOMMU Group 5:\n\t00:01.0 PCI bridge [0604]: Acme Corp Frob Port [1234:0001]\n\t00:02.0 PCI bridge [0604]: Acme Corp Frob Port [1234:0001]\n";
    for (const text of [`${listing}\n${twoPorts()}`, `${listing}${twoPorts()}`, `${twoPorts()}\n${listing}`, tabsTo(0)(`${listing}\n${twoPorts()}`)]) expect(recordedGroups(text), text).toEqual([[5, "0000:00:01.0 0000:00:02.0"]]);
  });

  test("-vmm records, with and without ids, with a group and a driver", () => {
    const { functions } = readOne("Slot:\t0000:01:00.0\nClass:\tVGA compatible controller [0300]\nVendor:\tAcme Corp [1234]\nDevice:\tFrob [5678]\nSVendor:\tAcme Corp [1234]\nRev:\ta1\nProgIf:\t00\nDriver:\tvfio-pci\nModule:\tnouveau\nIOMMUGroup:\t14\n\nSlot:\t00:1f.3\nClass:\tSMBus\nVendor:\tIntel Corporation\nDevice:\tDevice 5182\n");
    expect(functions).toMatchObject([
      { className: "VGA compatible controller", classCode: 0x030000, name: "Acme Corp Frob", vendor: 0x1234, device: 0x5678, revision: 0xa1, iommuGroup: 14, driver: "vfio-pci" },
      { className: "SMBus", classCode: 0x0c0500, vendor: 0x8086, device: 0x5182, capabilitiesShown: "not-shown" },
    ]);
  });

  test("/proc/cmdline, uname and the kernel log of the paste count for the host", () => {
    const host = readOne(`$ uname -a\nLinux box 6.12.9-amd64 #1 SMP x86_64 GNU/Linux\n$ cat /proc/cmdline\nBOOT_IMAGE=/vmlinuz root=/dev/sda1 intel_iommu=on pci=noats\n${twoPorts()}\n[    0.1] DMAR: Intel(R) Virtualization Technology for Directed I/O\n`);
    expect(host).toMatchObject({ kernelRelease: "6.12.9-amd64", commandLine: "BOOT_IMAGE=/vmlinuz root=/dev/sda1 intel_iommu=on pci=noats" });
    expect(host.dmesg).toContain("Directed I/O");
  });
});
