import { hex, type Pfn } from "@iommu-lab/memory";
import { IommuDriverError } from "../driver.ts";
import type { Access } from "../transaction.ts";
import { pageOfEntry, writeEntry, type TableFrames } from "./table-frames.ts";

/** How a vendor's entries look. An entry whose low word is 0 is empty, and hardware then ignores its high word. */
export interface PageTableFormat {
  /** Low word of an entry that names a table of a level: by level, 1 to 5. */
  readonly table: readonly number[];
  /** High word of such an entry, above its address. */
  readonly tableHigh: number;
  /** Low and high word of a page by `Access`: none, Read, Write, both. */
  readonly page: readonly [number, number, number, number];
  readonly pageHigh: readonly [number, number, number, number];
  /** Set in the low word of a page above level 1. */
  readonly large: number;
  /** An entry above level 1 is a page when its low word is `leafValue` under `leafMask`. */
  readonly leafMask: number;
  readonly leafValue: number;
}

const SPANS = [0, 1, 2 ** 9, 2 ** 18, 2 ** 27, 2 ** 36, 2 ** 45] as const;
/** Above it a page number is not an int32. */
const INT32_PAGES = 0x8000_0000;

/** How a table is built. */
export interface PageTableOptions {
  readonly frames: TableFrames;
  readonly format: PageTableFormat;
  /** 3 to 6. */
  readonly levels: number;
  /** First page number past what may be mapped. */
  readonly limit: number;
  /** Largest level whose entries may map pages: 1, 2 (2 MiB) or 3 (1 GiB). */
  readonly largest: number;
}

/**
 * A page table in memory. What is unmapped is cleared at once, but may live on in caches until `flushed`: a cleared entry keeps
 * the number of the flush that it waits for in its high word, which hardware ignores while R, W or P are clear. An entry that
 * still waits is flushed before it is used again, and tables are freed only when they cannot be cached any more. VT-d §6.5.3.3; AMD-Vi §2.4.3.
 */
export class PageTable {
  readonly root: Pfn<"HPA">;
  readonly levels: number;
  readonly limit: number;
  /** Range of pages unmapped since the last flush: first, and the one past the last. */
  staleFirst = Infinity;
  staleEnd = 0;
  /** A table was unlinked since the last flush: paging-structure caches may know it. */
  unlinked = false;
  /** Makes the hardware forget what was unmapped, then calls `flushed`. Its domain sets it. */
  flush: () => void = () => { this.flushed(); };
  readonly #options: PageTableOptions;
  readonly #frames: TableFrames;
  /** Flags of a page by `Access`, in the low and the high word. */
  readonly #low: Int32Array;
  readonly #high: Int32Array;
  readonly #leafMask: number;
  readonly #leafValue: number;
  #waiting: Pfn<"HPA">[] = [];
  #epoch = 1;
  /** The level-1 table used last, and page >> 9 of what it maps. */
  #leafPrefix = -1;
  #leafWords: Uint32Array = new Uint32Array(0);

  constructor(options: PageTableOptions) {
    this.#options = options;
    this.#frames = options.frames;
    this.levels = options.levels;
    this.limit = options.limit;
    const { page, pageHigh, leafMask, leafValue } = options.format;
    this.#low = Int32Array.from(page);
    this.#high = Int32Array.from(pageHigh);
    this.#leafMask = leafMask;
    this.#leafValue = leafValue;
    this.root = options.frames.allocate();
  }

  /**
   * Maps `count` pages with the largest ones that fit. What fails leaves nothing mapped.
   * @param access Read, Write or both
   * @throws IommuDriverError EEXIST where something is mapped, ENOMEM without frames for tables
   */
  map(page: number, frame: Pfn<"HPA">, count: number, access: Access): void {
    const flags = this.#low[access & 3] as number; // four of them
    const high = this.#high[access & 3] as number;
    const words = this.#leafWords;
    const at = 2 * (page & 511);
    // One page in the table used last, and its entry was not used since the last flush.
    if (count === 1 && prefixOf(page) === this.#leafPrefix && words[at] === 0 && words[at + 1] !== this.#epoch) writeEntry(words, at, frame, flags, high);
    else this.#mapRange(page, frame, count, flags, high);
  }

  #mapRange(page: number, frame: Pfn<"HPA">, count: number, flags: number, high: number): void {
    let done = 0;
    try {
      while (done < count) {
        const level = this.#levelFor(page + done, frame + done, count - done);
        const words = level === 1 ? this.#leafTable(page + done) : this.#tableAt(page + done, level);
        const span = SPANS[level] as number; // a level
        const run = Math.min(512 - indexAt(page + done, level), Math.floor((count - done) / span));
        const end = done + run * span;
        for (let at = 2 * indexAt(page + done, level); done < end; at += 2, done += span) {
          if (words[at] !== 0) this.#makeRoom(words, at, level, page + done);
          else if (words[at + 1] === this.#epoch) this.flush();
          writeEntry(words, at, frame + done, level === 1 ? flags : flags | this.#options.format.large, high);
        }
      }
    } catch (error) {
      if (done > 0) {
        // The unlinked tables may be cached, with the entries just made.
        this.unmap(page, done);
        this.flush();
      }
      throw error;
    }
  }

  /** Unmaps and splits large pages at the ends. Returns how many pages were mapped. @throws IommuDriverError ENOMEM, with nothing unmapped, when a split finds no frame */
  unmap(page: number, count: number): number {
    const end = page + count;
    if (prefixOf(page) === this.#leafPrefix && (page & 511) + count <= 512) return this.#clearPages(this.#leafWords, page, end);
    this.#splitAt(page);
    this.#splitAt(end);
    return this.#clear(this.#frames.words(this.root), this.levels, 0, page, end);
  }

  /** Page number that a page is mapped to, or -1. */
  lookup(page: number): Pfn<"HPA"> {
    let words = this.#frames.words(this.root);
    for (let level = this.levels; ; level--) {
      const at = 2 * indexAt(page, level);
      const low = words[at] as number; // 512 entries of 2 words
      if (low === 0) return -1;
      const target = pageOfEntry(low, words[at + 1] as number);
      if (this.#isPage(low, level)) return target + (page % (SPANS[level] as number));
      words = this.#frames.words(target);
    }
  }

  /** Caches know nothing any more of what was unmapped: its tables are freed. */
  flushed(): void {
    this.staleFirst = Infinity;
    this.staleEnd = 0;
    this.unlinked = false;
    this.#epoch = (this.#epoch % 0xffff_ffff) + 1;
    for (const table of this.#waiting) this.#frames.free(table);
    this.#waiting = [];
  }

  /** Frees every table; no hardware may use them any more. */
  free(): void {
    this.#harvest(this.root, this.levels);
    this.#leafPrefix = -1;
    this.flushed();
  }

  #isPage(low: number, level: number): boolean {
    return level === 1 || (low & this.#leafMask) === this.#leafValue;
  }

  /** Makes the entry of `level` name a table. */
  #link(words: Uint32Array, at: number, level: number, table: Pfn<"HPA">): void {
    const { format } = this.#options;
    writeEntry(words, at, table, format.table[level - 1] as number, format.tableHigh);
  }

  #levelFor(page: number, frame: number, count: number): number {
    const { largest } = this.#options;
    if (largest === 1 || count < 512) return 1;
    // The low bits of a sum of bits survive the conversion to int32.
    const low = page | frame;
    if (largest === 3 && count >= 2 ** 18 && (low & (2 ** 18 - 1)) === 0) return 3;
    return (low & 511) === 0 ? 2 : 1;
  }

  #leafTable(page: number): Uint32Array {
    const prefix = prefixOf(page);
    if (prefix === this.#leafPrefix) return this.#leafWords;
    const words = this.#tableAt(page, 1);
    this.#leafPrefix = prefix;
    this.#leafWords = words;
    return words;
  }

  /** The table of `level` that holds a page's entry; makes those that are missing on the way. */
  #tableAt(page: number, level: number): Uint32Array {
    const frames = this.#frames;
    let words = frames.words(this.root);
    for (let above = this.levels; above > level; above--) {
      const at = 2 * indexAt(page, above);
      const low = words[at] as number; // 512 entries of 2 words
      if (low === 0) {
        if (words[at + 1] === this.#epoch) this.flush();
        const table = frames.allocate();
        this.#link(words, at, above, table);
        words = frames.words(table);
      } else if (this.#isPage(low, above)) throw alreadyMapped(page);
      else words = frames.words(pageOfEntry(low, words[at + 1] as number));
    }
    return words;
  }

  /** An empty table may give way to a large page: break, flush, make. */
  #makeRoom(words: Uint32Array, at: number, level: number, page: number): void {
    const low = words[at] as number; // in the table
    if (this.#isPage(low, level)) throw alreadyMapped(page);
    const table = pageOfEntry(low, words[at + 1] as number);
    if (this.#mappedIn(table, level - 1)) throw alreadyMapped(page);
    this.#unlink(words, at, level, page);
    this.flush();
  }

  #mappedIn(table: Pfn<"HPA">, level: number): boolean {
    const words = this.#frames.words(table);
    for (let at = 0; at < 1024; at += 2) {
      const low = words[at] as number;
      if (low !== 0 && (this.#isPage(low, level) || this.#mappedIn(pageOfEntry(low, words[at + 1] as number), level - 1))) return true;
    }
    return false;
  }

  /** Splits the large page that a border is inside of: the same translations in smaller pages, put in place by one write. */
  #splitAt(page: number): void {
    if (page >= this.limit) return;
    const frames = this.#frames;
    let words = frames.words(this.root);
    for (let level = this.levels; level > 1; level--) {
      const at = 2 * indexAt(page, level);
      const low = words[at] as number; // 512 entries of 2 words
      if (low === 0) return;
      const high = words[at + 1] as number;
      if (!this.#isPage(low, level)) {
        words = frames.words(pageOfEntry(low, high));
        continue;
      }
      if (page % (SPANS[level] as number) === 0) return;
      const table = frames.allocate();
      const inner = frames.words(table);
      const flags = low & (level === 2 ? 0xfff & ~this.#options.format.large : 0xfff);
      const first = pageOfEntry(low & ~0xfff, high);
      for (let i = 0; i < 512; i++) writeEntry(inner, 2 * i, first + i * (SPANS[level - 1] as number), flags, high & ~0xf_ffff);
      this.#link(words, at, level, table);
      words = inner;
    }
  }

  /** Clears the entries of a level-1 table from `first` to before `end`. */
  #clearPages(words: Uint32Array, first: number, end: number): number {
    let mapped = 0;
    for (let at = 2 * indexAt(first, 1), left = end - first; left > 0; at += 2, left--) {
      if (words[at] === 0) continue;
      words[at] = 0;
      words[at + 1] = this.#epoch;
      mapped++;
    }
    if (mapped > 0) this.#noteStale(first, end);
    return mapped;
  }

  /** Clears in a table of `level` whose first page is `base`. Large pages are inside the range as a whole. */
  #clear(words: Uint32Array, level: number, base: number, first: number, end: number): number {
    if (level === 1) return this.#clearPages(words, Math.max(first, base), Math.min(end, base + 512));
    const span = SPANS[level] as number;
    const from = first <= base ? 0 : Math.floor((first - base) / span);
    const to = Math.min(511, Math.floor((end - 1 - base) / span));
    let mapped = 0;
    for (let i = from; i <= to; i++) {
      const low = words[2 * i] as number;
      if (low === 0) continue;
      const start = base + i * span;
      if (this.#isPage(low, level)) {
        words[2 * i] = 0;
        words[2 * i + 1] = this.#epoch;
        this.#noteStale(start, start + span);
        mapped += span;
      } else if (first <= start && start + span <= end) mapped += this.#unlink(words, 2 * i, level, start);
      else mapped += this.#clear(this.#frames.words(pageOfEntry(low, words[2 * i + 1] as number)), level - 1, start, first, end);
    }
    return mapped;
  }

  /** Takes a table out of its parent, and everything below it with it. Returns how many pages it mapped. */
  #unlink(words: Uint32Array, at: number, level: number, start: number): number {
    const table = pageOfEntry(words[at] as number, words[at + 1] as number);
    words[at] = 0;
    words[at + 1] = this.#epoch;
    this.unlinked = true;
    this.#leafPrefix = -1;
    this.#noteStale(start, start + (SPANS[level] as number));
    return this.#harvest(table, level - 1);
  }

  #harvest(table: Pfn<"HPA">, level: number): number {
    const words = this.#frames.words(table);
    let mapped = 0;
    for (let at = 0; at < 1024; at += 2) {
      const low = words[at] as number;
      if (low === 0) continue;
      if (this.#isPage(low, level)) mapped += SPANS[level] as number;
      else mapped += this.#harvest(pageOfEntry(low, words[at + 1] as number), level - 1);
    }
    this.#waiting.push(table);
    return mapped;
  }

  #noteStale(first: number, end: number): void {
    if (first < this.staleFirst) this.staleFirst = first;
    if (end > this.staleEnd) this.staleEnd = end;
  }
}

/** Page number >> 9. */
const prefixOf = (page: number): number => (page < INT32_PAGES ? page >>> 9 : Math.floor(page / 512));

/** Index in a table of `level`. */
const indexAt = (page: number, level: number): number => {
  if (page < INT32_PAGES) {
    switch (level) {
      case 1:
        return page & 511;
      case 2:
        return (page >>> 9) & 511;
      case 3:
        return (page >>> 18) & 511;
      case 4:
        return page >>> 27;
      default:
        return 0;
    }
  }
  return Math.floor(page / (SPANS[level] as number)) % 512;
};

const alreadyMapped = (page: number): IommuDriverError => new IommuDriverError("EEXIST", `IOVA page ${hex(page)} is mapped already; unmap it first.`);
