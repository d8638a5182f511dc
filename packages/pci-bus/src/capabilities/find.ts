import { CARDBUS_CAPABILITIES_POINTER, CONVENTIONAL_SIZE, FIRST_CAPABILITY, FIRST_EXTENDED, HeaderOffset } from "../config/offsets.ts";

/** Hops after which a conventional list must have come round: every capability takes at least 4 of 192 bytes. */
export const LONGEST_LIST = (CONVENTIONAL_SIZE - FIRST_CAPABILITY) / 4;
/** The same for extended capabilities: 4 of 3840 bytes. */
export const LONGEST_EXTENDED_LIST = (0x1000 - FIRST_EXTENDED) / 4;

const PCI_X = 0x07;
const PCI_EXPRESS = 0x10;
const CARDBUS = 2;

/** Where the list of capabilities begins: its first pointer without the two reserved bits, 0 when there is no list. Never throws. */
export const firstCapability = (bytes: Uint8Array): number => {
  if (bytes.length < FIRST_CAPABILITY || (bytes[HeaderOffset.Status]! & 0x10) === 0) return 0;
  const at = (bytes[HeaderOffset.HeaderType]! & 0x7f) === CARDBUS ? CARDBUS_CAPABILITIES_POINTER : HeaderOffset.CapabilitiesPointer;
  return bytes[at]! & 0xfc;
};

/**
 * Offset of the first capability with this id in a function's configuration bytes, 0 when there is none or it cannot be seen.
 * Takes bytes of any length and contents: broken lists end where they break. Allocates nothing. PCIe §7.5.1.1.11.
 */
export const findCapability = (bytes: Uint8Array, id: number): number => {
  let at = firstCapability(bytes);
  for (let hops = 0; hops < LONGEST_LIST && at >= FIRST_CAPABILITY && at + 1 < bytes.length; hops++) {
    const found = bytes[at]!;
    if (found === 0xff) return 0;
    if (found === id) return at;
    at = bytes[at + 1]! & 0xfc;
  }
  return 0;
};

/**
 * Whether the function has extended configuration space: a PCI Express or PCI-X capability, and something else than
 * all ones or zero at 0x100, which is how an absent space reads.
 */
export const hasExtendedSpace = (bytes: Uint8Array): boolean => {
  if (bytes.length < FIRST_EXTENDED + 4 || (findCapability(bytes, PCI_EXPRESS) === 0 && findCapability(bytes, PCI_X) === 0)) return false;
  const first = (bytes[FIRST_EXTENDED]! | (bytes[FIRST_EXTENDED + 1]! << 8) | (bytes[FIRST_EXTENDED + 2]! << 16) | (bytes[FIRST_EXTENDED + 3]! << 24)) >>> 0;
  return first !== 0xffff_ffff && first !== 0;
};

/** Offset of the first extended capability with this id, 0 when there is none or it cannot be seen. As tolerant as `findCapability`. PCIe §7.6.2. */
export const findExtendedCapability = (bytes: Uint8Array, id: number): number => {
  if (!hasExtendedSpace(bytes)) return 0;
  let at = FIRST_EXTENDED;
  for (let hops = 0; hops < LONGEST_EXTENDED_LIST && at >= FIRST_EXTENDED && at + 3 < bytes.length; hops++) {
    const found = bytes[at]! | (bytes[at + 1]! << 8);
    if (found === 0xffff) return 0;
    if (found === id) return at;
    at = ((bytes[at + 2]! >>> 4) | (bytes[at + 3]! << 4)) & 0xffc;
  }
  return 0;
};

/** The Device/Port Type of a function's PCI Express capability (see `PcieType`), -1 when it has none or it cannot be seen. PCIe §7.5.3.2. */
export const pcieType = (bytes: Uint8Array): number => {
  const at = findCapability(bytes, PCI_EXPRESS);
  return at === 0 || at + 3 >= bytes.length ? -1 : bytes[at + 2]! >>> 4;
};
