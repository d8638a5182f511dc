import { MemoryTree, readSysfs, type HostSnapshot } from "@iommu-lab/host";
import { bundledTree, ivyBridgeZ68 } from "@iommu-lab/host/bundled";
import { diagnose, makeReport, parseReport } from "@iommu-lab/host/doctor";
import type { Scenario } from "@iommu-lab/hypervisor/scenarios";
import { decodeIvrs, decodeIvrsUnits, encodeIvrs } from "@iommu-lab/iommu-amd/ivrs";
import { encodeSdt } from "@iommu-lab/pci-bus/acpi";

const TABLES = "sys/firmware/acpi/tables";
/** Any table: that tables can be listed makes the absence of one a fact. */
const FACP = encodeSdt("FACP", new Uint8Array(8));
const [SANDY_BRIDGE, IVY_BRIDGE] = [42, 58];

const cpuinfo = (name: string, model: number, flags = "fpu vmx sse2"): string => `processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: ${model}\nmodel name\t: ${name}\nflags\t\t: ${flags}\n`;

interface Variant {
  readonly files: Readonly<Record<string, string>>;
  /** Firmware's setup has VT-d on: there is a DMAR table. */
  readonly dmar: boolean;
}

/** The bundled board with another processor, firmware, command line or log. */
const host = ({ files, dmar }: Variant): HostSnapshot => {
  const base = bundledTree(ivyBridgeZ68.name);
  const tree = new MemoryTree("the board");
  for (const path of base.paths()) {
    const link = base.link(path);
    const bytes = base.read(path);
    if (link !== undefined) tree.addLink(path, link);
    else if (bytes && (dmar || path !== `${TABLES}/DMAR`)) tree.addFile(path, bytes);
  }
  tree.addFile(`${TABLES}/FACP`, FACP);
  for (const [path, text] of Object.entries(files)) tree.addFile(path, text);
  return readSysfs(tree);
};

/** "pass", "fail" or "unknown" of a rule about the host. */
const ask = (snapshot: HostSnapshot, id: string): { readonly status: string; readonly words: string } => {
  const result = diagnose(snapshot, { devices: [] }).host.find((each) => each.id === id);
  return { status: result?.status ?? "no such rule", words: `${result?.advice ?? ""} ${result?.evidence.map(({ text }) => text).join(" ") ?? ""}` };
};

/** What the source documents' own script looks for: the word alone. */
const script = (log: string): boolean => log.toLowerCase().includes("enabled");

const REMAPPING_ONLY = "[    0.100000] DMAR-IR: Enabled IRQ remapping in x2apic mode\n";
const ROTATED = "[ 9000.000000] usb 1-1: new high-speed USB device\n";
const UP = "[    0.050000] DMAR: IOMMU enabled\n[    0.400000] DMAR: Intel(R) Virtualization Technology for Directed I/O\n";

/** PC Engines apu2, AMD GX-412TC, as coreboot describes it: one IOMMU at 00:00.2 for buses 0 to 3, an I/O APIC. */
const apu2 = (): Uint8Array =>
  encodeIvrs({
    header: { oemId: "CORE", oemTableId: "COREBOOT" },
    physicalAddressSize: 40,
    virtualAddressSize: 64,
    structures: [{ name: "IVHD", type: 0x10, deviceId: 0x0002, capabilityOffset: 0x40, registerBase: 0xf7f0_0000, features: 0x80048, entries: [{ name: "range-start", deviceId: 0x0008, type: 0x03 }, { name: "range-end", deviceId: 0x03ff, type: 0x04 }, { name: "special", handle: 4, sourceId: 0x00a0, variety: 1, type: 0x48 }] }],
  });

/** S25: will it work? */
export const willItWork: Scenario = {
  name: "will-it-work",
  title: "Will it work?",
  about: "The first source document's own board, with the processor that cannot, the firmware that does not, the kernel that was not told, and finally all in place; an apu2's table; hosts of other kinds; and a script that looks for one word.",
  covers: ["R18", "R38", "R70", "R71", "R73", "R74", "R75", "R76", "R77", "R78", "R79", "R80", "R81"],
  protections: { evidence: ["script-remapping-only", "script-rotated-log"] },
  run: (stage) => {
    const on = "quiet intel_iommu=on";
    const sandy = host({ dmar: false, files: { "proc/cpuinfo": cpuinfo("Intel(R) Core(TM) i7-2600K CPU @ 3.40GHz", SANDY_BRIDGE), "proc/cmdline": on } });
    const ivy = { "proc/cpuinfo": cpuinfo("Intel(R) Core(TM) i7-3770 CPU @ 3.40GHz", IVY_BRIDGE) };
    stage.say("A board with an i7-2600K: unlocked, and without VT-d. No firmware update will help.");
    stage.check("i7-2600K", { protected: false, expected: "fail", actual: ask(sandy, "HOST-001").status });
    stage.check("i7-2600K-is-the-processor", { protected: true, expected: true, actual: ask(sandy, "HOST-001").words.includes('2600K') });
    const off = ask(host({ dmar: false, files: { ...ivy, "proc/cmdline": on } }), "HOST-001");
    stage.check("i7-3770-old-firmware", { protected: false, expected: "fail", actual: off.status });
    stage.check("i7-3770-is-the-firmware", { protected: true, expected: true, actual: /firmware|BIOS|setup/i.test(off.words) });
    stage.say("An i7-3770 in its place: the processor can, firmware shows no table. That one is for the setup, or for an update.");
    stage.check("option-missing", { protected: false, expected: "fail", actual: ask(host({ dmar: true, files: { ...ivy, "proc/cmdline": "quiet" } }), "HOST-002").status });
    const ready = host({ dmar: true, files: { ...ivy, "proc/cmdline": on, "dmesg.txt": UP } });
    stage.check("all-in-place", { protected: true, expected: ["pass", "pass", "pass"], actual: ["HOST-001", "HOST-002", "HOST-005"].map((id) => ask(ready, id).status) });
    stage.say("After the update there is a DMAR table; with intel_iommu=on the kernel uses it.");
    stage.check("no-virtualization", { protected: false, expected: "fail", actual: ask(host({ dmar: true, files: { "proc/cpuinfo": cpuinfo("Intel(R) Core(TM) i7-3770 CPU @ 3.40GHz", IVY_BRIDGE, "fpu sse2"), "proc/cmdline": on } }), "HOST-014").status });
    stage.check("amd_iommu=on", { protected: false, expected: "fail", actual: ask(host({ dmar: true, files: { ...ivy, "proc/cmdline": `${on} amd_iommu=on` } }), "HOST-004").status });
    stage.say("amd_iommu=on, which both English and Chinese guides give, is no option: the kernel says so and goes on.");
    otherKinds(stage);
    scripts(stage, ivy);
    tables(stage);
    const report = makeReport(ready, diagnose(ready), { worked: "yes" });
    stage.check("report-reads-back", { protected: true, expected: true, actual: JSON.stringify(parseReport(JSON.parse(JSON.stringify(report)))) === JSON.stringify(report) });
  },
};

type Stage = Parameters<Scenario["run"]>[0];

/** Other architectures have IOMMUs too; these rules are not theirs. */
const otherKinds = (stage: Stage): void => {
  const kinds = [
    { id: "smmu-out-of-scope", cpuinfo: "processor\t: 0\nCPU implementer\t: 0x41\n", log: "[    1.000000] arm-smmu-v3 2b400000.smmu: ias 44-bit, oas 44-bit\n" },
    { id: "tce-out-of-scope", cpuinfo: "processor\t: 0\ncpu\t\t: POWER9 (architected), altivec supported\n", log: "[    0.700000] PCI: Probing PCI hardware\n[    0.800000] pci_bus 0000:01: Configuring PE for bus\n" },
  ];
  for (const { id, cpuinfo: processor, log } of kinds) {
    const judged = ask(host({ dmar: false, files: { "proc/cpuinfo": processor, "proc/cmdline": "quiet", "dmesg.txt": log } }), "HOST-001");
    stage.check(id, { protected: true, expected: ["unknown", true], actual: [judged.status, judged.words.includes('another kind')] });
  }
  stage.say("Hosts with an Arm SMMU or POWER's TCE are named as what they are: out of scope, not without an IOMMU.");
};

/** The script of the third document beside the rules. */
const scripts = (stage: Stage, ivy: Readonly<Record<string, string>>): void => {
  const cases = [
    { id: "script-remapping-only", log: REMAPPING_ONLY, line: "quiet", truth: false },
    { id: "script-rotated-log", log: ROTATED, line: "quiet intel_iommu=on", truth: true },
  ];
  for (const { id, log, line, truth } of cases) {
    const dmar = host({ dmar: true, files: { ...ivy, "proc/cmdline": line, "dmesg.txt": log } });
    const ours = ask(dmar, "HOST-002").status === "pass";
    stage.check(id, { protected: true, expected: truth, actual: stage.has("evidence") ? ours : script(log) });
    stage.check(`${id}-by-the-word`, { protected: false, expected: !truth, actual: script(log) });
  }
  stage.say('A script that looks for "enabled" in the log says yes where only interrupts are remapped, and no once the log has rotated.');
};

const tables = (stage: Stage): void => {
  const bytes = apu2();
  const again = encodeIvrs(decodeIvrs(bytes));
  const [unit] = decodeIvrsUnits(bytes).units;
  const nics = [0x0100, 0x0200, 0x0300];
  stage.check("apu2-round-trip", { protected: true, expected: bytes.length, actual: again.filter((byte, i) => byte === bytes[i]).length });
  stage.check("apu2-covers-its-network-cards", { protected: true, expected: nics.length, actual: nics.filter((id) => unit?.ranges.some(({ first, last }) => first <= id && id <= last)).length });
  stage.say("An IVRS table like the apu2's: read and written again it is the same, and its three network cards are in it.");
};
