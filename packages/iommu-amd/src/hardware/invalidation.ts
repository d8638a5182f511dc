import type { AmdInterruptRemapper } from "@iommu-lab/interrupt-remap/amd";
import { NO_PASID } from "@iommu-lab/pci-bus";
import { NO_TAG } from "./address-space-ids.ts";
import type { Translator } from "./translator.ts";

/** log2 of the pages of the whole address space. */
const ALL_PAGES = 52;

/** What invalidation commands do to the caches. AMD-Vi §2.4.2 to §2.4.8. */
export class Invalidation {
  readonly #translator: Translator;
  readonly #interrupts: AmdInterruptRemapper;

  constructor(translator: Translator, interrupts: AmdInterruptRemapper) {
    this.#translator = translator;
    this.#interrupts = interrupts;
  }

  device(deviceId: number): void {
    this.#translator.invalidateDevice(deviceId);
  }

  /**
   * INVALIDATE_IOMMU_PAGES: 2^`mask` pages around a page. Most are of one page, of a domain that has one table and no PASIDs.
   * @param low bits 31:0 of the page number; @param high the 20 bits above
   */
  pages(domain: number, pasid: number, low: number, high: number, mask: number, directories: boolean): void {
    const translator = this.#translator;
    const space = mask === 0 && pasid === NO_PASID ? translator.spaces.onlyIdOf(domain) : 0;
    if (space !== 0) translator.invalidatePage(space, low, high, directories);
    else this.#morePages(domain, pasid === NO_PASID ? NO_TAG : pasid, low, high, mask, directories);
  }

  /** Without a PASID (GN=0) the host translations of the domain go; since translations of guests may rest on them, those go altogether. */
  #morePages(domain: number, tag: number, low: number, high: number, mask: number, directories: boolean): void {
    const { spaces } = this.#translator;
    if (mask >= ALL_PAGES && directories) {
      if (tag === NO_TAG) spaces.invalidateDomain(domain);
      else spaces.invalidateTag(domain, tag);
      return;
    }
    this.#translator.invalidatePages(domain, tag, low, high, mask, directories);
    if (tag === NO_TAG) spaces.invalidatePasidsOf(domain);
  }

  interruptTable(deviceId: number): void {
    this.#interrupts.invalidateTable(deviceId);
  }

  everything(): void {
    this.#translator.invalidateAll();
    this.#interrupts.invalidateAll();
  }
}
