import { bit, bits, layout } from "@iommu-lab/memory/layout";

/** I/O APIC redirection table entry in compatibility format. Intel 82093AA §3.2.4; bits 55:48 as in the ICH. */
export const IO_APIC_ENTRY = layout("I/O APIC redirection entry", 64, "Intel 82093AA §3.2.4", {
  INTVEC: bits(7, 0, "Interrupt vector"),
  DELMOD: bits(10, 8, "Delivery mode", { 0: "fixed", 1: "lowest priority", 2: "SMI", 4: "NMI", 5: "INIT", 7: "ExtINT" }),
  DESTMOD: bit(11, "Destination mode", { 0: "physical", 1: "logical" }),
  DELIVS: bit(12, "Delivery status", { 0: "idle", 1: "send pending" }),
  INTPOL: bit(13, "Input polarity", { 0: "active high", 1: "active low" }),
  RIRR: bit(14, "Remote IRR: accepted, and not yet ended by an EOI"),
  TRIGGER: bit(15, "Trigger mode", { 0: "edge", 1: "level" }),
  MASK: bit(16, "Masked"),
  EDID: bits(55, 48, "Extended destination; bit 48 chooses the remappable format where VT-d remaps"),
  DEST: bits(63, 56, "Destination APIC ID, or a mask of processors in logical mode"),
});

/** Low word of an entry. A test compares the masks with the layout. */
export const VECTOR = 0xff;
export const DELIVERY_MODE = 0x700;
export const LOGICAL = 0x800;
export const PENDING = 0x1000;
export const REMOTE_IRR = 0x4000;
export const LEVEL = 0x8000;
export const MASKED = 0x1_0000;
/** What software may write; the rest is read-only or reserved. */
export const WRITABLE_LOW = 0x1_afff;
export const WRITABLE_HIGH = 0xffff_0000;

const LOWEST_PRIORITY = 0x100;

/** SMI, NMI, INIT and ExtINT are edge-triggered whatever the entry says. Intel 82093AA §3.2.4. */
export const isLevel = (low: number): boolean => (low & LEVEL) !== 0 && (low & DELIVERY_MODE) <= LOWEST_PRIORITY;

/**
 * Address of the message that an entry sends: bits 63:48 of the entry, the destination mode and the redirection hint go
 * where a message has them. With bit 48 set this is the remappable format, without a case of its own. VT-d §5.1.5.1.
 */
export const messageAddress = (low: number, high: number): number => (0xfee0_0000 | ((high >>> 12) & 0xf_fff0) | ((low & DELIVERY_MODE) === LOWEST_PRIORITY ? 8 : 0) | ((low & LOGICAL) === 0 ? 0 : 4)) >>> 0;

/** Its data: an assertion of the vector. */
export const messageData = (low: number): number => (low & (VECTOR | DELIVERY_MODE)) | 0x4000 | (isLevel(low) ? LEVEL : 0);
