import type { Cancel, Clock, IommuDomain } from "@iommu-lab/pci-bus";
import type { DmaCounters } from "./dma-counters.ts";

/** Entries that fill the queue. Linux IOVA_DEFAULT_FQ_SIZE. */
export const FLUSH_QUEUE_SIZE = 256;
/** Nanoseconds after which what is queued is flushed. Linux IOVA_DEFAULT_FQ_TIMEOUT, 10 ms. */
export const FLUSH_QUEUE_TIMEOUT = 10_000_000;

/**
 * Lazy mode's list of ranges that are unmapped in the tables but may still be in the IOTLB: one invalidation of the whole
 * domain serves all of them, when 256 are queued or 10 ms after the first. Until then the device can reach the pages.
 * Linux drivers/iommu/dma-iommu.c, "flush queue". Model: one queue; Linux has one for each processor.
 */
export class FlushQueue {
  readonly #domain: IommuDomain;
  readonly #clock: Clock;
  readonly #counters: DmaCounters;
  readonly #release: (iova: number, size: number, processor: number) => void;
  readonly #granule: number;
  #entries: { readonly iova: number; readonly size: number; readonly processor: number }[] = [];
  #timer: Cancel | undefined;

  /** @param release called for each range once no translation of it is left */
  constructor(domain: IommuDomain, clock: Clock, granule: number, counters: DmaCounters, release: (iova: number, size: number, processor: number) => void) {
    this.#domain = domain;
    this.#clock = clock;
    this.#granule = granule;
    this.#counters = counters;
    this.#release = release;
  }

  /** Queues a range that has been unmapped. */
  add(iova: number, size: number, processor: number): void {
    this.#entries.push({ iova, size, processor });
    const counters = this.#counters;
    counters.stalePages += size / this.#granule;
    counters.stalePagesPeak = Math.max(counters.stalePagesPeak, counters.stalePages);
    if (this.#entries.length >= FLUSH_QUEUE_SIZE) {
      counters.fullQueueFlushes++;
      this.flush();
      return;
    }
    this.#timer ??= this.#clock.after(FLUSH_QUEUE_TIMEOUT, () => {
      this.#timer = undefined;
      counters.timedQueueFlushes++;
      this.flush();
    });
  }

  /** Invalidates the domain and lets the queued ranges be used again. Nothing happens when none are queued. */
  flush(): void {
    this.#timer?.();
    this.#timer = undefined;
    if (this.#entries.length === 0) return;
    this.#domain.flush();
    this.#counters.invalidationWaits++;
    const released = this.#entries;
    this.#entries = [];
    for (const { iova, size, processor } of released) {
      this.#counters.stalePages -= size / this.#granule;
      this.#release(iova, size, processor);
    }
  }
}
