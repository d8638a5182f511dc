/** Bits of a register: which are virtual, and which may be written. What is not given is the device's own, read-only. */
export interface MaskedField {
  readonly offset: number;
  readonly size: 1 | 2 | 4;
  readonly virtual?: number;
  readonly writable?: number;
}

const ALL = 0xffff_ffff;
const bars = Array.from({ length: 6 }, (_, index): MaskedField => ({ offset: 0x10 + 4 * index, size: 4, virtual: ALL, writable: ALL }));

/** The header. Linux drivers/vfio/pci/vfio_pci_config.c, init_pci_cap_basic_perm. */
export const HEADER_WRITES: readonly MaskedField[] = [
  // Virtual functions read FFFFh here, users see the real identity.
  { offset: 0x00, size: 2, virtual: ALL },
  { offset: 0x02, size: 2, virtual: ALL },
  // Interrupt Disable is the host's means of masking.
  { offset: 0x04, size: 2, virtual: 0x0400, writable: ALL },
  { offset: 0x06, size: 2, virtual: 0x0010, writable: 0xffef },
  { offset: 0x0c, size: 1, writable: ALL },
  { offset: 0x0d, size: 1, writable: ALL },
  { offset: 0x0f, size: 1, writable: ALL },
  ...bars,
  { offset: 0x30, size: 4, virtual: ALL, writable: ALL },
  { offset: 0x34, size: 1, virtual: ALL },
  { offset: 0x3c, size: 1, virtual: ALL, writable: ALL },
  { offset: 0x3d, size: 1, virtual: ALL },
];

/** Power management: the user cannot have PME; the state goes through the host. */
const POWER: readonly MaskedField[] = [
  { offset: 2, size: 2, virtual: 0xf800 },
  { offset: 4, size: 4, virtual: 0x8103, writable: ALL & ~0x8103 },
];
const VPD: readonly MaskedField[] = [
  { offset: 2, size: 2, writable: ALL },
  { offset: 4, size: 4, writable: ALL },
];
/** Payload and read request sizes concern the way to the device; reset is the host's to do. */
const EXPRESS: readonly MaskedField[] = [
  { offset: 0x08, size: 2, virtual: 0xf0e0, writable: 0xfdff },
  { offset: 0x0a, size: 2, writable: ALL },
  { offset: 0x10, size: 2, writable: ALL },
  { offset: 0x12, size: 2, writable: ALL },
];
const EXPRESS_2: readonly MaskedField[] = [...EXPRESS, { offset: 0x28, size: 2, writable: 0xffdf }, { offset: 0x30, size: 2, writable: ALL }];
const ADVANCED_FEATURES: readonly MaskedField[] = [{ offset: 4, size: 1, virtual: 1, writable: 1 }];

/** Message address and data are the user's idea; the device never gets them. */
const msi = (bytes: Uint8Array, at: number): readonly MaskedField[] => {
  const control = (bytes[at + 2] ?? 0) | ((bytes[at + 3] ?? 0) << 8);
  const wide = (control & 0x80) !== 0;
  const data = wide ? 12 : 8;
  return [
    { offset: 2, size: 2, virtual: ALL, writable: 0x71 },
    { offset: 4, size: 4, virtual: ALL, writable: ALL & ~3 },
    ...(wide ? [{ offset: 8, size: 4, virtual: ALL, writable: ALL } as const] : []),
    { offset: data, size: 2, virtual: ALL, writable: ALL },
    ...(control & 0x100 ? [{ offset: data + 4, size: 4, writable: ALL } as const] : []),
  ];
};

/** What a user may do with a conventional capability. */
export const CONVENTIONAL_WRITES = (bytes: Uint8Array, at: number, id: number): readonly MaskedField[] | "all" => {
  if (id === 0x05) return msi(bytes, at);
  if (id === 0x10) return ((bytes[at + 2] ?? 0) & 0xf) >= 2 ? EXPRESS_2 : EXPRESS;
  if (id === 0x09) return "all";
  return { 0x01: POWER, 0x03: VPD, 0x13: ADVANCED_FEATURES }[id] ?? [];
};

const ERRORS: readonly MaskedField[] = [
  { offset: 0x04, size: 4, writable: ALL },
  { offset: 0x08, size: 4, writable: ALL },
  { offset: 0x0c, size: 4, writable: ALL },
  { offset: 0x10, size: 4, writable: ALL },
  { offset: 0x14, size: 4, writable: ALL },
  { offset: 0x18, size: 4, writable: 0x0000_0140 },
];

/** What a user may do with an extended capability. */
export const EXTENDED_WRITES = (id: number): readonly MaskedField[] | "all" => {
  if (id === 0x0b || id === 0x23) return "all";
  return { 0x01: ERRORS, 0x04: [{ offset: 4, size: 1, writable: ALL } as const] }[id] ?? [];
};
