/**
 * Masks for the remapping path on the 32-bit words of an IRTE and of a posted-interrupt descriptor.
 * A test compares every one with the layouts.
 */

/** IRTE word 0. */
export const PRESENT = 0x1;
export const FAULT_PROCESSING_DISABLE = 0x2;
export const LOGICAL = 0x4;
export const REDIRECTION_HINT = 0x8;
export const LEVEL = 0x10;
export const URGENT = 0x4000;
export const POSTED = 0x8000;
export const DELIVERY_MODE_SHIFT = 5;
export const VECTOR_SHIFT = 16;

/** IRTE word 2. */
export const QUALIFIER_SHIFT = 16;
export const VALIDATION_SHIFT = 18;

/** Bits of an IRTE for remapped interrupts that must be zero; word 1 has some in xAPIC mode only. */
export const REMAPPED_RESERVED_0 = 0xff00_7000;
export const REMAPPED_RESERVED_1_XAPIC = 0xffff_00ff;
export const REMAPPED_RESERVED_3 = 0xffff_ffff;
/** Bits of an IRTE for posted interrupts that must be zero. */
export const POSTED_RESERVED_0 = 0xff00_30fc;
export const POSTED_RESERVED_1 = 0x0000_003f;
/** Word 2 is the same in both. */
export const RESERVED_2 = 0xfff0_0000;

/** Posted descriptor address bits 31:6 in word 1 of an IRTE. */
export const DESCRIPTOR_ADDRESS_LOW = 0xffff_ffc0;

/** Posted-interrupt descriptor: words 0 to 7 are PIR, word 8 is control, word 9 the destination. */
export const CONTROL_WORD = 8;
export const DESTINATION_WORD = 9;
export const DESCRIPTOR_WORDS = 16;
export const OUTSTANDING = 0x1;
export const SUPPRESSED = 0x2;
export const NOTIFICATION_VECTOR_SHIFT = 16;
export const CONTROL_RESERVED = 0xff00_fffc;
export const DESTINATION_RESERVED_XAPIC = 0xffff_00ff;
