/** Flags of VFIO_IOMMU_MAP_DMA. */
export const DmaMapFlag = { Read: 1, Write: 2, Vaddr: 4 } as const;
/** Flags of VFIO_IOMMU_UNMAP_DMA. */
export const DmaUnmapFlag = { GetDirtyBitmap: 1, All: 2, Vaddr: 4 } as const;
/** Flags of VFIO_IOMMU_DIRTY_PAGES. */
export const DirtyPagesFlag = { Start: 1, Stop: 2, GetBitmap: 4 } as const;

/** VFIO_IOMMU_MAP_DMA. Addresses and size are any 64-bit value. */
export interface DmaMapRequest {
  /** Bytes of the structure that the caller knows; default 32. */
  readonly argsz?: number;
  /** A sum of `DmaMapFlag`. */
  readonly flags: number;
  /** Virtual address in the process. */
  readonly vaddr: number | bigint;
  readonly iova: number | bigint;
  readonly size: number | bigint;
}

/** VFIO_IOMMU_UNMAP_DMA. */
export interface DmaUnmapRequest {
  /** Default 24. */
  readonly argsz?: number;
  /** A sum of `DmaUnmapFlag`; default 0. */
  readonly flags?: number;
  readonly iova: number | bigint;
  readonly size: number | bigint;
  /** Bytes that a bit of the bitmap stands for, with `GetDirtyBitmap`. */
  readonly pageSize?: number;
}

/** What was unmapped. */
export interface DmaUnmapResult {
  /** Bytes. */
  readonly size: number;
  /** One bit a page of the range, with `GetDirtyBitmap`. */
  readonly bitmap?: Uint8Array;
}

/** What VFIO_IOMMU_GET_INFO tells. */
export interface Type1Info {
  /** A bit for each page size in bytes, as a number: all sizes are below 2^53. */
  readonly pageSizes: number;
  /** Ranges of bytes that may be mapped, last byte inclusive. VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE. */
  readonly iovaRanges: readonly { readonly start: bigint; readonly end: bigint }[];
  /** Further mappings that are possible. VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL. */
  readonly available: number;
  /** VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION: page sizes of a dirty bitmap, and its largest size in bytes. */
  readonly dirtyPageSizes: number;
  readonly maxDirtyBitmap: number;
}
