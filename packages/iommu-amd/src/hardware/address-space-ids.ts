/** Tag of translations that no PASID belongs to: host ones. */
export const NO_TAG = -1;

/** The numbers of one (domain, PASID): one a table, since devices of a domain may wrongly have different ones. */
interface Tagged {
  readonly tables: number[];
  readonly ids: number[];
}

/**
 * Gives each (domain, PASID or none, top table) a number that its cached translations are tagged with. Invalidating a domain
 * forgets its numbers, so that nothing cached under them is ever found again: constant time, however much is cached.
 * Model: the architecture tags by domain and PASID alone; software must give one domain one table.
 */
export class AddressSpaceIds {
  /** Changes with every invalidation of more than pages: numbers remembered elsewhere are looked up again. */
  epoch = 0;
  #next = 1;
  readonly #domains = new Map<number, Map<number, Tagged>>();
  readonly #current = new Set<number>();
  readonly #byTable: boolean;

  /** @param byTable the top table is part of the tag */
  constructor(byTable: boolean) {
    this.#byTable = byTable;
  }

  /** The current number of a domain's PASID, or of its host translations (`NO_TAG`), under a top table. */
  idOf(domain: number, tag: number, table: number): number {
    let tags = this.#domains.get(domain);
    if (tags === undefined) this.#domains.set(domain, (tags = new Map<number, Tagged>()));
    let tagged = tags.get(tag);
    if (tagged === undefined) tags.set(tag, (tagged = { tables: [], ids: [] }));
    const at = this.#byTable ? tagged.tables.indexOf(table) : tagged.ids.length - 1;
    const found = tagged.ids[at];
    if (found !== undefined) return found;
    const id = this.#next++;
    tagged.tables.push(table);
    tagged.ids.push(id);
    this.#current.add(id);
    return id;
  }

  /** Whether translations cached under a number can still be found. */
  isCurrent(id: number): boolean {
    return this.#current.has(id);
  }

  /** The numbers under which translations may be cached. */
  find(domain: number, tag: number): readonly number[] {
    return this.#domains.get(domain)?.get(tag)?.ids ?? NONE;
  }

  invalidateAll(): void {
    this.#domains.clear();
    this.#current.clear();
    this.epoch++;
  }

  /** Everything of a domain, with and without PASID. */
  invalidateDomain(domain: number): void {
    const tags = this.#domains.get(domain);
    if (tags === undefined) return;
    for (const tag of tags.keys()) this.#forget(tags, tag);
    this.epoch++;
  }

  /** Everything of one PASID of a domain. */
  invalidateTag(domain: number, tag: number): void {
    const tags = this.#domains.get(domain);
    if (tags === undefined) return;
    this.#forget(tags, tag);
    this.epoch++;
  }

  /** Everything of a domain that has a PASID. */
  invalidatePasidsOf(domain: number): void {
    const tags = this.#domains.get(domain);
    if (tags === undefined || tags.size === (tags.has(NO_TAG) ? 1 : 0)) return;
    for (const tag of tags.keys()) if (tag !== NO_TAG) this.#forget(tags, tag);
    this.epoch++;
  }

  #forget(tags: Map<number, Tagged>, tag: number): void {
    for (const id of tags.get(tag)?.ids ?? NONE) this.#current.delete(id);
    tags.delete(tag);
  }
}

const NONE: readonly number[] = [];
