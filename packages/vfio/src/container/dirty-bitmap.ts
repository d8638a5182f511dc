import type { HeldPage, MappingTable } from "./mapping-table.ts";

/** A bitmap of a mapping's pages with those set that are held: their holder may have written them. */
export const newBitmap = (pages: number, held: ReadonlyMap<number, HeldPage>, first: number): Uint8Array => {
  const bits = new Uint8Array(Math.ceil(pages / 8));
  for (const page of held.keys()) markDirty(bits, page - first);
  return bits;
};

/** Sets a bit. */
export const markDirty = (bits: Uint8Array, index: number): void => {
  bits[index >> 3] = (bits[index >> 3] ?? 0) | (1 << (index & 7));
};

/** Bytes of a bitmap as users get it: whole 64-bit words. */
export const bitmapBytes = (pages: number): number => Math.ceil(pages / 64) * 8;

/**
 * The dirty pages of a range, bit 0 for `first`, which are clean afterwards except those still held.
 * @param scoped devices pin whatever they write; otherwise every mapped page counts as dirty
 */
export const dirtyBitmap = (mappings: MappingTable, first: number, last: number, scoped: boolean): Uint8Array => {
  const result = new Uint8Array(bitmapBytes(last - first + 1));
  for (const mapping of mappings.within(first, last)) {
    for (let index = 0; index < mapping.pages; index++) {
      const at = mapping.first + index - first;
      const dirty = !scoped || ((mapping.dirty?.[index >> 3] ?? 0) >> (index & 7)) & 1;
      if (dirty && at >= 0 && mapping.first + index <= last) markDirty(result, at);
    }
    mapping.dirty = newBitmap(mapping.pages, mapping.held, mapping.first);
  }
  return result;
};
