import type { Access, ExplanationSink } from "@iommu-lab/pci-bus";
import { HOST_PDE, HOST_PTE } from "../layouts/index.ts";
import { explainStructure } from "./explain.ts";
import type { PagingStructureCache } from "./paging-structure-cache.ts";
import { addressBitsAbove, FROM_8_TIB, lowPageIn, highPageIn, pageIn, numberOf, type TableMemory } from "./table-memory.ts";
import { FAULT_TEXT, WalkFault } from "./walk-fault.ts";

// The module's own: an imported constant is looked up at every use, which hits and walks feel.
const { Level, None, NotPresent, Permission, Reserved, Unreadable } = WalkFault;
const PRESENT = 1;
const ACCESSED = 1 << 5;
const DIRTY = 1 << 6;
/** Bits of an entry's high word. */
export const HOST_HIGH = {
  PDE_RESERVED: 0x1ff0_0000,
  PTE_RESERVED: 0x07f0_0000,
  RIGHTS_SHIFT: 29,
} as const;
const { PDE_RESERVED, PTE_RESERVED, RIGHTS_SHIFT } = HOST_HIGH;
const READ_WRITE = 3;
/** Next Level of a page whose size is in its address. */
const SIZED = 7;
/** No leaf is at level 6. */
const LEAF_LEVELS = 5;

/** A host (v1) page table and how it is kept. */
export interface HostTable {
  /** Page number of the top table. */
  hostTable: number;
  /** Mode: 1 to 6. */
  hostLevels: number;
  /** Accessed bits are written. */
  hostAccessed: boolean;
  /** Dirty bits are written. */
  hostDirty: boolean;
  /** Tag of what walks leave in the paging-structure cache; 0 for none. */
  hostSpace: number;
}

/**
 * Walks host (v1) page tables. AMD-Vi §2.2.3 "I/O Page Tables for Host Translations". The results are in the walker's own
 * fields, so that a walk makes no object.
 */
export class HostWalker {
  /** 4 KiB page number that the page asked for translates to: bits 31:0 as int32, and those above. In two words, so that it never is a double. */
  pageLow = 0;
  pageHigh = 0;
  /** log2 of the page's bytes. */
  shift = 12;
  /** `Access` bits that every level allows; the device table entry's are not in. */
  rights = 0;
  /** The leaf's high word. */
  leaf = 0;
  /** A write through this translation has to set D first. */
  clean = false;
  /** Where the entry was that could not be read. */
  unreadable = 0;
  /** Entries read. */
  reads = 0;
  readonly #memory: TableMemory;
  readonly #structures: PagingStructureCache;
  /** Reserved bits of an entry that leads to a table, in its high word: address bits above PAsize too. */
  readonly #directoryReserved: number;
  readonly #pageLimit: number;
  /** What the plain part of a walk leaves to the rest of it: reserved bits, and tables from 8 TiB on, whose page numbers are no int32. */
  readonly #plainDirectoryReserved: number;
  readonly #plainPageReserved: number;
  /** The highest level whose pages the plain part takes: they end below PAsize wherever they begin below it. */
  readonly #plainPageLevels: number;
  /** The table where the plain part of a walk stopped: nothing of its entry is done. */
  #table = 0;

  constructor(memory: TableMemory, physicalAddressWidth: number, structures: PagingStructureCache) {
    this.#memory = memory;
    this.#structures = structures;
    this.#directoryReserved = PDE_RESERVED | addressBitsAbove(physicalAddressWidth);
    this.#pageLimit = 2 ** (physicalAddressWidth - 12);
    this.#plainDirectoryReserved = this.#directoryReserved | FROM_8_TIB;
    this.#plainPageReserved = PTE_RESERVED | addressBitsAbove(physicalAddressWidth);
    this.#plainPageLevels = Math.min(3, 1 + Math.floor((physicalAddressWidth - 12) / 9));
  }

  /**
   * Walks for one page.
   * @param low    bits 31:0 of the page number, as int32
   * @param high   the 20 bits above
   * @param access rights that every level must have; 0 asks for any
   * @param write  a write: set D as well, where the leaf allows writing
   * @returns a `WalkFault`
   */
  walk(stage: Readonly<HostTable>, low: number, high: number, access: Access, write: boolean, explain?: ExplanationSink): number {
    const levels = stage.hostLevels;
    if (prefix(low, high, levels) !== 0) return Level;
    const memory = this.#memory;
    const structures = this.#structures;
    const space = stage.hostSpace;
    // An int32 all the way: where it might be a double, every level would be slower.
    let table = stage.hostTable | 0;
    let plain = explain === undefined && table === stage.hostTable;
    let level = levels;
    let rights = READ_WRITE;
    const known = space === 0 ? 0 : structures.find(space, low, high, levels);
    if (known !== 0) {
      level = known;
      table = structures.tableLow;
      plain = explain === undefined && structures.tableHigh === 0 && table >= 0;
      rights = structures.rights;
      // Of a cached directory entry the rights are judged as if it were read.
      if ((access & ~rights) !== 0) return Permission;
    }
    // As far as there is nothing to say, nothing to write and nothing that is no int32.
    const needed = stage.hostAccessed ? PRESENT | ACCESSED : PRESENT;
    const from = level;
    this.#table = plain ? 0 : known === 0 ? stage.hostTable : numberOf(table, structures.tableHigh);
    while (plain) {
      const words = memory.wordsOf(table);
      if (words === undefined) break;
      const at = memory.wordOf(table) + 2 * indexAt(low, high, level);
      const first = (words[at] as number) | 0; // a page has 512 entries
      const second = (words[at + 1] as number) | 0;
      const allowed = rights & (second >>> RIGHTS_SHIFT);
      if ((first & needed) !== needed || (access & ~allowed) !== 0 || allowed === 0) break;
      const next = (first >>> 9) & 7;
      if (next === 0) {
        const clean = stage.hostDirty && (first & DIRTY) === 0;
        if ((second & this.#plainPageReserved) !== 0 || level > this.#plainPageLevels || (clean && write && (allowed & 2) !== 0)) break;
        const inside = (1 << (9 * (level - 1))) - 1;
        this.pageLow = (lowPageIn(first, second) & ~inside) | (low & inside);
        this.pageHigh = highPageIn(second);
        this.shift = 12 + 9 * (level - 1);
        this.rights = allowed;
        this.leaf = second;
        this.clean = clean;
        this.reads += from - level + 1;
        return None;
      }
      if (next !== level - 1 || (second & this.#plainDirectoryReserved) !== 0) break;
      rights = allowed;
      table = lowPageIn(first, second);
      // The level that the entry names, known without waiting for the entry.
      level--;
      if (space !== 0 && level <= structures.keptLevels) structures.insert(space, low, high, level, table, allowed);
    }
    if (plain) {
      this.#table = table;
      this.reads += from - level;
    }
    return this.#walkOn(stage, low, high, access, write, level, rights, explain);
  }

  /** The rest of a walk, from the entry of `#table` at `level` on. */
  #walkOn(stage: Readonly<HostTable>, low: number, high: number, access: Access, write: boolean, from: number, allowed: number, explain: ExplanationSink | undefined): number {
    const memory = this.#memory;
    const structures = this.#structures;
    const space = stage.hostSpace;
    let table = this.#table;
    let level = from;
    let rights = allowed;
    for (;;) {
      const index = indexAt(low, high, level);
      const words = memory.wordsOf(table);
      if (words === undefined) return this.#cannotRead(table, index, level, explain);
      const at = memory.wordOf(table) + 2 * index;
      const first = (words[at] as number) | 0; // a page has 512 entries; int32 as what it is compared with
      const second = words[at + 1] as number;
      this.reads++;
      const next = (first >>> 9) & 7;
      rights &= second >>> RIGHTS_SHIFT;
      const fault = this.#judge(first, second, level, next, rights, access, low, high);
      if (explain !== undefined) explainEntry(explain, level, table * 4096 + 8 * index, words, at, fault, isPage(next));
      if (fault !== None) return fault;
      if (isPage(next)) return this.#take(stage, first, second, level, low, high, rights, table, index, write);
      if (stage.hostAccessed && (first & ACCESSED) === 0) memory.write32(table * 4096 + 8 * index, first | ACCESSED);
      table = pageIn(first, second);
      level = next;
      if (space !== 0 && level <= structures.keptLevels) structures.insert(space, low, high, level, table, rights);
    }
  }

  #cannotRead(table: number, index: number, level: number, explain: ExplanationSink | undefined): number {
    this.unreadable = table * 4096 + 8 * index;
    explain?.step({ structure: `host entry, level ${level}`, address: this.unreadable, rule: "A table is in memory", section: "AMD-Vi §2.5.5", outcome: FAULT_TEXT[Unreadable] });
    return Unreadable;
  }

  /** PR, reserved bits, rights, level: the order of AMD-Vi §2.5.3. */
  #judge(first: number, second: number, level: number, next: number, rights: number, access: Access, low: number, high: number): number {
    if ((first & PRESENT) === 0) return NotPresent;
    if (isPage(next)) {
      if ((second & PTE_RESERVED) !== 0) return Reserved;
      if ((access & ~rights) !== 0 || rights === 0) return Permission;
      return level > LEAF_LEVELS ? Level : None;
    }
    if ((second & this.#directoryReserved) !== 0) return Reserved;
    if ((access & ~rights) !== 0 || rights === 0) return Permission;
    if (next === level - 1) return None;
    return next >= level || skipped(low, high, next, level) ? Level : None;
  }

  /** Takes the page that was found. Its entry is given by table and index: its address, a large number, would be allocated. */
  #take(stage: Readonly<HostTable>, first: number, second: number, level: number, low: number, high: number, rights: number, table: number, index: number, write: boolean): number {
    let pages = 9 * (level - 1);
    if (((first >>> 9) & 7) === SIZED) {
      const bits = sizeBits(first, second);
      // Strictly between the level's own size and that of the next level.
      if (bits <= pages || bits >= pages + 9) return Level;
      pages = bits;
    }
    let page = pageIn(first, second);
    this.shift = 12;
    if (pages !== 0) {
      const base = page - (page % 2 ** pages);
      page = base + inside(low, high, pages);
      // Of a page that only begins below PAsize the part asked for is all that holds.
      this.shift = base + 2 ** pages > this.#pageLimit ? 12 : 12 + pages;
    }
    if (page >= this.#pageLimit) return Reserved;
    this.pageLow = page | 0;
    // As in `highOf`, which would be given a large number: it might be allocated.
    this.pageHigh = page >= 0x1_0000_0000 ? Math.floor(page / 0x1_0000_0000) | 0 : 0;
    this.rights = rights;
    this.leaf = second;
    this.clean = false;
    if (!stage.hostAccessed) return None;
    const wanted = first | ACCESSED | (stage.hostDirty && write && (rights & 2) !== 0 ? DIRTY : 0);
    if (wanted !== first) this.#memory.write32(table * 4096 + 8 * index, wanted);
    this.clean = stage.hostDirty && (wanted & DIRTY) === 0;
    return None;
  }
}

/** Whether an entry with this Next Level maps a page. */
const isPage = (next: number): boolean => next === 0 || next === SIZED;

const explainEntry = (explain: ExplanationSink, level: number, address: number, words: Uint32Array, at: number, fault: number, page: boolean): void => {
  explainStructure(explain, page ? HOST_PTE : HOST_PDE, `host entry, level ${level}`, address, words, at, RULES[fault] as string, "AMD-Vi §2.2.3", fault === 0 ? (page ? "page" : "next level") : (FAULT_TEXT[fault] as string));
};

/** log2 of the 4 KiB pages that a size code names: its lowest 0 bit counts too. 41 or more when there is none. */
const sizeBits = (first: number, second: number): number => {
  const zeros = ~((first >>> 12) | (second << 20));
  if (zeros !== 0) return 32 - Math.clz32(zeros & -zeros);
  const above = ~(second >>> 12) & 0xff;
  return above === 0 ? 64 : 64 - Math.clz32(above & -above);
};

/** Page number inside a page of 2^bits pages. */
const inside = (low: number, high: number, bits: number): number => (bits < 32 ? low & (2 ** bits - 1) : (low >>> 0) + (high & (2 ** (bits - 32) - 1)) * 0x1_0000_0000);

/** Index in the table of `level` for a page; level 6 has 7 bits. By shifts: a case for each level becomes a jump that processors predict badly. */
export const indexAt = (low: number, high: number, level: number): number => {
  if (level < 4) return (low >>> (9 * level - 9)) & 511;
  if (level === 4) return ((low >>> 27) | (high << 5)) & 511;
  return level === 5 ? (high >>> 4) & 511 : (high >>> 13) & 127;
};

/** What a page number has above the range of a table of so many levels: 0 or not. */
const prefix = (low: number, high: number, levels: number): number => (levels > 3 ? high >>> (9 * levels - 32) : levels === 3 ? (low >>> 27) | high : (low >>> (9 * levels)) | high);

/** Whether a page number has bits that an entry at `level` leading to `next` skips. */
const skipped = (low: number, high: number, next: number, level: number): boolean => {
  for (let between = next + 1; between < level; between++) if (indexAt(low, high, between) !== 0) return true;
  return false;
};

const RULES: readonly string[] = [
  "The entry is present, allows the access, and its level fits",
  "A present entry has PR=1",
  "Reserved bits of a present entry are 0, and its address is below PAsize",
  "Every level allows the access",
  "Next Level is below the entry's level, skipped address bits are 0, a size code fits its level",
  "A table is in memory",
];
