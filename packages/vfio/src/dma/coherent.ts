import { PAGE_SIZE, type FrameAllocator, type Hpa } from "@iommu-lab/memory";

/** Memory that processor and device share. */
export interface CoherentBuffer {
  /** For the device. */
  readonly address: number;
  /** For the processor: the host page behind each 4 KiB. */
  readonly pages: readonly Hpa[];
  /** The blocks of the frame allocator behind it, by first page number. */
  readonly blocks: readonly number[];
}

/**
 * Takes frames for `size` bytes: one block when they must be in one piece, else the largest blocks there are, down to
 * single frames. Linux drivers/iommu/dma-iommu.c, __iommu_dma_alloc_pages.
 */
export const allocateFrames = (frames: FrameAllocator, size: number, contiguous: boolean): { readonly pages: readonly Hpa[]; readonly blocks: readonly number[] } | undefined => {
  if (!(size > 0)) throw new RangeError(`${size} bytes cannot be allocated; at least 1 can.`);
  const wanted = Math.ceil(size / PAGE_SIZE);
  const fitting = Math.ceil(Math.log2(wanted));
  if (contiguous && fitting > frames.maxOrder) return undefined;
  const pages: Hpa[] = [];
  const blocks: number[] = [];
  let order = contiguous ? fitting : Math.min(Math.floor(Math.log2(wanted)), frames.maxOrder);
  while (pages.length < wanted) {
    if (!contiguous) order = Math.min(order, Math.floor(Math.log2(wanted - pages.length)));
    const first = frames.allocate(order);
    if (first < 0) {
      if (contiguous || order === 0) {
        freeFrames(frames, blocks);
        return undefined;
      }
      order--;
      continue;
    }
    blocks.push(first);
    for (let page = 0; page < 2 ** order && pages.length < wanted; page++) pages.push((first + page) * PAGE_SIZE);
  }
  return { pages, blocks };
};

/** Gives the blocks back. */
export const freeFrames = (frames: FrameAllocator, blocks: readonly number[]): void => {
  for (const first of blocks) frames.free(first);
};
