import type { PageResponse, RequesterId } from "@iommu-lab/pci-bus";

/**
 * Invalidations as the driver gives them, in the order in which hardware is to do them. They are done when `finish` returns;
 * while the unit is off they do nothing, since it starts with empty caches. VT-d §6.5.
 */
export interface InvalidationCommands {
  /** Largest address mask of a page-selective IOTLB invalidation: 2^mask pages; -1 where there are none. */
  readonly maximumMask: number;
  everyContext(): void;
  /** @param domain the domain that the entry named; 0 for one cached as not present */
  context(requester: RequesterId, domain: number): void;
  everyPasid(): void;
  /** The PASID-table entries of a PASID that name a domain. */
  pasid(domain: number, pasid: number): void;
  everyTranslation(): void;
  domain(domain: number): void;
  /** @param leafOnly no table changed (IH) */
  pages(domain: number, page: number, mask: number, leafOnly: boolean): void;
  /** First-stage and nested translations of a PASID. */
  domainPasid(domain: number, pasid: number): void;
  domainPasidPages(domain: number, pasid: number, page: number, mask: number, leafOnly: boolean): void;
  /** @param pasid 0 for requests without; @param sizeShift log2 of the bytes, 12 to 64 */
  deviceTlb(requester: RequesterId, pasid: number, page: number, sizeShift: number): void;
  everyInterruptEntry(): void;
  interruptEntry(index: number): void;
  pageResponse(requester: RequesterId, response: PageResponse): void;
  /** Waits until all of them are done. @throws IommuDriverError EIO when the hardware never says so */
  finish(): void;
}
