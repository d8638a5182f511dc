import { conventionalLength, extendedLength, HIDDEN_CONVENTIONAL, HIDDEN_EXTENDED } from "./capability-lengths.ts";
import { CONVENTIONAL_WRITES, EXTENDED_WRITES, HEADER_WRITES, type MaskedField } from "./write-tables.ts";

/** How a user sees each bit of a function's configuration space. */
export interface ConfigPermissions {
  /** Ones: the bit comes from `image`, not from the device. */
  readonly virtual: Uint8Array;
  /** Ones: the user may change the bit, in the device or in `image`. */
  readonly writable: Uint8Array;
  /** Values of virtual bits. */
  readonly image: Uint8Array;
  /** Where visible capabilities stand, by identifier; extended ones by identifier + 0x1_0000. */
  readonly places: ReadonlyMap<number, number>;
}

const FIRST_EXTENDED = 0x100;
/** Added to extended identifiers, so that one map holds both. */
const EXTENDED = 0x1_0000;

const putMask = (into: Uint8Array, at: number, size: number, mask: number): void => {
  for (let byte = 0; byte < size && at + byte < into.length; byte++) into[at + byte] = (mask >>> (8 * byte)) & 0xff;
};

const apply = (to: ConfigPermissions, at: number, fields: readonly MaskedField[]): void => {
  for (const { offset, size, virtual = 0, writable = 0 } of fields) {
    putMask(to.virtual, at + offset, size, virtual);
    putMask(to.writable, at + offset, size, writable);
  }
};

/** Everything a capability holds can be read and nothing written, except what its table says; vendors' own are let through. */
const cover = (to: ConfigPermissions, at: number, length: number, header: number, fields: readonly MaskedField[] | "all"): void => {
  to.virtual.fill(0, at, at + length);
  to.writable.fill(fields === "all" ? 0xff : 0, at, at + length);
  to.virtual.fill(0xff, at, at + header);
  to.writable.fill(0, at, at + header);
  if (fields !== "all") apply(to, at, fields);
};

const conventional = (to: ConfigPermissions, places: Map<number, number>): void => {
  const { image } = to;
  let pointer = 0x34;
  for (let hops = 0; hops < 48; hops++) {
    const at = (image[pointer] ?? 0) & 0xfc;
    if (at < 0x40) return;
    const id = image[at] ?? 0;
    const length = HIDDEN_CONVENTIONAL.has(id) ? 0 : conventionalLength(image, at, id);
    if (length === 0) {
      image[pointer] = image[at + 1] ?? 0;
      continue;
    }
    if (!places.has(id)) places.set(id, at);
    cover(to, at, length, 2, CONVENTIONAL_WRITES(image, at, id));
    pointer = at + 1;
  }
};

const headerAt = (image: Uint8Array, at: number): number => new DataView(image.buffer).getUint32(at, true);

const extended = (to: ConfigPermissions, places: Map<number, number>): void => {
  const { image } = to;
  const view = new DataView(image.buffer);
  let before = 0;
  let at = FIRST_EXTENDED;
  for (let hops = 0; at >= FIRST_EXTENDED && at + 4 <= image.length && hops < 960; hops++) {
    const header = headerAt(image, at);
    if (header === 0 || header === 0xffff_ffff) return;
    const id = header & 0xffff;
    const next = (header >>> 20) & 0xffc;
    if (HIDDEN_EXTENDED.has(id)) {
      // The list cannot lose its first place: there only the identifier goes.
      if (before === 0) {
        view.setUint32(at, (header & 0xfff0_0000) >>> 0, true);
        to.virtual.fill(0xff, at, at + 4);
        to.writable.fill(0, at, at + 4);
        before = at;
      } else view.setUint32(before, ((headerAt(image, before) & 0x000f_ffff) | (next << 20)) >>> 0, true);
    } else {
      if (!places.has(EXTENDED + id)) places.set(EXTENDED + id, at);
      cover(to, at, Math.min(extendedLength(image, at, id), image.length - at), 4, EXTENDED_WRITES(id));
      before = at;
    }
    at = next;
  }
};

/**
 * Works out what a user may see and change, from the bytes of the function. Linux drivers/vfio/pci/vfio_pci_config.c,
 * vfio_config_init: the header by a table, known capabilities by theirs, others hidden, and what lies between them let through.
 * @param bytes all of configuration space; copied
 */
export const permissionsOf = (bytes: Uint8Array, virtualFunction: boolean): ConfigPermissions => {
  const places = new Map<number, number>();
  const to: ConfigPermissions = { virtual: new Uint8Array(bytes.length), writable: new Uint8Array(bytes.length).fill(0xff), image: bytes.slice(), places };
  to.writable.fill(0, 0, 0x40);
  apply(to, 0, HEADER_WRITES);
  if (virtualFunction) putMask(to.virtual, 4, 2, 0x0402);
  const hasList = ((bytes[6] ?? 0) & 0x10) !== 0;
  if (hasList) conventional(to, places);
  if (bytes.length > FIRST_EXTENDED) extended(to, places);
  return to;
};
