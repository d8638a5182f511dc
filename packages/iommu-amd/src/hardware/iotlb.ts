import type { CachedTranslationEntry } from "@iommu-lab/pci-bus";

/** Words of a cached translation: tag low, tag high, address space, page, flags, page's high part. */
const ENTRY_WORDS = 8;
const TAG_LOW = 0;
const TAG_HIGH = 1;
const SPACE = 2;

/** How an entry is laid out, for those who read one: words, and fields of the flags word. */
export const IOTLB_ENTRY = {
  PAGE: 3,
  FLAGS: 4,
  PAGE_HIGH: 5,
  /** `Access` bits for user requests, then for supervisor requests. */
  USER_RIGHTS: 0b111,
  SUPERVISOR_SHIFT: 3,
  /** U: the answer to a translation request has no rights. */
  UNTRANSLATED_ONLY: 1 << 6,
  /** FC. */
  FORCE_COHERENT: 1 << 7,
  /** Both, from bits 27 and 28 of a host leaf's high word. */
  LEAF_SHIFT: 21,
  LEAF_FLAGS: (1 << 6) | (1 << 7),
  /** A write must set a dirty bit first. */
  CLEAN: 1 << 8,
  /** The page number is no positive int32, so that its upper part counts, or there are more pages than int32 has. */
  FAR: 1 << 11,
  /** From `Access.Write` to `CLEAN`. */
  CLEAN_SHIFT: 7,
  SHIFT_SHIFT: 12,
  /** A `WalkFault`, for entries that say "not present" (NpCache only). */
  FAULT_SHIFT: 24,
} as const;
const { PAGE, FLAGS, PAGE_HIGH, FAR, SHIFT_SHIFT } = IOTLB_ENTRY;

/** What the flags of a translation of 4 KiB that is no fault have from `SHIFT_SHIFT` on. */
const SMALL = 12;
/** Size is part of the tag: log2 of the 4 KiB pages, above the 20 bits that a page number has past 32. */
const SIZE_SHIFT = 20;

/** An entry by the number of its address space. */
interface SpacedTranslation extends Omit<CachedTranslationEntry, "domain" | "pasid"> {
  readonly space: number;
}

/** What a cache of translations does; pages are given by the low 32 and the high 20 bits of the page number. */
export interface TranslationCache {
  readonly words: Int32Array;
  /** Index in `words` of the entry that covers a page, or -1. */
  lookup(space: number, low: number, high: number): number;
  /**
   * Keeps a translation of 2^`shift` bytes, any shift from 12 to 63, as the flags say. The host page that belongs to the page
   * given comes in two words as well: a number past int32 as an argument might be allocated.
   */
  insert(space: number, low: number, high: number, page: number, pageHigh: number, flags: number): void;
  /** The same for a page that `lookup` has not found. */
  fill(space: number, low: number, high: number, page: number, pageHigh: number, flags: number): void;
  /** Drops every entry of an address space (never 0) that overlaps the 2^`mask` pages around a page. */
  invalidatePages(space: number, low: number, high: number, mask: number): void;
  /** The same for one page. */
  invalidatePage(space: number, low: number, high: number): void;
  /** Everything kept, also of address spaces that were forgotten. */
  entries(): Iterable<SpacedTranslation>;
}

/** A page number without its low `bits`: bits 31:0 of what is left. */
const prefixLow = (low: number, high: number, bits: number): number => (bits === 0 ? low : bits < 32 ? (low >>> bits) | (high << (32 - bits)) : high >>> (bits - 32));
/** The bits above. */
const prefixHigh = (high: number, bits: number): number => (bits < 32 ? high >>> bits : 0);
const tagHigh = (high: number, bits: number): number => prefixHigh(high, bits) | (bits << SIZE_SHIFT);

/**
 * A set-associative IOTLB with round-robin replacement, one array for pages of every power of two. Nothing in it allocates
 * after construction.
 */
export class Iotlb implements TranslationCache {
  readonly words: Int32Array;
  readonly #setMask: number;
  readonly #ways: number;
  /** Words of a set. */
  readonly #stride: number;
  readonly #next: Uint8Array;
  /** Bit n of the first: an entry of 2^n pages was kept; of the second: of 2^(n+32). Probes that cannot hit are left out. */
  #sizes = 0;
  #largeSizes = 0;

  /** @param sets a power of two; @param ways entries in a set, 1 to 8 */
  constructor(sets: number, ways: number) {
    if (!Number.isInteger(Math.log2(sets)) || !Number.isInteger(ways) || ways < 1 || ways > 8) throw new RangeError(`An IOTLB of ${sets} sets of ${ways} ways is impossible: sets are a power of two, ways 1 to 8.`);
    this.words = new Int32Array(sets * ways * ENTRY_WORDS);
    this.#setMask = sets - 1;
    this.#ways = ways;
    this.#stride = ways * ENTRY_WORDS;
    this.#next = new Uint8Array(sets);
  }

  lookup(space: number, low: number, high: number): number {
    const found = this.#probe(space, low, high);
    return found >= 0 || (this.#sizes | this.#largeSizes) === 0 ? found : this.#lookupLarge(space, low, high);
  }

  insert(space: number, low: number, high: number, page: number, pageHigh: number, flags: number): void {
    const bits = sizeOf(flags);
    const at = this.#probe(space, prefixLow(low, high, bits), tagHigh(high, bits));
    if (at < 0) this.fill(space, low, high, page, pageHigh, flags);
    else keep(this.words, at, page, pageHigh, flags, bits);
  }

  fill(space: number, low: number, high: number, page: number, pageHigh: number, flags: number): void {
    if (flags >>> SHIFT_SHIFT !== SMALL) {
      this.#fillLarge(space, low, high, page, pageHigh, flags);
      return;
    }
    const words = this.words;
    const at = this.#replaced(space, low);
    words[at + TAG_LOW] = low;
    words[at + TAG_HIGH] = high;
    words[at + SPACE] = space;
    words[at + PAGE] = page;
    words[at + PAGE_HIGH] = pageHigh;
    words[at + FLAGS] = (pageHigh | (page >>> 31)) === 0 ? flags : flags | FAR;
  }

  /** Keeps a page of another size, or a fault. */
  #fillLarge(space: number, low: number, high: number, page: number, pageHigh: number, flags: number): void {
    const bits = sizeOf(flags);
    if (bits > 31) this.#largeSizes |= 1 << (bits - 32);
    else if (bits !== 0) this.#sizes |= 1 << bits;
    const words = this.words;
    const tag = prefixLow(low, high, bits);
    const at = this.#replaced(space, tag);
    words[at + TAG_LOW] = tag;
    words[at + TAG_HIGH] = tagHigh(high, bits);
    words[at + SPACE] = space;
    keep(words, at, page, pageHigh, flags, bits);
  }

  /** The entry of a set whose turn it is. */
  #replaced(space: number, tag: number): number {
    const set = this.#setOf(space, tag);
    const way = this.#next[set] as number; // the set is masked
    this.#next[set] = way + 1 === this.#ways ? 0 : way + 1;
    return Math.imul(set, this.#stride) + way * ENTRY_WORDS;
  }

  invalidatePages(space: number, low: number, high: number, mask: number): void {
    if (mask === 0) {
      this.invalidatePage(space, low, high);
      return;
    }
    const { words } = this;
    for (let at = 0; at < words.length; at += ENTRY_WORDS) if (words[at + SPACE] === space && overlaps(words, at, low, high, mask)) words[at + SPACE] = 0;
  }

  invalidatePage(space: number, low: number, high: number): void {
    const words = this.words;
    const stride = this.#stride;
    let at = Math.imul(this.#setOf(space, low), stride);
    for (const end = at + stride; at < end; at += ENTRY_WORDS) if (words[at] === low && words[at + SPACE] === space && words[at + TAG_HIGH] === high) words[at + SPACE] = 0;
    // A large page that covers it may be there beside it.
    if ((this.#sizes | this.#largeSizes) !== 0) this.#invalidateLarge(space, low, high);
  }

  *entries(): Generator<SpacedTranslation> {
    for (let at = 0; at < this.words.length; at += ENTRY_WORDS) if (this.words[at + SPACE] !== 0) yield entryAt(this.words, at, this.words[at + SPACE] as number);
  }

  #invalidateLarge(space: number, low: number, high: number): void {
    for (let at = this.#lookupLarge(space, low, high); at >= 0; at = this.#lookupLarge(space, low, high)) this.words[at + SPACE] = 0;
  }

  #lookupLarge(space: number, low: number, high: number): number {
    for (let rest = this.#sizes; rest !== 0; rest &= rest - 1) {
      const bits = 31 - Math.clz32(rest & -rest);
      const at = this.#probe(space, prefixLow(low, high, bits), tagHigh(high, bits));
      if (at >= 0) return at;
    }
    for (let rest = this.#largeSizes; rest !== 0; rest &= rest - 1) {
      const bits = 63 - Math.clz32(rest & -rest);
      const at = this.#probe(space, prefixLow(low, high, bits), tagHigh(high, bits));
      if (at >= 0) return at;
    }
    return -1;
  }

  #setOf(space: number, tag: number): number {
    return (tag + Math.imul(space, 0x9e37_79b1)) & this.#setMask;
  }

  #probe(space: number, low: number, high: number): number {
    const words = this.words;
    const stride = this.#stride;
    let at = Math.imul(this.#setOf(space, low), stride);
    for (const end = at + stride; at < end; at += ENTRY_WORDS) if (words[at] === low && words[at + SPACE] === space && words[at + TAG_HIGH] === high) return at;
    return -1;
  }
}

/** log2 of the pages that an entry covers. */
const sizeOf = (flags: number): number => ((flags >>> SHIFT_SHIFT) & 63) - 12;

/** What an entry says of its 2^`bits` pages: the first of them, and the flags. */
const keep = (words: Int32Array, at: number, page: number, pageHigh: number, flags: number, bits: number): void => {
  const low = bits === 0 ? page : bits < 32 ? page & -(1 << bits) : 0;
  const high = bits < 32 ? pageHigh : pageHigh & -(1 << (bits - 32));
  words[at + PAGE] = low;
  words[at + PAGE_HIGH] = high;
  words[at + FLAGS] = (high | (low >>> 31)) === 0 && bits < 31 ? flags : flags | FAR;
};

/** Whether the entry at `at` and the 2^mask pages around a page have a page in common. */
const overlaps = (words: Int32Array, at: number, low: number, high: number, mask: number): boolean => {
  const second = words[at + TAG_HIGH] as number; // at is of an entry
  const bits = second >>> SIZE_SHIFT;
  const coarse = Math.max(bits, mask);
  return coarse >= 52 || pageAt(words[at + TAG_LOW] as number, second & (2 ** SIZE_SHIFT - 1), coarse - bits) === pageAt(low, high, coarse);
};

/** A page number without its low bits, as a number. */
const pageAt = (low: number, high: number, bits: number): number => Math.floor(((low >>> 0) + (high >>> 0) * 0x1_0000_0000) / 2 ** bits);

/** The entry at `at`, for people. */
const entryAt = (words: Int32Array, at: number, space: number): SpacedTranslation => {
  const second = words[at + TAG_HIGH] as number; // at is of an entry
  const flags = words[at + FLAGS] as number;
  const bits = second >>> SIZE_SHIFT;
  return { space, page: pageAt(words[at + TAG_LOW] as number, second & (2 ** SIZE_SHIFT - 1), 0) * 2 ** bits, hostPage: (words[at + PAGE_HIGH] as number) * 0x1_0000_0000 + ((words[at + PAGE] as number) >>> 0), pageShift: 12 + bits, rights: flags & IOTLB_ENTRY.USER_RIGHTS };
};

/**
 * Keeps everything until it is invalidated: what the architecture allows an IOTLB of any size. It grows as it must; entries of
 * forgotten address spaces are dropped when they are in the way.
 */
export class UnboundedIotlb implements TranslationCache {
  words = new Int32Array(1024 * ENTRY_WORDS);
  #used = 0;
  readonly #free: number[] = [];
  /** By address space and size: entries by their first page. */
  readonly #spaces = new Map<number, Map<number, Map<number, number>>>();
  readonly #isCurrent: (space: number) => boolean;

  /** @param isCurrent whether entries of an address space can still be found */
  constructor(isCurrent: (space: number) => boolean) {
    this.#isCurrent = isCurrent;
  }

  lookup(space: number, low: number, high: number): number {
    const sizes = this.#spaces.get(space);
    if (sizes === undefined) return -1;
    for (const [bits, entries] of sizes) {
      const at = entries.get(pageAt(low, high, bits));
      if (at !== undefined) return at;
    }
    return -1;
  }

  insert(space: number, low: number, high: number, page: number, pageHigh: number, flags: number): void {
    const bits = sizeOf(flags);
    let sizes = this.#spaces.get(space);
    if (sizes === undefined) {
      this.#dropForgotten();
      this.#spaces.set(space, (sizes = new Map<number, Map<number, number>>()));
    }
    let entries = sizes.get(bits);
    if (entries === undefined) sizes.set(bits, (entries = new Map<number, number>()));
    const key = pageAt(low, high, bits);
    const at = entries.get(key) ?? this.#allocate();
    entries.set(key, at);
    this.words[at + TAG_LOW] = prefixLow(low, high, bits);
    this.words[at + TAG_HIGH] = tagHigh(high, bits);
    keep(this.words, at, page, pageHigh, flags, bits);
  }

  fill(space: number, low: number, high: number, page: number, pageHigh: number, flags: number): void {
    this.insert(space, low, high, page, pageHigh, flags);
  }

  invalidatePages(space: number, low: number, high: number, mask: number): void {
    for (const entries of this.#spaces.get(space)?.values() ?? [])
      for (const [key, at] of entries)
        if (overlaps(this.words, at, low, high, mask)) {
          entries.delete(key);
          this.#free.push(at);
        }
  }

  invalidatePage(space: number, low: number, high: number): void {
    this.invalidatePages(space, low, high, 0);
  }

  *entries(): Generator<SpacedTranslation> {
    for (const [space, sizes] of this.#spaces) for (const entries of sizes.values()) for (const at of entries.values()) yield entryAt(this.words, at, space);
  }

  #allocate(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const at = this.#used;
    this.#used += ENTRY_WORDS;
    if (this.#used > this.words.length) {
      const larger = new Int32Array(this.words.length * 2);
      larger.set(this.words);
      this.words = larger;
    }
    return at;
  }

  #dropForgotten(): void {
    for (const [space, sizes] of this.#spaces) {
      if (this.#isCurrent(space)) continue;
      for (const entries of sizes.values()) this.#free.push(...entries.values());
      this.#spaces.delete(space);
    }
  }
}

/** Never keeps anything. */
export const NO_CACHE: TranslationCache = {
  words: new Int32Array(0),
  lookup: () => -1,
  insert: () => undefined,
  fill: () => undefined,
  invalidatePages: () => undefined,
  invalidatePage: () => undefined,
  entries: () => [],
};
