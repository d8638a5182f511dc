import { tagLow } from "./iotlb.ts";
import { highOf } from "./table-memory.ts";

/** Levels whose entries name a table: an entry of level 2 to 5 leads to a table of level 1 to 4. */
const LEVELS = 4;

/**
 * Remembers where walks have been: for a prefix of the address, the table of the next lower level and the rights so far.
 * VT-d §6.2.4 "Paging-Structure Caches". Direct mapped, or unbounded for the adversarial policy.
 */
export interface PagingStructureCache {
  /** Found by the last `find`. */
  table: number;
  rights: number;
  /** The lowest level whose table is known for a page, with `table` and `rights` set; 0 when none is. Looks below `levels` only. */
  find(space: number, low: number, high: number, levels: number): number;
  /** Remembers the table of `level` (1 to 4) for a page. */
  insert(space: number, low: number, high: number, level: number, table: number, rights: number): void;
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
  readonly #table = new Int32Array(SLOTS * LEVELS);
  readonly #tableHigh = new Int32Array(SLOTS * LEVELS);

  find(space: number, low: number, high: number, levels: number): number {
    if (space === 0) return 0;
    for (let level = 1; level < levels; level++) {
      const bits = 9 * level;
      const tag = prefixLow(low, high, bits);
      const at = slotOf(space, tag, level);
      if (this.#space[at] !== space || this.#low[at] !== tag || this.#high[at] !== prefixHigh(high, bits)) continue;
      const first = this.#table[at] as number; // the slot is masked
      const far = this.#tableHigh[at] as number;
      // Two int32: a double here would make every table number behind it one.
      this.table = far === 0 && first >= 0 ? first : far * 0x1_0000_0000 + (first >>> 0);
      this.rights = this.#rights[at] as number;
      return level;
    }
    return 0;
  }

  insert(space: number, low: number, high: number, level: number, table: number, rights: number): void {
    const bits = 9 * level;
    const tag = prefixLow(low, high, bits);
    const at = slotOf(space, tag, level);
    this.#space[at] = space;
    this.#low[at] = tag;
    this.#high[at] = prefixHigh(high, bits);
    this.#rights[at] = rights;
    this.#table[at] = table;
    this.#tableHigh[at] = highOf(table);
  }

  invalidatePages(space: number, low: number, high: number, mask: number): void {
    if (space === 0) return;
    if (mask >= 9) {
      // Wider than a table of level 1: what one entry would cost is more than it saves.
      for (let at = 0; at < this.#space.length; at++) if (this.#space[at] === space) this.#space[at] = 0;
      return;
    }
    for (let level = 1; level <= LEVELS; level++) {
      const bits = 9 * level;
      const tag = prefixLow(low, high, bits);
      const at = slotOf(space, tag, level);
      if (this.#space[at] === space && this.#low[at] === tag && this.#high[at] === prefixHigh(high, bits)) this.#space[at] = 0;
    }
  }
}

const slotOf = (space: number, tag: number, level: number): number => (level - 1) * SLOTS + ((tag + Math.imul(space, 0x9e37_79b1)) & (SLOTS - 1));
const prefixLow = (low: number, high: number, bits: number): number => (bits < 32 ? tagLow(low, high, bits) : high >>> (bits - 32));
const prefixHigh = (high: number, bits: number): number => (bits < 32 ? high >>> bits : 0);

/** Keeps every non-leaf entry until it is invalidated. */
export class UnboundedPagingStructureCache implements PagingStructureCache {
  table = 0;
  rights = 0;
  readonly #spaces = new Map<number, Map<number, { readonly table: number; readonly rights: number }>>();
  readonly #isCurrent: (space: number) => boolean;

  /** @param isCurrent whether entries of an address space can still be found */
  constructor(isCurrent: (space: number) => boolean) {
    this.#isCurrent = isCurrent;
  }

  find(space: number, low: number, high: number, levels: number): number {
    const entries = this.#spaces.get(space);
    if (entries === undefined) return 0;
    for (let level = 1; level < levels; level++) {
      const found = entries.get(keyOf(low, high, level));
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
      this.#spaces.set(space, (entries = new Map<number, { readonly table: number; readonly rights: number }>()));
    }
    entries.set(keyOf(low, high, level), { table, rights });
  }

  /** Only the entries on the way to the pages named; those of other pages stay. VT-d §6.5.1.2. */
  invalidatePages(space: number, low: number, high: number, mask: number): void {
    const entries = this.#spaces.get(space);
    if (entries === undefined) return;
    const first = Math.floor(pageNumber(low, high) / 2 ** mask) * 2 ** mask;
    for (const key of entries.keys()) {
      const level = key % 8;
      const size = 2 ** (9 * level);
      const start = Math.floor(key / 8) * size;
      if (start < first + 2 ** mask && first < start + size) entries.delete(key);
    }
  }
}

const pageNumber = (low: number, high: number): number => (low >>> 0) + (high >>> 0) * 0x1_0000_0000;
const keyOf = (low: number, high: number, level: number): number => Math.floor(pageNumber(low, high) / 2 ** (9 * level)) * 8 + level;

/** Never remembers anything. */
export const NO_STRUCTURE_CACHE: PagingStructureCache = { table: 0, rights: 0, find: () => 0, insert: () => undefined, invalidatePages: () => undefined };
