import type { Hpa, Pfn } from "@iommu-lab/memory";

/** What remapping needs of physical memory; `FlatMemory` and `SparseMemory` have it. */
export interface RemapMemory {
  /** The words that page `pfn` is among, for reading; undefined where no RAM is. */
  wordsOf(pfn: Pfn<"HPA">): Uint32Array | undefined;
  /** Index in them of the page's first word. */
  wordOf(pfn: Pfn<"HPA">): number;
  write32(at: Hpa, value: number): void;
}
