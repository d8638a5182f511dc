import type { Access, IommuDomain } from "@iommu-lab/pci-bus";
import { bytesOf, hide, show, type Area } from "./area.ts";
import { overlap, type IovaRange } from "./iova-range.ts";

/** Memory to be mapped: part of what others may share. */
export type Piece = Pick<Area, "count" | "pages" | "skip">;

/** Areas of an address space in every domain that shows them; pinned while there is one. Linux iopt_fill_domain, iopt_area_fill_domains. */
export class ShownAreas {
  /** In IOVA order. */
  #areas: readonly Area[] = [];
  readonly #domains = new Set<IommuDomain>();

  get all(): readonly Area[] {
    return this.#areas;
  }

  /** Whether there is a domain. */
  get shown(): boolean {
    return this.#domains.size > 0;
  }

  /** Areas that a range has bytes of. */
  within(range: IovaRange): readonly Area[] {
    return this.#areas.filter((each) => overlap(bytesOf(each), range));
  }

  /** Adds areas next to each other. @throws VfioError EFAULT, ENOMEM and what drivers say; nothing is added then */
  add(first: number, access: Access, pieces: readonly Piece[]): void {
    const added: Area[] = [];
    let at = first;
    for (const { count, pages, skip } of pieces) {
      added.push({ first: at, count, access, pages, skip, holders: 0, closing: false });
      at += count;
    }
    if (this.shown) this.#showAll(added, [...this.#domains], true);
    this.#areas = [...this.#areas, ...added].sort((a, b) => a.first - b.first);
  }

  remove(area: Area): void {
    if (this.shown) this.#hideAll([area], [...this.#domains], true);
    this.#areas = this.#areas.filter((each) => each !== area);
  }

  /** Shows all by a domain. @throws VfioError EFAULT, ENOMEM and what its driver says; nothing is shown then */
  addDomain(domain: IommuDomain): void {
    this.#showAll(this.#areas, [domain], !this.shown);
    this.#domains.add(domain);
  }

  removeDomain(domain: IommuDomain): void {
    if (this.#domains.delete(domain)) this.#hideAll(this.#areas, [domain], !this.shown);
  }

  /** @param pin no other domain shows them */
  #showAll(areas: readonly Area[], domains: readonly IommuDomain[], pin: boolean): void {
    const done: Area[] = [];
    try {
      for (const area of areas) {
        this.#show(area, domains, pin);
        done.push(area);
      }
    } catch (error) {
      this.#hideAll(done, domains, pin);
      throw error;
    }
  }

  #show(area: Area, domains: readonly IommuDomain[], pin: boolean): void {
    if (pin) area.pages.hold(area.skip, area.count);
    const done: IommuDomain[] = [];
    try {
      for (const domain of domains) {
        show(domain, area);
        done.push(domain);
      }
    } catch (error) {
      this.#hideAll([area], done, pin);
      throw error;
    }
  }

  /** @param unpin no other domain shows them */
  #hideAll(areas: readonly Area[], domains: readonly IommuDomain[], unpin: boolean): void {
    for (const domain of domains) {
      for (const area of areas) hide(domain, area);
      // Only then can no device reach the pages any more.
      domain.flush();
    }
    if (unpin) for (const { pages, skip, count } of areas) pages.letGo(skip, count);
  }
}
