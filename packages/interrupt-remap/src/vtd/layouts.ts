import { bit, bits, layout } from "@iommu-lab/memory/layout";

/** Address of an interrupt request in remappable format. VT-d §5.1.2.2 "Interrupt Requests in Remappable Format". */
export const REMAPPABLE_ADDRESS = layout("interrupt request address, remappable format", 32, "VT-d §5.1.2.2", {
  DontCare: bits(1, 0, "Not looked at"),
  HANDLE_15: bit(2, "Handle, bit 15"),
  SHV: bit(3, "Subhandle valid: the data's subhandle is added to the handle"),
  Format: bit(4, "Interrupt format", { 0: "compatibility", 1: "remappable" }),
  HANDLE_14_0: bits(19, 5, "Handle, bits 14:0"),
  Base: bits(31, 20, "FEEh"),
});

/** Data of an interrupt request in remappable format with SHV=1; without SHV the data says nothing. VT-d §5.1.2.2. */
export const REMAPPABLE_DATA = layout("interrupt request data, remappable format", 32, "VT-d §5.1.2.2", { SUBHANDLE: bits(15, 0, "Added to the handle") });

/** I/O APIC redirection entry in remappable format. VT-d §5.1.5.1 "I/OxAPIC Programming". */
export const IO_APIC_ENTRY_REMAPPABLE = layout("I/O APIC redirection entry, remappable format", 64, "VT-d §5.1.5.1", {
  V: bits(7, 0, "Vector, the same as in the IRTE: the EOI message is compared with it"),
  INDEX_15: bit(11, "Interrupt index, bit 15"),
  DS: bit(12, "Delivery status", { 0: "idle", 1: "send pending" }),
  IP: bit(13, "Interrupt polarity", { 0: "active high", 1: "active low" }),
  RIRR: bit(14, "Remote IRR: accepted, and not yet ended by an EOI"),
  TM: bit(15, "Trigger mode", { 0: "edge", 1: "level" }),
  MASK: bit(16, "Masked"),
  Format: bit(48, "Interrupt format", { 0: "compatibility", 1: "remappable" }),
  INDEX_14_0: bits(63, 49, "Interrupt index, bits 14:0"),
});

const VERIFICATION = {
  SID: bits(79, 64, "Source identifier: requester ID, or first and last bus"),
  SQ: bits(81, 80, "Source-id qualifier", { 0: "all bits", 1: "without bit 2", 2: "without bits 2:1", 3: "without bits 2:0" }),
  SVT: bits(83, 82, "Source validation type", { 0: "none", 1: "requester ID", 2: "bus range", 3: "reserved" }),
} as const;

const REMAPPED = {
  P: bit(0, "Present"),
  FPD: bit(1, "Fault processing disable: qualified faults are not recorded"),
  DM: bit(2, "Destination mode", { 0: "physical", 1: "logical" }),
  RH: bit(3, "Redirection hint"),
  TM: bit(4, "Trigger mode", { 0: "edge", 1: "level" }),
  DLM: bits(7, 5, "Delivery mode", { 0: "fixed", 1: "lowest priority", 2: "SMI", 4: "NMI", 5: "INIT", 7: "ExtINT" }),
  AVAIL: bits(11, 8, "Available to software"),
  IM: bit(15, "IRTE mode", { 0: "remapped", 1: "posted" }),
  V: bits(23, 16, "Vector"),
} as const;

/** Interrupt remapping table entry for remapped interrupts in x2APIC mode (EIME=1). VT-d §9.9. */
export const IRTE_REMAPPED = layout("IRTE, remapped", 128, "VT-d §9.9", { ...REMAPPED, DST: bits(63, 32, "Destination APIC ID"), ...VERIFICATION });

/** The same in xAPIC mode (EIME=0), where the destination has 8 bits. VT-d §9.9. */
export const IRTE_REMAPPED_XAPIC = layout("IRTE, remapped, xAPIC mode", 128, "VT-d §9.9", { ...REMAPPED, DST: bits(47, 40, "Destination APIC ID"), ...VERIFICATION });

/** Interrupt remapping table entry for posted interrupts. VT-d §9.10. */
export const IRTE_POSTED = layout("IRTE, posted", 128, "VT-d §9.10", {
  P: bit(0, "Present"),
  FPD: bit(1, "Fault processing disable: qualified faults are not recorded"),
  AVAIL: bits(11, 8, "Available to software"),
  URG: bit(14, "Urgent: notifies even where notifications are suppressed"),
  IM: bit(15, "IRTE mode", { 0: "remapped", 1: "posted" }),
  VV: bits(23, 16, "Virtual vector"),
  PDAL: bits(63, 38, "Posted descriptor address, bits 31:6"),
  ...VERIFICATION,
  PDAH: bits(127, 96, "Posted descriptor address, bits 63:32"),
});

const PIR = {
  PIR0: bits(31, 0, "Requests of virtual vectors 0 to 31"),
  PIR1: bits(63, 32, "Requests of virtual vectors 32 to 63"),
  PIR2: bits(95, 64, "Requests of virtual vectors 64 to 95"),
  PIR3: bits(127, 96, "Requests of virtual vectors 96 to 127"),
  PIR4: bits(159, 128, "Requests of virtual vectors 128 to 159"),
  PIR5: bits(191, 160, "Requests of virtual vectors 160 to 191"),
  PIR6: bits(223, 192, "Requests of virtual vectors 192 to 223"),
  PIR7: bits(255, 224, "Requests of virtual vectors 224 to 255"),
  ON: bit(256, "Outstanding notification: one was sent and not yet taken"),
  SN: bit(257, "Suppress notification, unless urgent"),
  NV: bits(279, 272, "Notification vector"),
} as const;

/** Posted-interrupt descriptor in x2APIC mode, 64 bytes on a 64-byte border. VT-d §9.11. */
export const POSTED_INTERRUPT_DESCRIPTOR = layout("posted-interrupt descriptor", 512, "VT-d §9.11", { ...PIR, NDST: bits(319, 288, "Notification destination, physical APIC ID") });

/** The same in xAPIC mode (EIME=0), where the destination has 8 bits. VT-d §9.11. */
export const POSTED_INTERRUPT_DESCRIPTOR_XAPIC = layout("posted-interrupt descriptor, xAPIC mode", 512, "VT-d §9.11", { ...PIR, NDST: bits(303, 296, "Notification destination, physical APIC ID") });
