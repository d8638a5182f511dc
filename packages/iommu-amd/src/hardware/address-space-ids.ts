/** Tag of translations that no PASID belongs to: host ones. */
export const NO_TAG = -1;

/** The numbers of one (domain, PASID): one a table, since devices of a domain may wrongly have different ones. Used again when they were forgotten. */
class Tagged {
  /** How many there are; what is behind them in the arrays is old. */
  count = 0;
  /** The invalidation of everything since which they were given. */
  generation = 0;
  readonly tables: number[] = [];
  readonly ids: number[] = [];
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
  #generation = 0;
  readonly #domains = new Map<number, Map<number, Tagged>>();
  /** The domain asked for last: invalidations come in runs. */
  #lastDomain = -1;
  #lastTags: Map<number, Tagged> | undefined;
  /** Numbers in use, for caches that keep no table in the tag. */
  readonly #current = new Set<number>();
  readonly #byTable: boolean;

  /** @param byTable the top table is part of the tag */
  constructor(byTable: boolean) {
    this.#byTable = byTable;
  }

  /** The current number of a domain's PASID, or of its host translations (`NO_TAG`), under a top table. */
  idOf(domain: number, tag: number, table: number): number {
    let tags = this.#tagsOf(domain);
    if (tags === undefined) {
      tags = new Map<number, Tagged>();
      this.#domains.set(domain, tags);
      this.#lastTags = tags;
    }
    let tagged = this.#taggedIn(tags, tag);
    if (tagged === undefined) {
      tagged = new Tagged();
      tagged.generation = this.#generation;
      tags.set(tag, tagged);
    }
    for (let i = 0; i < tagged.count; i++) if (!this.#byTable || tagged.tables[i] === table) return tagged.ids[i] as number; // i is below the count
    const id = this.#next++;
    tagged.tables[tagged.count] = table;
    tagged.ids[tagged.count++] = id;
    if (!this.#byTable) this.#current.add(id);
    return id;
  }

  /** Whether translations cached under a number can still be found. Known only where the table is no part of the tag. */
  isCurrent(id: number): boolean {
    return this.#current.has(id);
  }

  /** The numbers under which translations may be cached: the first `count` of `ids`. */
  find(domain: number, tag: number): { readonly count: number; readonly ids: readonly number[] } | undefined {
    const tags = this.#tagsOf(domain);
    return tags === undefined ? undefined : this.#taggedIn(tags, tag);
  }

  invalidateAll(): void {
    this.#generation++;
    this.#current.clear();
    this.epoch++;
  }

  /** Everything of a domain, with and without PASID. */
  invalidateDomain(domain: number): void {
    const tags = this.#tagsOf(domain);
    if (tags === undefined) return;
    this.#forget(tags, NO_TAG);
    this.#forgetPasids(tags);
    this.epoch++;
  }

  /** Everything of one PASID of a domain. */
  invalidateTag(domain: number, tag: number): void {
    const tags = this.#tagsOf(domain);
    if (tags === undefined) return;
    this.#forget(tags, tag);
    this.epoch++;
  }

  /** Everything of a domain that has a PASID. */
  invalidatePasidsOf(domain: number): void {
    const tags = this.#tagsOf(domain);
    if (tags !== undefined && this.#forgetPasids(tags)) this.epoch++;
  }

  #tagsOf(domain: number): Map<number, Tagged> | undefined {
    if (domain === this.#lastDomain) return this.#lastTags;
    this.#lastDomain = domain;
    return (this.#lastTags = this.#domains.get(domain));
  }

  #taggedIn(tags: ReadonlyMap<number, Tagged>, tag: number): Tagged | undefined {
    const tagged = tags.get(tag);
    if (tagged !== undefined && tagged.generation !== this.#generation) {
      tagged.generation = this.#generation;
      tagged.count = 0;
    }
    return tagged;
  }

  /** @returns whether there were any */
  #forgetPasids(tags: Map<number, Tagged>): boolean {
    if (tags.size === (tags.has(NO_TAG) ? 1 : 0)) return false;
    for (const tag of tags.keys()) if (tag !== NO_TAG) this.#forget(tags, tag);
    return true;
  }

  /** Those of PASIDs go, since PASIDs come and go; host ones stay to be filled again. */
  #forget(tags: Map<number, Tagged>, tag: number): void {
    const tagged = this.#taggedIn(tags, tag);
    if (tagged === undefined) return;
    if (!this.#byTable) for (let i = 0; i < tagged.count; i++) this.#current.delete(tagged.ids[i] as number); // i is below the count
    if (tag === NO_TAG) tagged.count = 0;
    else tags.delete(tag);
  }
}
