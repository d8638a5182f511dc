import type { CacheContents, ExplanationSink, Translation, TranslationRequest } from "@iommu-lab/pci-bus";
import type { AddressTranslationCache } from "@iommu-lab/pci-bus/model";

/** What one invalidation is about; where entries of PASIDs have no cache of their own, "pasid" is "source". */
export type Invalidation = { readonly what: "page" | "device"; readonly page: number } | { readonly what: "domain" | "global" | "source" | "pasid" | "wait" };

/** A descriptor or command as it stands in the ring. */
export interface Queued {
  /** Its place in the ring. */
  readonly index: number;
  readonly name: string;
  readonly words: readonly number[];
}

/** Either vendor's IOMMU with a device, its tables and its queue, as the bench works them. */
export interface CacheMachine {
  /** Places of the ring. */
  readonly size: number;
  /** Entries of PASIDs have a cache of their own. */
  readonly hasPasidCache: boolean;
  /** The device's own cache of translations. */
  readonly deviceTlb: AddressTranslationCache;
  /** First page of the addresses that are mapped. */
  readonly firstPage: number;
  readonly domain: () => number;
  /** Writes the page's entry in memory; undefined: not present. */
  readonly setPage: (page: number, frame: number | undefined) => void;
  /** Binds the device to the other domain, in memory. */
  readonly move: () => void;
  /** Writes a descriptor behind the last one. */
  readonly put: (invalidation: Invalidation) => Queued;
  /** Tells the hardware how far it may read. */
  readonly bell: () => void;
  /** Where the hardware is, and how far it may read. */
  readonly pointers: () => { readonly head: number; readonly tail: number };
  /** What the last wait has written. */
  readonly status: () => number;
  readonly translate: (request: Readonly<TranslationRequest>, out: Translation, explain: ExplanationSink) => void;
  readonly contents: () => CacheContents;
}

export const DEVICE = 0x0100;
/** Domains that the device can be in; the second one's tables are empty. */
export const DOMAINS = [5, 6] as const;
/** Page numbers of the addresses. */
export const FIRST_PAGE = 0x1_0000;
export const LEVELS = 4;
