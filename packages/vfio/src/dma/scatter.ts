import type { Hpa } from "@iommu-lab/memory";

/** One piece of a buffer in host memory. */
export interface ScatterEntry {
  readonly hpa: Hpa;
  /** Bytes, at least 1. */
  readonly size: number;
}

/** One piece of a buffer as the device sees it. */
export interface DmaSegment {
  readonly address: number;
  /** Bytes. */
  readonly size: number;
}

/** What a device's scatter/gather engine can take. Linux struct device_dma_parameters. */
export interface SegmentLimits {
  /** Most bytes of a segment. */
  readonly maxSize: number;
  /** No segment crosses a multiple of this power of two. */
  readonly boundary: number;
}

/** A piece with its place in the IOVA range, page by page. */
export interface PlacedEntry {
  /** First byte of the first page. */
  readonly hpa: Hpa;
  /** From the start of the IOVA range to that page. */
  readonly at: number;
  /** Whole pages, in bytes. */
  readonly pages: number;
  /** From the first page's start to the data. */
  readonly offset: number;
  /** Bytes of data. */
  readonly size: number;
}

/**
 * Gives each entry whole pages of one IOVA range, one after the other. Where an entry would cross the segment boundary,
 * pages are left out in front of it. Linux drivers/iommu/dma-iommu.c, iommu_dma_map_sg.
 * @returns the entries in place and the bytes of the range
 */
export const placeEntries = (entries: readonly ScatterEntry[], granule: number, boundary: number): { readonly placed: readonly PlacedEntry[]; readonly length: number } => {
  const placed: PlacedEntry[] = [];
  let length = 0;
  for (const { hpa, size } of entries) {
    const offset = hpa % granule;
    const pages = Math.ceil((offset + size) / granule) * granule;
    const room = boundary - (length % boundary);
    if (room < boundary && room < pages) length += room;
    placed.push({ hpa: hpa - offset, at: length, pages, offset, size });
    length += pages;
  }
  return { placed, length };
};

/**
 * Joins neighbours that the device sees as one piece: the first ends where its page ends, the next starts where one starts,
 * and the limits allow it. Linux drivers/iommu/dma-iommu.c, __finalise_sg.
 */
export const joinSegments = (placed: readonly PlacedEntry[], iova: number, { maxSize, boundary }: SegmentLimits): DmaSegment[] => {
  const segments: DmaSegment[] = [];
  let joinable = false;
  for (const { at, offset, size, pages } of placed) {
    const address = iova + at + offset;
    const last = segments.at(-1);
    if (last && joinable && offset === 0 && last.address + last.size === address && address % boundary !== 0 && last.size + size <= maxSize)
      segments[segments.length - 1] = { address: last.address, size: last.size + size };
    else segments.push({ address, size });
    joinable = offset + size === pages;
  }
  return segments;
};
