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
  USER_RIGHTS: 0b111,
  SUPERVISOR_SHIFT: 3,
  /** A write must set a dirty bit first. */
  CLEAN: 1 << 6,
  MEMORY_TYPE_SHIFT: 7,
  SNOOP: 1 << 10,
  /** The page number is no positive int32: its upper part counts. */
  FAR: 1 << 11,
  /** From `Access.Write` to `CLEAN`. */
  CLEAN_SHIFT: 5,
  SHIFT_SHIFT: 12,
  /** A fault reason, for entries that say "not present" (caching mode only). */
  FAULT_SHIFT: 24,
} as const;
const { PAGE, FLAGS, PAGE_HIGH, FAR } = IOTLB_ENTRY;

/** An entry by the number of its address space. */
interface SpacedTranslation extends Omit<CachedTranslationEntry, "domain" | "pasid"> {
  readonly space: number;
}

/** What a cache of translations does; pages are given by the low 32 and the high 20 bits of the page number. */
export interface TranslationCache {
  readonly words: Int32Array;
  /** Index in `words` of the entry that covers a page, or -1. */
  lookup(space: number, low: number, high: number): number;
  /** Keeps a translation of 2^`shift` bytes (12, 21 or 30); `page` is its first page. */
  insert(space: number, low: number, high: number, shift: number, page: number, flags: number): void;
  /** The same for a page that `lookup` has not found. */
  fill(space: number, low: number, high: number, shift: number, page: number, flags: number): void;
  /** Drops every entry of an address space (never 0) that overlaps the 2^`mask` pages around a page. */
  invalidatePages(space: number, low: number, high: number, mask: number): void;
  /** The same for one page. */
  invalidatePage(space: number, low: number, high: number): void;
  /** Everything kept, also of address spaces that were forgotten. */
  entries(): Iterable<SpacedTranslation>;
}

/** Size classes: 4 KiB, 2 MiB, 1 GiB. The class is part of the tag. */
const CLASS_SHIFT = 24;
const classOf = (shift: number): number => (shift === 12 ? 0 : shift === 21 ? 1 : 2);
export const tagLow = (low: number, high: number, bits: number): number => (bits === 0 ? low : (low >>> bits) | (high << (32 - bits)));
const tagHigh = (high: number, bits: number): number => (high >>> bits) | ((bits / 9) << CLASS_SHIFT);

/**
 * A set-associative IOTLB with round-robin replacement, one array for all page sizes. VT-d §6.2.3 "IOTLB".
 * Nothing in it allocates after construction.
 */
export class Iotlb implements TranslationCache {
  readonly words: Int32Array;
  readonly #setMask: number;
  readonly #ways: number;
  /** Words of a set. */
  readonly #stride: number;
  readonly #next: Uint8Array;
  /** Bit 0: a 2 MiB entry was kept since the last clear; bit 1: 1 GiB. Probes that cannot hit are left out. */
  #sizes = 0;

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
    return found >= 0 || this.#sizes === 0 ? found : this.#lookupLarge(space, low, high);
  }

  #lookupLarge(space: number, low: number, high: number): number {
    if ((this.#sizes & 1) !== 0) {
      const large = this.#probe(space, tagLow(low, high, 9), tagHigh(high, 9));
      if (large >= 0) return large;
    }
    return (this.#sizes & 2) === 0 ? -1 : this.#probe(space, tagLow(low, high, 18), tagHigh(high, 18));
  }

  insert(space: number, low: number, high: number, shift: number, page: number, flags: number): void {
    const bits = shift - 12;
    const at = this.#probe(space, tagLow(low, high, bits), tagHigh(high, bits));
    if (at >= 0) this.words[at + SPACE] = 0;
    this.fill(space, low, high, shift, page, flags);
  }

  fill(space: number, low: number, high: number, shift: number, page: number, flags: number): void {
    const words = this.words;
    let first = low;
    let second = high;
    if (shift !== 12) {
      this.#sizes |= classOf(shift);
      first = tagLow(low, high, shift - 12);
      second = tagHigh(high, shift - 12);
    }
    const set = this.#setOf(space, first);
    const way = this.#next[set] as number; // the set is masked
    this.#next[set] = way + 1 === this.#ways ? 0 : way + 1;
    const at = (set * this.#ways + way) * ENTRY_WORDS;
    words[at + TAG_LOW] = first;
    words[at + TAG_HIGH] = second;
    words[at + SPACE] = space;
    words[at + PAGE] = page;
    words[at + FLAGS] = page > 0x7fff_ffff ? flags | FAR : flags;
    words[at + PAGE_HIGH] = page > 0x7fff_ffff ? Math.floor(page / 0x1_0000_0000) : 0;
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
    if (this.#sizes !== 0) this.#invalidateLarge(space, low, high);
  }

  *entries(): Generator<SpacedTranslation> {
    for (let at = 0; at < this.words.length; at += ENTRY_WORDS) if (this.words[at + SPACE] !== 0) yield entryAt(this.words, at, this.words[at + SPACE] as number);
  }

  #invalidateLarge(space: number, low: number, high: number): void {
    for (let at = this.#lookupLarge(space, low, high); at >= 0; at = this.#lookupLarge(space, low, high)) this.words[at + SPACE] = 0;
  }

  #setOf(space: number, tag: number): number {
    return (tag + Math.imul(space, 0x9e37_79b1)) & this.#setMask;
  }

  #probe(space: number, low: number, high: number): number {
    const words = this.words;
    const stride = this.#stride;
    let at = ((low + Math.imul(space, 0x9e37_79b1)) & this.#setMask) * stride;
    for (const end = at + stride; at < end; at += ENTRY_WORDS) if (words[at] === low && words[at + SPACE] === space && words[at + TAG_HIGH] === high) return at;
    return -1;
  }
}

/** Whether the entry at `at` and the 2^mask pages around a page have a page in common. */
const overlaps = (words: Int32Array, at: number, low: number, high: number, mask: number): boolean => {
  const second = words[at + TAG_HIGH] as number; // at is of an entry
  const bits = 9 * (second >>> CLASS_SHIFT);
  const coarse = Math.max(bits, mask);
  const entryHigh = second & (2 ** CLASS_SHIFT - 1);
  const entryLow = words[at + TAG_LOW] as number;
  return coarse >= 52 || pageAt(entryLow, entryHigh, coarse - bits) === pageAt(low, high, coarse);
};

/** A page number without its low bits, as a number. */
const pageAt = (low: number, high: number, bits: number): number => Math.floor(((low >>> 0) + (high >>> 0) * 0x1_0000_0000) / 2 ** bits);

/** The entry at `at`, for people. */
const entryAt = (words: Int32Array, at: number, space: number): SpacedTranslation => {
  const second = words[at + TAG_HIGH] as number; // at is of an entry
  const flags = words[at + FLAGS] as number;
  const first = words[at + PAGE] as number;
  const bits = 9 * (second >>> CLASS_SHIFT);
  return { space, page: pageAt(words[at + TAG_LOW] as number, second & (2 ** CLASS_SHIFT - 1), 0) * 2 ** bits, hostPage: (flags & FAR) === 0 ? first : (words[at + PAGE_HIGH] as number) * 0x1_0000_0000 + (first >>> 0), pageShift: 12 + bits, rights: flags & IOTLB_ENTRY.USER_RIGHTS };
};

/**
 * Keeps everything until it is invalidated: what the architecture allows an IOTLB of any size. It grows as it must; entries of
 * forgotten address spaces are dropped when they are in the way.
 */
export class UnboundedIotlb implements TranslationCache {
  words = new Int32Array(1024 * ENTRY_WORDS);
  #used = 0;
  readonly #free: number[] = [];
  readonly #spaces = new Map<number, Map<number, number>>();
  readonly #isCurrent: (space: number) => boolean;

  /** @param isCurrent whether entries of an address space can still be found */
  constructor(isCurrent: (space: number) => boolean) {
    this.#isCurrent = isCurrent;
  }

  lookup(space: number, low: number, high: number): number {
    const entries = this.#spaces.get(space);
    if (entries === undefined) return -1;
    for (let bits = 0; bits <= 18; bits += 9) {
      const at = entries.get(keyOf(low, high, bits));
      if (at !== undefined) return at;
    }
    return -1;
  }

  insert(space: number, low: number, high: number, shift: number, page: number, flags: number): void {
    const bits = shift - 12;
    let entries = this.#spaces.get(space);
    if (entries === undefined) {
      this.#dropForgotten();
      this.#spaces.set(space, (entries = new Map<number, number>()));
    }
    const key = keyOf(low, high, bits);
    const at = entries.get(key) ?? this.#allocate();
    entries.set(key, at);
    this.words[at + TAG_LOW] = tagLow(low, high, bits);
    this.words[at + TAG_HIGH] = tagHigh(high, bits);
    this.words[at + PAGE] = page;
    this.words[at + FLAGS] = page > 0x7fff_ffff ? flags | FAR : flags;
    this.words[at + PAGE_HIGH] = page > 0x7fff_ffff ? Math.floor(page / 0x1_0000_0000) : 0;
  }

  fill(space: number, low: number, high: number, shift: number, page: number, flags: number): void {
    this.insert(space, low, high, shift, page, flags);
  }

  invalidatePages(space: number, low: number, high: number, mask: number): void {
    const entries = this.#spaces.get(space);
    if (entries === undefined) return;
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
    for (const [space, entries] of this.#spaces) for (const at of entries.values()) yield entryAt(this.words, at, space);
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
    for (const [space, entries] of this.#spaces) {
      if (this.#isCurrent(space)) continue;
      this.#free.push(...entries.values());
      this.#spaces.delete(space);
    }
  }
}

/** Page number of 2^(12 + bits) bytes with its size: exact, since a page number has 52 bits at most and sizes take the room of the bits they drop. */
const keyOf = (low: number, high: number, bits: number): number => pageAt(low, high, bits) + (bits === 0 ? 0 : bits === 9 ? 2 ** 52 : 2 ** 52 + 2 ** 44);

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
