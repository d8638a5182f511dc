import type { CachedTable } from "@iommu-lab/pci-bus";
import { highOf } from "./table-memory.ts";

/** A table that is known, by the number of its address space. */
interface SpacedTable extends Omit<CachedTable, "domain" | "pasid"> {
  readonly space: number;
}

/**
 * Remembers where walks have been: for a prefix of the address, the table of a lower level and the rights so far: the page
 * directory cache that INVALIDATE_IOMMU_PAGES with PDE=1 reaches. AMD-Vi §2.4.3.
 */
export interface PagingStructureCache {
  /** The highest level whose tables it keeps. */
  readonly keptLevels: number;
  /** Found by the last `find`: the table's page number, bits 31:0 as int32 and those above, so that it never is a double, and the rights. */
  tableLow: number;
  tableHigh: number;
  rights: number;
  /** The lowest level whose table is known for a page, which is then in the fields above; 0 when none is. Looks below `levels` only. */
  find(space: number, low: number, high: number, levels: number): number;
  /** Remembers the table of `level`, 1 to `keptLevels`, for a page. */
  insert(space: number, low: number, high: number, level: number, table: number, rights: number): void;
  /** Forgets an address space's (never 0) ways to the 2^`mask` pages around a page. */
  invalidatePages(space: number, low: number, high: number, mask: number): void;
  /** The same for one page. */
  invalidatePage(space: number, low: number, high: number): void;
  /** Everything kept, also of address spaces that were forgotten. */
  entries(): Iterable<SpacedTable>;
}

const SLOTS = 64;
/** The small cache remembers tables of level 1 alone: looking for one more level costs more than the entry that it saves. */
const LEVEL = 1;
/** Tables that entries lead to: of levels 1 to 5. */
const LEVELS = 5;
/** Words of a slot: address space, tag low and high, table low and high, rights. */
const SLOT_WORDS = 8;
const TAG_LOW = 1;
const TAG_HIGH = 2;
const TABLE = 3;
const TABLE_HIGH = 4;
const RIGHTS = 5;

/** 64 tables of level 1, direct mapped. */
export class SmallPagingStructureCache implements PagingStructureCache {
  readonly keptLevels = LEVEL;
  tableLow = 0;
  tableHigh = 0;
  rights = 0;
  readonly #slots = new Int32Array(SLOTS * SLOT_WORDS);

  find(space: number, low: number, high: number): number {
    if (space === 0) return 0;
    const slots = this.#slots;
    const tag = tagOf(low, high);
    const at = slotOf(space, tag);
    // A table that begins at level 1 leaves nothing here, and no other table has its number.
    if (slots[at] !== space || slots[at + TAG_LOW] !== tag || slots[at + TAG_HIGH] !== high >>> 9) return 0;
    this.tableLow = slots[at + TABLE] as number; // the slot is masked
    this.tableHigh = slots[at + TABLE_HIGH] as number;
    this.rights = slots[at + RIGHTS] as number;
    return LEVEL;
  }

  insert(space: number, low: number, high: number, _level: number, table: number, rights: number): void {
    const slots = this.#slots;
    const tag = tagOf(low, high);
    const at = slotOf(space, tag);
    slots[at] = space;
    slots[at + TAG_LOW] = tag;
    slots[at + TAG_HIGH] = high >>> 9;
    slots[at + TABLE] = table;
    slots[at + TABLE_HIGH] = highOf(table);
    slots[at + RIGHTS] = rights;
  }

  invalidatePages(space: number, low: number, high: number, mask: number): void {
    if (mask >= 9) this.#forget(space);
    else this.invalidatePage(space, low, high);
  }

  invalidatePage(space: number, low: number, high: number): void {
    const slots = this.#slots;
    const tag = tagOf(low, high);
    const at = slotOf(space, tag);
    if (slots[at] === space && slots[at + TAG_LOW] === tag && slots[at + TAG_HIGH] === high >>> 9) slots[at] = 0;
  }

  *entries(): Generator<SpacedTable> {
    const slots = this.#slots;
    for (let at = 0; at < slots.length; at += SLOT_WORDS) {
      const space = slots[at] as number; // a slot begins at each
      if (space !== 0) yield { space, level: LEVEL, page: pageNumber(slots[at + TAG_LOW] as number, slots[at + TAG_HIGH] as number) * 512, table: pageNumber(slots[at + TABLE] as number, slots[at + TABLE_HIGH] as number) };
    }
  }

  /** For what is wider than a table of level 1: single entries would cost more than they save. */
  #forget(space: number): void {
    const slots = this.#slots;
    for (let at = 0; at < slots.length; at += SLOT_WORDS) if (slots[at] === space) slots[at] = 0;
  }
}

/** A page number's bits above those that a table of level 1 translates: bits 31:0 of them. */
const tagOf = (low: number, high: number): number => (low >>> 9) | (high << 23);
const slotOf = (space: number, tag: number): number => ((tag + Math.imul(space, 0x9e37_79b1)) & (SLOTS - 1)) * SLOT_WORDS;

/** Keeps every directory entry until it is invalidated. */
export class UnboundedPagingStructureCache implements PagingStructureCache {
  readonly keptLevels = LEVELS;
  tableLow = 0;
  tableHigh = 0;
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
      this.tableLow = found.table | 0;
      this.tableHigh = highOf(found.table);
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

  invalidatePage(space: number, low: number, high: number): void {
    this.invalidatePages(space, low, high, 0);
  }

  *entries(): Generator<SpacedTable> {
    for (const [space, levels] of this.#spaces) for (const [level, entries] of levels.entries()) for (const [key, { table }] of entries) yield { space, level, page: key * 2 ** (9 * level), table };
  }
}

const pageNumber = (low: number, high: number): number => (low >>> 0) + (high >>> 0) * 0x1_0000_0000;
const prefixOf = (low: number, high: number, level: number): number => Math.floor(pageNumber(low, high) / 2 ** (9 * level));

/** Never remembers anything. */
export const NO_STRUCTURE_CACHE: PagingStructureCache = { keptLevels: 0, tableLow: 0, tableHigh: 0, rights: 0, find: () => 0, insert: () => undefined, invalidatePages: () => undefined, invalidatePage: () => undefined, entries: () => [] };
