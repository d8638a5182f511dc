/**
 * What firmware gets wrong in DMAR tables, by name, and what follows from it. `error`: operating systems refuse the
 * structure or the table, or a device loses its DMA; `warning`: they work around it; `note`: allowed, but worth knowing.
 */
export const DIAGNOSES = {
  "table-checksum-wrong": ["error", "Operating systems that check it ignore the whole table."],
  "table-length-wrong": ["error", "Structures may be missing, or bytes that are no structures may be read as some."],
  "table-trailing-bytes": ["note", "Nothing reads them."],
  "host-address-width-implausible": ["warning", "x86 processors name 32 to 52 bits; Linux refuses a width below a page, and maps no reserved region above the width."],
  "x2apic-opt-out": ["note", "The kernel stays in xAPIC mode (at most 255 processors) unless told intremap=no_x2apic_optout."],
  "x2apic-opt-out-without-remapping": ["warning", "The flag has a meaning only with interrupt remapping."],
  "reserved-nonzero": ["warning", "Today's software ignores these bits; a later specification may give them a meaning that was not meant."],
  "structure-length-zero": ["error", "A reader that trusts it never ends; Linux stops reading here."],
  "structure-overruns-table": ["error", "It and everything after it cannot be read."],
  "structure-too-short": ["error", "Its fields are not all there, so it is ignored."],
  "structure-type-unknown": ["note", "Software that does not know the type skips it by its length."],
  "structures-out-of-order": ["warning", "Structures are to stand in the order of their types; software that reads once may miss a unit it needs first."],
  "scope-length-invalid": ["error", "The device it should name, and those after it, are not found."],
  "scope-type-unknown": ["warning", "The device is not found under its unit."],
  "scope-type-misplaced": ["warning", "Scopes of this type say nothing in this structure and are ignored."],
  "scope-path-empty": ["error", "It names no device."],
  "scope-path-impossible": ["error", "A bus has devices 0 to 31 with functions 0 to 7, so it names no device."],
  "scope-namespace-undeclared": ["error", "Nothing ties the number to a device of the ACPI namespace, so that device's DMA is not translated."],
  "drhd-missing": ["error", "Without a unit there is no IOMMU; Linux says that no DMAR devices were found."],
  "drhd-base-zero": ["error", "There is no unit at address 0: Linux reports a broken BIOS and turns the IOMMU off."],
  "drhd-base-all-ones": ["error", "The address was never filled in; reads there return all ones and Linux turns the IOMMU off."],
  "drhd-base-unaligned": ["error", "A register window starts on a page; the registers are not where the table says."],
  "drhd-base-beyond-width": ["error", "The processor cannot name the address, so the unit's registers cannot be reached."],
  "drhd-windows-overlap": ["error", "Two units cannot share registers; one of the entries is a leftover, and its devices are served by the wrong unit."],
  "drhd-include-all-not-last": ["warning", "Software that takes the first unit that matches gives the devices of the later units to this one."],
  "drhd-include-all-repeated": ["error", "Only one unit of a segment can have all the rest; which one does is left to chance."],
  "drhd-include-all-names-pci": ["note", "The unit has the function anyway; the scope is ignored."],
  "drhd-serves-nothing": ["error", "The unit has no scope and not the rest of the segment either; Linux ignores it, and its devices are not translated."],
  "device-in-two-drhds": ["error", "One unit sees the device's requests, software may program the other."],
  "ioapic-missing": ["error", "Interrupt remapping needs to know every I/O APIC's source ID; Linux then leaves interrupt remapping off, and passthrough is refused as unsafe."],
  "ioapic-repeated": ["error", "An I/O APIC sends under one source ID; with two, its interrupts may be blocked."],
  "rmrr-limit-below-base": ["error", "The region ends before it starts; Linux reports a broken BIOS and ignores it, and the device's firmware DMA faults."],
  "rmrr-unaligned": ["error", "Regions are whole pages of 4 KiB; Linux reports a bad RMRR."],
  "rmrr-beyond-width": ["error", "The region cannot be mapped within the host address width."],
  "rmrr-scope-missing": ["error", "A region that no device is named for is mapped for none."],
  "rmrr-in-interrupt-range": ["error", "Writes from FEE00000h to FEEFFFFFh are interrupts and never reach memory."],
  "rmrr-over-registers": ["error", "A device could program the IOMMU that should confine it."],
  "rmrr-overlap": ["warning", "Regions of one device overlap; when one is unmapped the other loses pages."],
  "rhsa-unit-unknown": ["warning", "Linux reports a broken BIOS; the affinity is lost and the unit's tables may lie on a far node."],
  "rhsa-repeated": ["warning", "A unit has one proximity domain; the later entry wins."],
  "andd-name-malformed": ["error", "The name does not lead to a device of the ACPI namespace, so that device's DMA is not translated."],
  "andd-number-repeated": ["error", "Scopes name devices by number; the second one cannot be found."],
  "andd-unused": ["warning", "No unit has a scope with its number, so nothing says who translates its DMA."],
  "atsr-serves-nothing": ["warning", "It enables ATS for no port."],
  "atsr-scope-superfluous": ["note", "All ports are meant already; the scopes are ignored."],
  "satc-serves-nothing": ["warning", "It names no device."],
  "segment-without-drhd": ["error", "No unit serves the segment, so the structure means nothing."],
} as const satisfies Readonly<Record<string, readonly ["error" | "warning" | "note", string]>>;

/** Stable name of a finding. */
export type DiagnosisId = keyof typeof DIAGNOSES;

/** A finding about a table. */
export interface Diagnosis {
  readonly id: DiagnosisId;
  readonly severity: "error" | "warning" | "note";
  /** Byte offset in the table. */
  readonly offset: number;
  /** What is wrong there, and what it means. */
  readonly text: string;
}

/** A finding with its consequence behind the observation. */
export const diagnosis = (id: DiagnosisId, offset: number, observation: string): Diagnosis => ({ id, severity: DIAGNOSES[id][0], offset, text: `${observation} ${DIAGNOSES[id][1]}` });
