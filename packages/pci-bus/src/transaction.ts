import type { Pfn } from "@iommu-lab/memory";
import type { RequesterId } from "./requester-id.ts";

/** Rights of a request or a translation, as a bit set. */
export const Access = { Read: 1, Write: 2, Execute: 4, Privileged: 8 } as const;
/** A sum of `Access` bits. */
export type Access = number;

/** The AT field of a memory request. PCIe §10.2.1 "Address Type". */
export const AddressType = { Untranslated: 0, TranslationRequest: 1, Translated: 2 } as const;
export type AddressType = (typeof AddressType)[keyof typeof AddressType];

/** How a request ended for the requester. PCIe §2.2.9 "Completion Rules". */
export const Completion = { Successful: 0, UnsupportedRequest: 1, CompleterAbort: 4 } as const;
export type Completion = (typeof Completion)[keyof typeof Completion];

/** Says that a request carries no PASID TLP prefix. */
export const NO_PASID = -1;

/** One address for the IOMMU to translate. Owned and reused by the caller: never keep a reference. */
export interface TranslationRequest {
  requester: RequesterId;
  /** 20 bits, or `NO_PASID`. */
  pasid: number;
  addressType: AddressType;
  /** Address >> 12 of any 64-bit address. */
  page: Pfn<"IOVA">;
  /** Read or Write; Execute and Privileged only with a PASID. */
  access: Access;
}

/** A page request of a function with PRI. PCIe §10.4.1 "Page Request Message". */
export interface PageRequest {
  readonly requester: RequesterId;
  /** 20 bits, or `NO_PASID`. */
  readonly pasid: number;
  readonly page: Pfn<"IOVA">;
  readonly access: Access;
  /** Page request group index, 9 bits. */
  readonly group: number;
  /** The last request of its group: the one that is answered. */
  readonly last: boolean;
}

/** Response codes of a page group response. PCIe §10.4.2 "Page Request Group Response Message". */
export const PageResponseCode = { Success: 0, InvalidRequest: 1, ResponseFailure: 15 } as const;
export type PageResponseCode = (typeof PageResponseCode)[keyof typeof PageResponseCode];

/** The answer to one page request group. */
export interface PageResponse {
  readonly pasid: number;
  readonly group: number;
  readonly code: PageResponseCode;
}

/** An invalidation of a function's address translation cache. PCIe §10.3.1 "Invalidate Request". */
export interface DeviceTlbInvalidation {
  /** 20 bits, or `NO_PASID`. */
  readonly pasid: number;
  readonly page: Pfn<"IOVA">;
  /** log2 of the bytes invalidated, 12 to 63; 64 means the whole address space. */
  readonly sizeShift: number;
  /** Invalidates for every PASID, global translations too. */
  readonly global: boolean;
}
