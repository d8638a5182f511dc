import type { Hpa } from "@iommu-lab/memory";
import { Access, IommuDriverError, type Clock, type IommuDomain } from "@iommu-lab/pci-bus";
import { accessFor, type DmaDirection } from "./direction.ts";
import type { DmaCounters } from "./dma-counters.ts";
import { FlushQueue } from "./flush-queue.ts";
import { IovaAllocator, type ReservedIova } from "./iova-allocator.ts";

/** What mappings through an IOMMU are made with. */
interface TranslatedRangesOptions {
  readonly domain: IommuDomain;
  readonly clock: Clock;
  readonly lazy: boolean;
  /** First IOVA the device cannot drive. */
  readonly limit: number;
  readonly addressWidth?: number;
  readonly reserved?: readonly ReservedIova[];
  readonly processors?: number;
  readonly counters: DmaCounters;
}

/** Whole pages within an IOVA range. */
interface PagesAt {
  readonly hpa: Hpa;
  /** From the start of the range. */
  readonly at: number;
  /** Bytes. */
  readonly pages: number;
}

/** IOVA ranges of one device with pages behind them: allocated, mapped, unmapped, and used again once no IOTLB holds them. */
export class TranslatedRanges {
  /** Bytes of the smallest page. */
  readonly granule: number;
  readonly #domain: IommuDomain;
  readonly #allocator: IovaAllocator;
  readonly #queue: FlushQueue | undefined;
  readonly #limit: number;
  readonly #counters: DmaCounters;
  /** Tables that cannot give write without read were met: VT-d first-stage, AMD's host tables. */
  #writeNeedsRead = false;

  constructor({ domain, clock, lazy, limit, addressWidth = 48, counters, ...rest }: TranslatedRangesOptions) {
    this.granule = domain.pageSizes[0] as number;
    this.#domain = domain;
    this.#limit = limit;
    this.#counters = counters;
    this.#allocator = new IovaAllocator({ granule: this.granule, addressWidth, counters, ...rest });
    this.#queue = lazy
      ? new FlushQueue(domain, clock, this.granule, counters, (iova, size, processor) => {
          this.#allocator.free(iova, size, processor);
        })
      : undefined;
  }

  /** @returns the range's start, or undefined when no IOVA is left or the domain cannot map */
  map(parts: readonly PagesAt[], length: number, direction: DmaDirection, processor: number): number | undefined {
    const iova = this.#allocator.allocate(length, this.#limit, processor);
    if (iova === 0) return undefined;
    let pages = 0;
    try {
      for (const part of parts) {
        this.#mapPart(iova + part.at, part.hpa, part.pages, accessFor(direction));
        pages += part.pages / this.granule;
      }
    } catch (error) {
      if (!(error instanceof IommuDriverError)) throw error;
      if (pages > 0) {
        this.#domain.unmap(iova, length);
        this.#domain.flush();
        this.#counters.invalidationWaits++;
      }
      this.#allocator.free(iova, length, processor);
      return undefined;
    }
    this.#counters.mappedPages += pages;
    this.#counters.livePages += pages;
    return iova;
  }

  /** Takes a whole range away, in lazy mode for the hardware to hear of later. */
  unmap(iova: number, length: number, processor: number): void {
    this.#counters.livePages -= this.#domain.unmap(iova, length) / this.granule;
    if (this.#queue) {
      this.#queue.add(iova, length, processor);
      return;
    }
    this.#domain.flush();
    this.#counters.invalidationWaits++;
    this.#allocator.free(iova, length, processor);
  }

  /** Lazy mode: flushes what is queued now. */
  flush(): void {
    this.#queue?.flush();
  }

  #mapPart(iova: number, hpa: Hpa, size: number, access: Access): void {
    const wanted = this.#writeNeedsRead ? access | Access.Read : access;
    try {
      this.#domain.map(iova, hpa, size, wanted);
    } catch (error) {
      if (!(error instanceof IommuDriverError) || error.code !== "EOPNOTSUPP" || wanted !== Access.Write) throw error;
      this.#domain.map(iova, hpa, size, wanted | Access.Read);
      this.#writeNeedsRead = true;
    }
  }
}
