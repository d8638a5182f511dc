import { prefixHigh, prefixLow } from "./iotlb.ts";

/** Levels whose tables entries lead to: 1 to 5. */
const LEVELS = 5;

/**
 * Remembers where walks have been: for a prefix of the address, the table of a lower level and the rights so far: the page
 * directory cache that INVALIDATE_IOMMU_PAGES with PDE=1 reaches. AMD-Vi §2.4.3.
 */
export interface PagingStructureCache {
  /** Found by the last `find`. */
  table: number;
  rights: number;
  /** The lowest level whose table is known for a page, with `table` and `rights` set; 0 when none is. Looks below `levels` only. */
  find(space: number, low: number, high: number, levels: number): number;
  /** Remembers the table of `level` (1 to 5) for a page. */
  insert(space: number, low: number, high: number, level: number, table: number, rights: number): void;
  /** Forgets an address space's (never 0) ways to the 2^`mask` pages around a page. */
  invalidatePages(space: number, low: number, high: number, mask: number): void;
}

const SLOTS = 64;

/** 64 entries a level, direct mapped. */
export class SmallPagingStructureCache implements PagingStructureCache {
  table = 0;
  rights = 0;
  readonly #space = new Int32Array(SLOTS * LEVELS);
  readonly #low = new Int32Array(SLOTS * LEVELS);
  readonly #high = new Int32Array(SLOTS * LEVELS);
  readonly #rights = new Uint8Array(SLOTS * LEVELS);
  readonly #table = new Float64Array(SLOTS * LEVELS);

  find(space: number, low: number, high: number, levels: number): number {
    if (space === 0) return 0;
    for (let level = 1; level < levels; level++) {
      const tag = prefixLow(low, high, 9 * level);
      const at = slotOf(space, tag, level);
      if (this.#space[at] !== space || this.#low[at] !== tag || this.#high[at] !== prefixHigh(high, 9 * level)) continue;
      this.table = this.#table[at] as number; // the slot is masked
      this.rights = this.#rights[at] as number;
      return level;
    }
    return 0;
  }

  insert(space: number, low: number, high: number, level: number, table: number, rights: number): void {
    const tag = prefixLow(low, high, 9 * level);
    const at = slotOf(space, tag, level);
    this.#space[at] = space;
    this.#low[at] = tag;
    this.#high[at] = prefixHigh(high, 9 * level);
    this.#rights[at] = rights;
    this.#table[at] = table;
  }

  invalidatePages(space: number, low: number, high: number, mask: number): void {
    if (mask >= 9) {
      // Wider than a table of level 1: what one entry would cost is more than it saves.
      for (let at = 0; at < this.#space.length; at++) if (this.#space[at] === space) this.#space[at] = 0;
      return;
    }
    for (let level = 1; level <= LEVELS; level++) {
      const tag = prefixLow(low, high, 9 * level);
      const at = slotOf(space, tag, level);
      if (this.#space[at] === space && this.#low[at] === tag && this.#high[at] === prefixHigh(high, 9 * level)) this.#space[at] = 0;
    }
  }
}

const slotOf = (space: number, tag: number, level: number): number => (level - 1) * SLOTS + ((tag + Math.imul(space, 0x9e37_79b1)) & (SLOTS - 1));

/** Keeps every directory entry until it is invalidated. */
export class UnboundedPagingStructureCache implements PagingStructureCache {
  table = 0;
  rights = 0;
  /** By address space, then by level. */
  readonly #spaces = new Map<number, readonly Map<number, { readonly table: number; readonly rights: number }>[]>();
  readonly #isCurrent: (space: number) => boolean;

  /** @param isCurrent whether entries of an address space can still be found */
  constructor(isCurrent: (space: number) => boolean) {
    this.#isCurrent = isCurrent;
  }

  find(space: number, low: number, high: number, levels: number): number {
    const entries = this.#spaces.get(space);
    if (entries === undefined) return 0;
    for (let level = 1; level < levels; level++) {
      const found = entries[level]?.get(prefixOf(low, high, level));
      if (found === undefined) continue;
      this.table = found.table;
      this.rights = found.rights;
      return level;
    }
    return 0;
  }

  insert(space: number, low: number, high: number, level: number, table: number, rights: number): void {
    let entries = this.#spaces.get(space);
    if (entries === undefined) {
      for (const old of this.#spaces.keys()) if (!this.#isCurrent(old)) this.#spaces.delete(old);
      this.#spaces.set(space, (entries = Array.from({ length: LEVELS + 1 }, () => new Map<number, { table: number; rights: number }>())));
    }
    entries[level]?.set(prefixOf(low, high, level), { table, rights });
  }

  /** Only the entries on the way to the pages named; those of other pages stay. */
  invalidatePages(space: number, low: number, high: number, mask: number): void {
    const first = Math.floor(pageNumber(low, high) / 2 ** mask) * 2 ** mask;
    for (const [level, entries] of this.#spaces.get(space)?.entries() ?? []) {
      const size = 2 ** (9 * level);
      for (const key of entries.keys()) if (key * size < first + 2 ** mask && first < (key + 1) * size) entries.delete(key);
    }
  }
}

const pageNumber = (low: number, high: number): number => (low >>> 0) + (high >>> 0) * 0x1_0000_0000;
const prefixOf = (low: number, high: number, level: number): number => Math.floor(pageNumber(low, high) / 2 ** (9 * level));

/** Never remembers anything. */
export const NO_STRUCTURE_CACHE: PagingStructureCache = { table: 0, rights: 0, find: () => 0, insert: () => undefined, invalidatePages: () => undefined };
