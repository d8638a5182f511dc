import type { Pfn } from "@iommu-lab/memory";
import type { Translation } from "../iommu.ts";
import type { Access, DeviceTlbInvalidation } from "../transaction.ts";

/** A translation that a function keeps. */
export interface CachedTranslation {
  /** 20 bits, or `NO_PASID`. */
  readonly pasid: number;
  /** First page of what it covers. */
  readonly page: Pfn<"IOVA">;
  readonly hostPage: Pfn<"HPA">;
  /** log2 of the bytes it covers. */
  readonly pageShift: number;
  readonly permissions: Access;
  /** Holds for every PASID. */
  readonly global: boolean;
}

const covers = (pageShift: number): number => 2 ** (pageShift - 12);

/** A function's address translation cache (ATC, device-TLB). PCIe §10.1 "ATS Architectural Overview". */
export class AddressTranslationCache {
  #entries: CachedTranslation[] = [];

  get entries(): readonly CachedTranslation[] {
    return this.#entries;
  }

  /** The translation that covers a page and allows the access. */
  find(pasid: number, page: Pfn<"IOVA">, access: Access): CachedTranslation | undefined {
    return this.#entries.find((entry) => (entry.global || entry.pasid === pasid) && page >= entry.page && page < entry.page + covers(entry.pageShift) && (entry.permissions & access) === access);
  }

  /** Keeps a translation completion's contents for `page`. */
  insert(pasid: number, page: Pfn<"IOVA">, translation: Readonly<Translation>): CachedTranslation {
    const inside = page % covers(translation.pageShift);
    const entry: CachedTranslation = { pasid, page: page - inside, hostPage: translation.page - inside, pageShift: translation.pageShift, permissions: translation.permissions, global: translation.global };
    this.#entries = [...this.#entries.filter((old) => old.pasid !== pasid || old.page !== entry.page || old.pageShift !== entry.pageShift), entry];
    return entry;
  }

  /** Drops what an invalidate request names: of its PASID (or of none), with the Global Invalidate bit of all. PCIe §10.3.1, §10.3.8. */
  invalidate({ pasid, page, sizeShift, global }: DeviceTlbInvalidation): void {
    const size = 2 ** (sizeShift - 12);
    this.#entries = this.#entries.filter((entry) => {
      const apart = sizeShift < 64 && (entry.page >= page + size || entry.page + covers(entry.pageShift) <= page);
      const other = !global && entry.pasid !== pasid;
      return apart || other;
    });
  }

  clear(): void {
    this.#entries = [];
  }
}
