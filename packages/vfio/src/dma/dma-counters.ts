/** What a device's DMA API calls have done so far; integers that only this package changes. */
export interface DmaCounters {
  /** Successful `map` and `mapScatter` calls, and coherent allocations. */
  maps: number;
  /** Calls that took a mapping away. */
  unmaps: number;
  /** Calls that failed with `MAPPING_ERROR`. */
  mappingErrors: number;
  /** Mappings that exist now. */
  liveMappings: number;
  /** IOMMU pages that live mappings cover now; 0 in identity mode. */
  livePages: number;
  /** IOMMU pages mapped since the beginning. */
  mappedPages: number;
  /** Waits for the IOMMU to say that an invalidation is done. */
  invalidationWaits: number;
  /** Lazy mode: flushes because the queue was full. */
  fullQueueFlushes: number;
  /** Lazy mode: flushes because the timer ran out. */
  timedQueueFlushes: number;
  /** Lazy mode: pages unmapped and not yet flushed, which the device may still reach. */
  stalePages: number;
  /** The most `stalePages` has been. */
  stalePagesPeak: number;
  /** Nodes of the IOVA space that allocations looked at. */
  iovaProbes: number;
  /** IOVA allocations served by a per-size cache. */
  iovaCacheHits: number;
  /** IOVA allocations of cacheable sizes that had to search. */
  iovaCacheMisses: number;
  /** Maps that went through a bounce buffer. */
  bouncedMaps: number;
  /** Bytes of these maps. */
  bouncedBytes: number;
  /** Copies from the original buffer into a bounce buffer. */
  copiesIn: number;
  bytesCopiedIn: number;
  /** Copies from a bounce buffer back into the original. */
  copiesOut: number;
  bytesCopiedOut: number;
  /** Segments that `mapScatter` was given, and those the device was left with. */
  scatterEntries: number;
  scatterSegments: number;
}

/** All zero. */
export const newDmaCounters = (): DmaCounters => ({
  maps: 0,
  unmaps: 0,
  mappingErrors: 0,
  liveMappings: 0,
  livePages: 0,
  mappedPages: 0,
  invalidationWaits: 0,
  fullQueueFlushes: 0,
  timedQueueFlushes: 0,
  stalePages: 0,
  stalePagesPeak: 0,
  iovaProbes: 0,
  iovaCacheHits: 0,
  iovaCacheMisses: 0,
  bouncedMaps: 0,
  bouncedBytes: 0,
  copiesIn: 0,
  bytesCopiedIn: 0,
  copiesOut: 0,
  bytesCopiedOut: 0,
  scatterEntries: 0,
  scatterSegments: 0,
});
