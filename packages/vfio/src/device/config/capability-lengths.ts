/** Conventional capabilities that users do not see: debug port, CompactPCI resources, hot-plug, subsystem, AGP, secure device, enhanced allocation. */
export const HIDDEN_CONVENTIONAL: ReadonlySet<number> = new Set([0x00, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x14]);
/** Extended capabilities that users do not see: multi-root I/O virtualization, secondary PCIe, protocol multiplexing, PASID. */
export const HIDDEN_EXTENDED: ReadonlySet<number> = new Set([0x11, 0x19, 0x1a, 0x1b]);

const FIXED: Readonly<Record<number, number>> = { 0x01: 8, 0x02: 8, 0x03: 8, 0x04: 4, 0x06: 4, 0x07: 8, 0x08: 4, 0x11: 12, 0x12: 8, 0x13: 6 };

/** PCIe §7.5.3: version 1 ends where its type's registers end, version 2 has all of them. */
const expressLength = (bytes: Uint8Array, at: number): number => {
  const flags = bytes[at + 2] ?? 0;
  if ((flags & 0xf) >= 2) return 0x3c;
  const type = flags >> 4;
  return type === 9 ? 0x0c : type === 4 ? 0x24 : 0x14;
};

const msiLength = (bytes: Uint8Array, at: number): number => {
  const control = (bytes[at + 2] ?? 0) | ((bytes[at + 3] ?? 0) << 8);
  return (control & 0x80 ? 14 : 10) + (control & 0x100 ? 10 : 0);
};

/** Bytes of a conventional capability; 0 for one that nobody here knows. */
export const conventionalLength = (bytes: Uint8Array, at: number, id: number): number => {
  if (id === 0x05) return msiLength(bytes, at);
  if (id === 0x10) return expressLength(bytes, at);
  // A vendor's own says how long it is.
  if (id === 0x09) return Math.max(bytes[at + 2] ?? 0, 3);
  return FIXED[id] ?? 0;
};

const EXTENDED_FIXED: Readonly<Record<number, number>> = { 0x01: 0x48, 0x02: 0x1c, 0x03: 12, 0x04: 16, 0x0d: 8, 0x0e: 8, 0x0f: 8, 0x10: 0x40, 0x13: 16, 0x15: 56, 0x18: 8, 0x1e: 20, 0x1f: 12 };

/** Bytes of an extended capability; at least its header. */
export const extendedLength = (bytes: Uint8Array, at: number, id: number): number => {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  // Vendor-specific and designated vendor-specific ones have their length in the second word's upper twelve bits.
  if ((id === 0x0b || id === 0x23) && at + 8 <= bytes.length) return Math.max(view.getUint32(at + 4, true) >>> 20, 8);
  return EXTENDED_FIXED[id] ?? 4;
};
