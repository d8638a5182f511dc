/**
 * What firmware gets wrong in IVRS tables, by name, and what follows from it. `error`: operating systems refuse the
 * block or the table, or a device loses its DMA; `warning`: they work around it; `note`: allowed, but worth knowing.
 */
export const DIAGNOSES = {
  "table-checksum-wrong": ["error", "Linux reports an invalid checksum and leaves the IOMMU off."],
  "table-length-wrong": ["error", "Blocks may be missing, or bytes that are no blocks may be read as some."],
  "table-trailing-bytes": ["note", "Nothing reads them."],
  "revision-unknown": ["warning", "Revision 1 has blocks of the fixed types, revision 2 also those from 40h on."],
  "revision-too-low": ["warning", "Software that goes by the revision does not look for blocks of type 40h and above."],
  "physical-address-size-implausible": ["warning", "AMD processors name 32 to 52 bits."],
  "virtual-address-size-implausible": ["warning", "Device addresses have 32 to 64 bits."],
  "reserved-nonzero": ["warning", "Today's software ignores these bits; a later specification may give them a meaning that was not meant."],
  "structure-length-zero": ["error", "A reader that trusts it never ends."],
  "structure-overruns-table": ["error", "It and everything after it cannot be read."],
  "structure-too-short": ["error", "Its fields are not all there, so it is ignored."],
  "structure-type-unknown": ["note", "Software that does not know the type skips it by its length."],
  "ivhd-missing": ["error", "Without such a block there is no IOMMU."],
  "ivhd-repeated": ["error", "One of the blocks is a leftover; which one counts is left to chance."],
  "ivhd-out-of-order": ["warning", "Blocks for one IOMMU are to stand in the order of their types: Linux uses the type of the last one that it finds."],
  "ivhd-blocks-differ": ["error", "Software that knows different block types finds different IOMMUs."],
  "ivhd-base-zero": ["error", "There are no registers at address 0, so the IOMMU cannot be used."],
  "ivhd-base-all-ones": ["error", "The address was never filled in; reads there return all ones."],
  "ivhd-base-unaligned": ["error", "A register window is aligned to its size; the registers are not where the table says."],
  "ivhd-base-beyond-width": ["error", "The processor cannot name the address, so the registers cannot be reached."],
  "ivhd-windows-overlap": ["error", "Two IOMMUs cannot share registers; one of the blocks is a leftover."],
  "ivhd-capability-misplaced": ["error", "Linux reads the IOMMU's capability there, and finds something else."],
  "ivhd-serves-nothing": ["error", "No device is behind the IOMMU, so none is translated."],
  "features-contradict": ["warning", "Software that knows different block types believes in different features; the registers decide."],
  "efr-image-empty": ["warning", "Linux takes the features from the first block and believes there are none until it has read the register."],
  "counters-misplaced": ["note", "Software that wants the number reads it from the register."],
  "host-translation-disabled": ["note", "Firmware asks for guest (v2) page tables only."],
  "entry-length-invalid": ["error", "It and the entries after it cannot be read, so their devices are not found."],
  "entry-type-unknown": ["note", "Software that does not know the type skips it by its length."],
  "acpi-entry-misplaced": ["warning", "ACPI devices belong into blocks of type 40h; software for the older types stumbles over the entry's length."],
  "acpi-hid-empty": ["error", "It names no device, so that device's DMA is not translated."],
  "acpi-uid-malformed": ["error", "The device is not found by its unique ID; Linux ignores the entry."],
  "range-not-closed": ["error", "The devices from its start on are not found."],
  "range-end-alone": ["error", "Linux takes the range from device 0 or from an earlier start on, with the wrong settings."],
  "range-reversed": ["error", "It names no device."],
  "device-in-two-units": ["warning", "One IOMMU sees the device's requests; Linux programs the one whose block comes last."],
  "special-variety-unknown": ["warning", "It is neither an I/O APIC nor an HPET, and is ignored."],
  "special-repeated": ["error", "An I/O APIC or HPET sends under one DeviceID; with two, its interrupts may be blocked."],
  "ioapic-missing": ["error", "Linux then leaves interrupt remapping off, and passthrough is refused as unsafe."],
  "ioapic-not-in-southbridge": ["warning", "Linux looks for an I/O APIC that sends as 00:14.0, and without it leaves interrupt remapping off."],
  "ivmd-empty": ["error", "The range has no bytes; nothing is mapped."],
  "ivmd-unaligned": ["error", "Ranges are whole pages of 4 KiB."],
  "ivmd-wraps": ["error", "The range ends beyond the last address."],
  "ivmd-beyond-width": ["error", "The processor cannot name the addresses."],
  "ivmd-in-special-range": ["error", "Addresses there mean interrupts or HyperTransport messages and never reach memory."],
  "ivmd-over-registers": ["error", "A device could program the IOMMU that should confine it."],
  "ivmd-range-reversed": ["error", "It names no device."],
  "ivmd-no-access": ["error", "A range that may be neither read nor written serves nobody."],
  "ivmd-exclusion": ["note", "Linux maps the range one to one, readable and writable, and gives the device to no guest."],
  "ivmd-unity": ["note", "Linux keeps the mapping, and gives the device to no guest."],
  "ivmd-device-unserved": ["error", "No IOMMU has the device, so there is nothing to map the range in."],
  "segment-without-ivhd": ["error", "No IOMMU serves the segment, so the block means nothing."],
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
