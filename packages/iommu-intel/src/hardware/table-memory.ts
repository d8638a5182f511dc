import type { Hpa, Pfn } from "@iommu-lab/memory";

/** Memory as the unit reads its tables from it and writes to it: `FlatMemory` and `SparseMemory` are such. */
export interface TableMemory {
  /** The words that page `pfn` is among, for reading; undefined where no RAM is. */
  wordsOf(pfn: Pfn<"HPA">): Uint32Array | undefined;
  /** Index in those words of the first word of page `pfn`. */
  wordOf(pfn: Pfn<"HPA">): number;
  write32(at: Hpa, value: number): void;
  /** False where memory is read but refuses to be changed, as write-protected shadow RAM does: locked updates of entries there fail. Without it no memory does. */
  canUpdate?(pfn: Pfn<"HPA">): boolean;
}

/** Page number from the two words of a 64-bit entry, bits 51:12. Kept a small integer wherever it is one. */
export const pageIn = (low: number, high: number): number => ((high & 0xf_ffff) < 0x400 ? ((high << 20) | (low >>> 12)) : (high & 0xf_ffff) * 0x10_0000 + (low >>> 12));

/** The page number of `pageIn` in two words: bits 31:0 as int32, and bits 39:32. */
export const lowPageIn = (low: number, high: number): number => (high << 20) | (low >>> 12);
export const highPageIn = (high: number): number => (high >>> 12) & 0xff;

/** Bits of an entry's high word that are 0 where `lowPageIn` is the whole page number and not negative. */
export const FROM_8_TIB = 0xf_f800;

/** A page number, or an address, from its two words. Kept a small integer wherever it is one. */
export const numberOf = (low: number, high: number): number => (high === 0 && low >= 0 ? low : (high >>> 0) * 0x1_0000_0000 + (low >>> 0));

/** Bits 63:32 of a page number above its low 32 bits. */
export const highOf = (page: number): number => (page >= 0x1_0000_0000 ? Math.floor(page / 0x1_0000_0000) | 0 : 0);
