import { big, hex, lineOf, type LineFormat, type LineResult } from "@iommu-lab/pci-bus/decode";
import { decodeRegister } from "./registers.ts";

const registers = (offset: number, efr: string | undefined, efr2: string | undefined): LineResult => {
  const told = [decodeRegister("EFR", big(efr), offset), ...(efr2 === undefined ? [] : [decodeRegister("EFR2", big(efr2), offset)])];
  return { structures: told.map(({ structure }) => structure), findings: told.flatMap(({ findings }) => findings) };
};

/** Names of the entry kinds of a table dump (amd_iommu_dump), and how they look in a table. */
const ENTRIES: Readonly<Record<string, string>> = {
  DEV_ALL: "all",
  DEV_SELECT: "select",
  DEV_SELECT_RANGE_START: "range-start",
  DEV_RANGE_END: "range-end",
  DEV_ALIAS: "alias-select",
  DEV_ALIAS_RANGE: "alias-range-start",
  DEV_EXT_SELECT: "extended-select",
  DEV_EXT_RANGE: "extended-range-start",
  DEV_SPECIAL: "special",
  DEV_ACPI_HID: "acpi-device",
};

/** What the driver reports about the IVRS table and its IOMMUs while it starts. */
export const BOOT_LINES: readonly LineFormat[] = [
  { pattern: /AMD-Vi: {1,4}Extended features \((?:0x)?([0-9a-f]{1,16})(?:, {0,2}(?:0x)?([0-9a-f]{1,16}))?\)/i, read: ([, efr, efr2], offset) => registers(offset, efr, efr2) },
  {
    // Up to Linux 4.18 without the value.
    pattern: /AMD-Vi: {1,4}Extended features: {1,4}([A-Za-z0-9_ [\]]{1,200})/,
    read: ([, names = ""], offset) => {
      const printed = names.trim().split(/ +/).slice(0, 64);
      return lineOf("extended features", offset, { printed }, [`The IOMMU has ${printed.join(", ")}.`]);
    },
  },
  { pattern: /Using global IVHD EFR: ?(?:0x)?([0-9a-f]{1,16}), EFR2: ?(?:0x)?([0-9a-f]{1,16})/i, read: ([, efr, efr2], offset) => registers(offset, efr, efr2) },
  {
    pattern: /EFR mismatch\. Use IVHD EFR \((?:0x)?([0-9a-f]{1,16}) : (?:0x)?([0-9a-f]{1,16})\)/i,
    read: ([, ivhd, register], offset) => {
      const facts = { ivhd: big(ivhd), register: big(register), different: big(ivhd) ^ big(register) };
      const text = `The IVRS table says features ${hex(facts.ivhd)}, the register ${hex(facts.register)}; the kernel believes the table.`;
      return lineOf("extended features differ", offset, facts, [text], [{ id: "efr-mismatch", offset, text }]);
    },
  },
  {
    pattern: /(?:\b([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]): )?AMD-Vi: Found IOMMU (?:at ([0-9a-f:.]{7,12}) )?cap (?:0x)?([0-9a-f]{1,4})/i,
    read: ([, prefix, place, cap], offset) => lineOf("IOMMU", offset, { device: place ?? prefix ?? null, capabilityOffset: Number(big(cap)) }, [`${place ?? prefix ?? "A function"} is an IOMMU, its capability is at ${hex(big(cap))}.`]),
  },
  {
    pattern: /ivrs, add hid:(\S{1,16}), uid:(\S{0,64}), rdevid:(?:0x)?([0-9a-f]{1,4})\b/i,
    read: ([, hid = "", uid = "", id], offset) => lineOf("ACPI device", offset, { hid, uid, deviceId: Number(big(id)) }, [`The ACPI device ${hid} sends under DeviceID ${hex(big(id))}.`]),
  },
  { pattern: /AMD-Vi: Using IVHD type (?:0x)?([0-9a-f]{1,2})/i, read: ([, type], offset) => lineOf("IVHD type", offset, { type: Number(big(type)) }, [`Of the table's blocks those of type ${big(type).toString(16)}h count.`]) },
  {
    pattern: /AMD-Vi: {0,2}device: ((?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) cap: ([0-9a-f]{1,4}) (?:seg: (\d{1,5}) )?flags: ([0-9a-f]{1,2}) info:? ([0-9a-f]{1,4})/i,
    read: ([, device = "", cap, segment, flags, info], offset) => lineOf("IVHD", offset, { device, capabilityOffset: Number(big(cap)), segment: segment === undefined ? null : Number(segment), flags: Number(big(flags)), info: Number(big(info)) }, [`The table defines the IOMMU ${device}.`]),
  },
  { pattern: /AMD-Vi:\s{1,16}mmio-addr: (?:0x)?([0-9a-f]{1,16})/i, read: ([, base], offset) => lineOf("IVHD registers", offset, { registerBase: big(base) }, [`Its registers are at ${hex(big(base))}.`]) },
  {
    pattern: /\b(DEV_(?:ALL|SELECT_RANGE_START|SELECT|RANGE_END|ALIAS_RANGE|ALIAS|EXT_SELECT|EXT_RANGE|SPECIAL|ACPI_HID))\b(?:\(([A-Za-z0-9[\]]{1,24})\))?(?:\s{1,40}(?:devid: )?((?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]))?/,
    read: ([, kind = "", what, device], offset) => lineOf("device entry", offset, { entry: ENTRIES[kind] ?? kind, of: what ?? null, device: device ?? null }, []),
  },
  { pattern: /\bAMD-Vi: (Lazy IO\/TLB flushing|IO\/TLB flush on unmap) enabled/i, read: ([, how = ""], offset) => lineOf("invalidation", offset, { lazy: /lazy/i.test(how) }, []) },
  { pattern: /\bAMD-Vi: V2 page table enabled(?: \(Paging mode : (\d) level\))?/i, read: ([, levels], offset) => lineOf("page tables", offset, { format: "v2", levels: levels === undefined ? null : Number(levels) }, ["The driver uses guest (v2) page tables."]) },
];

/** Lines that say one thing. */
export const LINE_NOTES: readonly { readonly id: string; readonly pattern: RegExp; readonly text: string; readonly finding: boolean }[] = [
  { id: "ioapic-not-in-ivrs", pattern: /IOAPIC\[\d{1,4}\] not in IVRS table/i, text: "Firmware's IVRS table lacks an I/O APIC: interrupt remapping stays off, and the kernel assigns no device. Look for a firmware update, or name it with ivrs_ioapic=.", finding: true },
  { id: "southbridge-ioapic-missing", pattern: /No southbridge IOAPIC found/i, text: "Firmware's IVRS table has no I/O APIC at 00:14.0: interrupt remapping stays off, and the kernel assigns no device.", finding: true },
  { id: "interrupt-remapping-off", pattern: /AMD-Vi: Disabling interrupt remapping/i, text: "Interrupts are not remapped: assigned devices could forge interrupts, so the kernel assigns none.", finding: true },
  { id: "ivrs-checksum", pattern: /IVRS invalid checksum|IVRS table error/i, text: "Firmware's IVRS table is damaged: the IOMMU stays off.", finding: true },
  { id: "completion-wait-timeout", pattern: /Completion-Wait loop timed out/i, text: "The IOMMU did not finish its commands in time: it hangs, or waits for a device's translation cache (ATS) that does not answer.", finding: true },
  { id: "command-buffer-timeout", pattern: /AMD-Vi: Command buffer timeout/i, text: "The command buffer stayed full: the IOMMU takes no more commands.", finding: true },
  { id: "event-log-overflow", pattern: /IOMMU [Ee]vent [Ll]og (?:overflow|restarting)/, text: "Faults came faster than the kernel read them: some are lost.", finding: true },
  { id: "ppr-log-overflow", pattern: /IOMMU PPR [Ll]og (?:overflow|restarting)/, text: "Page requests came faster than the kernel read them.", finding: true },
  { id: "ga-log-overflow", pattern: /IOMMU GA [Ll]og (?:overflow|restarting)/, text: "Interrupts for guests that are not running came faster than the kernel read them.", finding: true },
  { id: "events-suppressed", pattern: /(?:amd_iommu_report_page_fault|iommu_print_event|amd_iommu_int_thread\w{0,16}): \d{1,9} callbacks suppressed/i, text: "There were more faults; the kernel did not print them all.", finding: true },
  { id: "option-unknown", pattern: /AMD-Vi: Unknown option - '/i, text: "amd_iommu= has no such value, and \"on\" is none: the IOMMU is on without it.", finding: true },
  { id: "translation-copied", pattern: /AMD-Vi: Translation is already enabled/i, text: "The kernel before this one left the IOMMU on (kexec or kdump).", finding: false },
  { id: "interrupt-remapping", pattern: /AMD-Vi: Interrupt remapping enabled/i, text: "Interrupts are remapped.", finding: false },
  { id: "virtual-apic", pattern: /AMD-Vi: Virtual APIC enabled/i, text: "Interrupts can be posted into running guests.", finding: false },
  { id: "x2apic", pattern: /AMD-Vi: X2APIC enabled/i, text: "Interrupts can go to 32-bit APIC identifiers.", finding: false },
  { id: "pass-through", pattern: /AMD-Vi: Initialized for Passthrough Mode/i, text: "Devices of the host are not translated (iommu=pt); assigned ones are.", finding: false },
  { id: "strict-mode", pattern: /AMD-Vi: Using strict mode due to virtualization/i, text: "Every unmapping is flushed at once: the IOMMU is a virtual one.", finding: false },
  { id: "iommuv2-missing", pattern: /AMD IOMMUv2 functionality not available on this system/i, text: "Sharing page tables with processes (PASIDs) is not possible; nothing else needs that.", finding: false },
];
