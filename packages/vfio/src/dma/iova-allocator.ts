import type { DmaCounters } from "./dma-counters.ts";
import { IovaCache } from "./iova-cache.ts";
import { IovaSpace } from "./iova-space.ts";

/** Sizes of 1, 2, 4 … 32 pages are cached. Linux IOVA_RANGE_CACHE_MAX_SIZE. */
const CACHED_ORDERS = 6;
const LARGEST_CACHED = 2 ** (CACHED_ORDERS - 1);
const FOUR_GIB = 2 ** 32;

/** A range of I/O addresses that must not be given out. */
export interface ReservedIova {
  /** First byte. */
  readonly start: number;
  /** Bytes. */
  readonly size: number;
  /** What it is for: "msi", an RMRR ("direct"), or the window of a host bridge ("reserved"). Words of reserved_regions in sysfs. */
  readonly kind: "msi" | "direct" | "reserved";
}

/** The message window of x86: no DMA address may lie in it, the chipset would take the write for an interrupt. Intel SDM vol. 3 "Message Address Register Format". */
export const MSI_WINDOW: ReservedIova = { start: 0xfee0_0000, size: 0x10_0000, kind: "msi" };

/** What an IOVA allocator covers. */
export interface IovaAllocatorOptions {
  /** Bytes of the smallest page, a power of two. */
  readonly granule: number;
  /** Bits of an address of the domain, 32 to 52. */
  readonly addressWidth: number;
  /** Beside page 0, which is never given out. */
  readonly reserved?: readonly ReservedIova[];
  /** How many processors have caches of their own; default 1. */
  readonly processors?: number;
  readonly counters: DmaCounters;
}

/**
 * Gives out I/O virtual addresses of one domain: from the top down, each range at a multiple of its size (rounded up to a
 * power of two), below 4 GiB first because old PCI devices are lied to about 64-bit addresses less often there.
 * Linux drivers/iommu/{iova,dma-iommu}.c. Addresses and sizes are bytes, multiples of the granule, below 2^52.
 */
export class IovaAllocator {
  readonly granule: number;
  readonly #space: IovaSpace;
  readonly #caches: IovaCache[];
  readonly #counters: DmaCounters;
  readonly #end: number;
  #tryBelow4g = true;

  /** @throws RangeError when the granule is no power of two, or the width is out of range */
  constructor({ granule, addressWidth, reserved = [MSI_WINDOW], processors = 1, counters }: IovaAllocatorOptions) {
    if (!(granule >= 1 && Number.isInteger(Math.log2(granule)))) throw new RangeError(`A granule of ${granule} bytes is no power of two.`);
    if (!(addressWidth >= 32 && addressWidth <= 52)) throw new RangeError(`An IOVA space of ${addressWidth} bits is not modelled; 32 to 52 are.`);
    this.granule = granule;
    this.#end = 2 ** addressWidth / granule;
    this.#space = new IovaSpace(granule, 1, this.#end);
    for (const { start, size } of reserved) this.#space.reserve(Math.floor(start / granule), Math.ceil((start + size) / granule) - 1);
    this.#caches = Array.from({ length: CACHED_ORDERS }, () => new IovaCache(processors));
    this.#counters = counters;
  }

  /** Bytes given out now, those in the caches included. */
  get allocatedBytes(): number {
    return this.#space.allocatedPages * this.granule;
  }

  /**
   * @param size  bytes, a multiple of the granule
   * @param limit first address that the device cannot reach
   * @returns the address, or 0 where there is no room
   */
  allocate(size: number, limit: number, processor = 0): number {
    const end = Math.min(Math.floor(limit / this.granule), this.#end);
    const pages = this.#rounded(size);
    const low = FOUR_GIB / this.granule;
    if (end > low && this.#tryBelow4g) {
      const first = this.#take(pages, low, processor, false);
      if (first) return first * this.granule;
      // Linux since 6.4 asks below 4 GiB only until that fails once.
      this.#tryBelow4g = false;
    }
    return this.#take(pages, end, processor, true) * this.granule;
  }

  /** Gives a range back, with the size it was allocated with. */
  free(iova: number, size: number, processor = 0): void {
    const first = iova / this.granule;
    const cache = this.#cacheOf(this.#rounded(size));
    if (!cache) this.#space.free(first);
    else for (const each of cache.put(processor, first)) this.#space.free(each);
  }

  #take(pages: number, end: number, processor: number, mustFind: boolean): number {
    const cache = this.#cacheOf(pages);
    const cached = cache?.take(processor, end - pages) ?? 0;
    if (cached) {
      this.#counters.iovaCacheHits++;
      return cached;
    }
    if (cache) this.#counters.iovaCacheMisses++;
    const before = this.#space.probes;
    let first = this.#space.allocate(pages, end);
    if (!first && mustFind) {
      for (const each of this.#caches) for (const held of each.drain()) this.#space.free(held);
      first = this.#space.allocate(pages, end);
    }
    this.#counters.iovaProbes += this.#space.probes - before;
    return first;
  }

  /** Cacheable sizes are powers of two, so that a freed range serves every size of its order. */
  #rounded(size: number): number {
    const pages = size / this.granule;
    return pages < LARGEST_CACHED ? 1 << (32 - Math.clz32(pages - 1)) : pages;
  }

  #cacheOf(pages: number): IovaCache | undefined {
    return pages <= LARGEST_CACHED && (pages & (pages - 1)) === 0 ? this.#caches[31 - Math.clz32(pages)] : undefined;
  }
}
