import type { PageRange } from "../container/iova-windows.ts";
import type { Area } from "./area.ts";

/** Pages of the largest alignment that is tried for: a huge page of 2 MiB. */
const HUGE = 512;
/** The kernel chooses no IOVA in the first page, so that no buffer has address zero, and none in the last. */
const CHOSEN_FROM: PageRange = { first: 1, last: 2 ** 52 - 2 };

const both = (a: PageRange, b: PageRange): PageRange => ({ first: Math.max(a.first, b.first), last: Math.min(a.last, b.last) });

/** Pages to which a mapping is aligned so that large pages can map it: no more than its size and its memory's alignment give. */
const alignmentOf = (vaddr: number, count: number): number => {
  let alignment = 1;
  while (alignment < HUGE && alignment < count && (vaddr / 4096) % (alignment * 2) === 0) alignment *= 2;
  return alignment;
};

/**
 * The lowest place for a mapping, in pages; undefined where there is none. Linux drivers/iommu/iommufd/io_pagetable.c,
 * iopt_alloc_iova.
 * @param allowed ranges to choose from, in IOVA order; @param usable what is not reserved; @param areas in IOVA order
 */
export const chooseIova = (vaddr: number, count: number, allowed: readonly PageRange[], usable: readonly PageRange[], areas: readonly Area[]): number | undefined => {
  const alignment = alignmentOf(vaddr, count);
  const align = (page: number): number => Math.ceil(page / alignment) * alignment;
  for (const promise of allowed)
    for (const range of usable) {
      const hole = both(both(promise, range), CHOSEN_FROM);
      let first = align(hole.first);
      for (const area of areas) if (area.first < first + count && first < area.first + area.count) first = align(area.first + area.count);
      if (first + count - 1 <= hole.last) return first;
    }
  return undefined;
};
