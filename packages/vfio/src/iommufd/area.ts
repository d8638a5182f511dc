import { PAGE_SIZE } from "@iommu-lab/memory";
import type { Access, IommuDomain } from "@iommu-lab/pci-bus";
import { asVfioError } from "../vfio-error.ts";
import type { IovaRange } from "./iova-range.ts";
import type { SharedPages } from "./shared-pages.ts";

/** A range of an address space with the memory behind it, in pages. Linux struct iopt_area. */
export interface Area {
  readonly first: number;
  readonly count: number;
  readonly access: Access;
  readonly pages: SharedPages;
  /** Pages into `pages` at which the area starts. */
  readonly skip: number;
  /** Accesses that hold pages of it. */
  holders: number;
  /** It is to go, so no access may begin. */
  closing: boolean;
}

/** The area's bytes. */
export const bytesOf = ({ first, count }: Area): IovaRange => ({ start: BigInt(first) << 12n, last: (BigInt(first + count) << 12n) - 1n });

/** Shows an area, whose pages are pinned, by a domain. @throws VfioError what the driver says; nothing is shown then */
export const show = (domain: IommuDomain, { first, count, access, pages, skip }: Area): void => {
  let at = 0;
  try {
    for (const run of pages.runs(skip, count)) {
      const iova = BigInt(first + at) << 12n;
      asVfioError(() => { domain.map(iova, run.hpa, run.pages * PAGE_SIZE, access); });
      at += run.pages;
    }
  } catch (error) {
    if (at > 0) domain.unmap(BigInt(first) << 12n, at * PAGE_SIZE);
    domain.flush();
    throw error;
  }
};

/** Takes an area out of a domain; `flush` makes the hardware forget it. */
export const hide = (domain: IommuDomain, { first, count }: Area): void => {
  domain.unmap(BigInt(first) << 12n, count * PAGE_SIZE);
};
