import type { VtdInterruptRemapper } from "@iommu-lab/interrupt-remap/vtd";
import { NO_TAG } from "./address-space-ids.ts";
import { TranslationTableMode, type Translator } from "./translator.ts";

/** Granularities of context-cache and IOTLB invalidations. */
export const Granularity = { Global: 1, Domain: 2, Selective: 3 } as const;

/** Function bits that FM ignores. VT-d §6.5.1.1. */
const FUNCTION_MASKS = [0, 4, 6, 7] as const;

/** What invalidation commands do to the caches, whichever way they came. VT-d §6.5.1, §6.5.2. */
export class Invalidation {
  readonly #translator: Translator;
  readonly #interrupts: VtdInterruptRemapper;

  constructor(translator: Translator, interrupts: VtdInterruptRemapper) {
    this.#translator = translator;
    this.#interrupts = interrupts;
  }

  /** Context-cache. In scalable mode entries have no domain, so that a domain means all. VT-d §6.5.2.1. */
  context(granularity: number, domain: number, source: number, functionMask: number): void {
    const { sources, mode } = this.#translator;
    const legacy = mode === TranslationTableMode.Legacy;
    if (granularity !== Granularity.Selective) {
      const all = granularity === Granularity.Global;
      if (legacy) sources.bindings.invalidate((binding) => all || binding.domain === domain);
      sources.contexts.invalidate(() => true);
      return;
    }
    const mask = 0xffff & ~(FUNCTION_MASKS[functionMask] ?? 0);
    const matches = (requester: number): boolean => (requester & mask) === (source & mask);
    if (legacy) sources.bindings.invalidate((binding) => matches(binding.requester) && binding.domain === domain);
    sources.contexts.invalidate((context) => matches(context.requester));
  }

  /** IOTLB and paging-structure caches. Most are of one page, of a domain that has one table and no PASIDs. VT-d §6.5.2.3. */
  iotlb(granularity: number, domain: number, low: number, high: number, mask: number, leafOnly: boolean): void {
    const translator = this.#translator;
    const space = granularity === Granularity.Selective && mask === 0 ? translator.spaces.onlyIdOf(domain) : 0;
    if (space !== 0) translator.invalidatePage(space, low, high, leafOnly);
    else this.#iotlbOfMore(granularity, domain, low, high, mask, leafOnly);
  }

  /** First-stage translations of a domain do not survive a page-selective invalidation. VT-d §6.5.2.3. */
  #iotlbOfMore(granularity: number, domain: number, low: number, high: number, mask: number, leafOnly: boolean): void {
    const { spaces } = this.#translator;
    if (granularity === Granularity.Selective) {
      this.#translator.invalidatePages(domain, NO_TAG, low, high, mask, leafOnly);
      spaces.invalidatePasidsOf(domain);
    } else if (granularity === Granularity.Global) spaces.invalidateAll();
    else spaces.invalidateDomain(domain);
  }

  /** PASID-cache: 0 a domain, 1 a PASID of a domain, 3 all. An entry cached as not present (caching mode) has no domain yet. VT-d §6.5.2.2. */
  pasidCache(granularity: number, domain: number, pasid: number): void {
    this.#translator.sources.bindings.invalidate((binding) => granularity === 3 || ((binding.domain === domain || binding.fault !== 0) && (granularity === 0 || binding.pasid === pasid)));
  }

  /** First-stage and nested translations of a PASID. VT-d §6.5.2.4. */
  pasidIotlb(pageSelective: boolean, domain: number, pasid: number, low: number, high: number, mask: number, leafOnly: boolean): void {
    if (pageSelective) this.#translator.invalidatePages(domain, pasid, low, high, mask, leafOnly);
    else this.#translator.spaces.invalidateTag(domain, pasid);
  }

  /** VT-d §6.5.2.7. */
  interruptEntries(byIndex: boolean, index: number, mask: number): void {
    if (byIndex) this.#interrupts.invalidateIndex(index, mask);
    else this.#interrupts.invalidateAll();
  }

  /** Everything that translates DMA. */
  everything(): void {
    const { sources, spaces } = this.#translator;
    sources.bindings.invalidate(() => true);
    sources.contexts.invalidate(() => true);
    spaces.invalidateAll();
  }
}
