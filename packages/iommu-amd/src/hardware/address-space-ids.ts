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

/** What a domain's translations are tagged with: its host ones, which every invalidation of pages asks for, and its PASIDs. */
class Domain {
  readonly host = new Tagged();
  readonly pasids = new Map<number, Tagged>();
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
  readonly #domains = new Map<number, Domain>();
  /** The domain asked for last: invalidations come in runs. */
  #lastDomain = -1;
  #last: Domain | undefined;
  /** The domain that `onlyIdOf` was asked for last, and what it said: valid until numbers are given or forgotten. */
  #onlyDomain = -1;
  #onlyId = 0;
  /** Numbers in use, for caches that keep no table in the tag. */
  readonly #current = new Set<number>();
  readonly #byTable: boolean;

  /** @param byTable the top table is part of the tag */
  constructor(byTable: boolean) {
    this.#byTable = byTable;
  }

  /** The current number of a domain's PASID, or of its host translations (`NO_TAG`), under a top table. */
  idOf(domain: number, tag: number, table: number): number {
    let known = this.#domainOf(domain);
    if (known === undefined) {
      known = new Domain();
      this.#domains.set(domain, known);
      this.#last = known;
    }
    let tagged = this.#taggedOf(known, tag);
    if (tagged === undefined) {
      tagged = new Tagged();
      tagged.generation = this.#generation;
      known.pasids.set(tag, tagged);
    }
    for (let i = 0; i < tagged.count; i++) if (!this.#byTable || tagged.tables[i] === table) return tagged.ids[i] as number; // i is below the count
    const id = this.#next++;
    this.#onlyDomain = -1;
    tagged.tables[tagged.count] = table;
    tagged.ids[tagged.count++] = id;
    if (!this.#byTable) this.#current.add(id);
    return id;
  }

  /** Whether translations cached under a number can still be found. Known only where the table is no part of the tag. */
  isCurrent(id: number): boolean {
    return this.#current.has(id);
  }

  /** What each number in use stands for. */
  inUse(): ReadonlyMap<number, { readonly domain: number; readonly tag: number }> {
    const known = new Map<number, { readonly domain: number; readonly tag: number }>();
    for (const [domain, tags] of this.#domains)
      for (const [tag, { count, generation, ids }] of [[NO_TAG, tags.host], ...tags.pasids] as const) if (generation === this.#generation) for (const id of ids.slice(0, count)) known.set(id, { domain, tag });
    return known;
  }

  /** The numbers under which translations may be cached: the first `count` of `ids`. */
  find(domain: number, tag: number): { readonly count: number; readonly ids: readonly number[] } | undefined {
    const known = this.#domainOf(domain);
    return known === undefined ? undefined : this.#taggedOf(known, tag);
  }

  /** The number under which everything of a domain is cached, when there is only one and it is its host table's; 0 otherwise. */
  onlyIdOf(domain: number): number {
    return domain === this.#onlyDomain ? this.#onlyId : this.#findOnly(domain);
  }

  invalidateAll(): void {
    this.#generation++;
    this.#current.clear();
    this.#onlyDomain = -1;
    this.epoch++;
  }

  /** Everything of a domain, with and without PASID. */
  invalidateDomain(domain: number): void {
    const known = this.#domainOf(domain);
    if (known === undefined) return;
    this.#forget(known, NO_TAG);
    this.#forgetPasids(known);
    this.epoch++;
  }

  /** Everything of one PASID of a domain. */
  invalidateTag(domain: number, tag: number): void {
    const known = this.#domainOf(domain);
    if (known === undefined) return;
    this.#forget(known, tag);
    this.epoch++;
  }

  /** Everything of a domain that has a PASID. */
  invalidatePasidsOf(domain: number): void {
    const known = this.#domainOf(domain);
    if (known === undefined || known.pasids.size === 0) return;
    this.#forgetPasids(known);
    this.epoch++;
  }

  #findOnly(domain: number): number {
    const known = this.#domainOf(domain);
    const tagged = known === undefined ? undefined : this.#taggedOf(known, NO_TAG);
    this.#onlyDomain = domain;
    this.#onlyId = known?.pasids.size === 0 && tagged?.count === 1 ? (tagged.ids[0] as number) : 0; // the count
    return this.#onlyId;
  }

  #domainOf(domain: number): Domain | undefined {
    if (domain === this.#lastDomain) return this.#last;
    this.#lastDomain = domain;
    return (this.#last = this.#domains.get(domain));
  }

  #taggedOf(domain: Domain, tag: number): Tagged | undefined {
    const tagged = tag === NO_TAG ? domain.host : domain.pasids.get(tag);
    if (tagged !== undefined && tagged.generation !== this.#generation) {
      tagged.generation = this.#generation;
      tagged.count = 0;
    }
    return tagged;
  }

  #forgetPasids(domain: Domain): void {
    for (const tag of domain.pasids.keys()) this.#forget(domain, tag);
  }

  /** Those of PASIDs go, since PASIDs come and go; host ones stay to be filled again. */
  #forget(domain: Domain, tag: number): void {
    this.#onlyDomain = -1;
    const tagged = this.#taggedOf(domain, tag);
    if (tagged === undefined) return;
    if (!this.#byTable) for (let i = 0; i < tagged.count; i++) this.#current.delete(tagged.ids[i] as number); // i is below the count
    if (tag === NO_TAG) tagged.count = 0;
    else domain.pasids.delete(tag);
  }
}
