import { hex, PAGE_SHIFT, PAGE_SIZE, type Hpa, type Pfn } from "../address.ts";
import type { PhysicalMemory } from "../address-space.ts";
import { write16Bytewise, write32Bytewise } from "./bytewise.ts";
import { DirtyLog, type DirtyTracker, type DirtyTracking } from "./dirty-tracker.ts";
import { requireLittleEndianHost } from "./little-endian.ts";

/** Words in a page. */
const PAGE_WORDS = PAGE_SIZE / 4;
/** Pages whose views are kept in one group, so that a large memory pays only for the groups used. */
const GROUP_SHIFT = 9;
/** Bytes of all ones past the end, never written: a read that straddles the end needs no path of its own, and reads have no call in them. */
const PADDING = 8;
/** Below this many bytes a loop is faster than making a view for `set`. */
const SMALL_COPY = 48;

/**
 * RAM from HPA 0 to `size` in one buffer: the fastest store, up to 4 GiB. Pages never touched cost no resident memory.
 * Addresses are integers from 0. Bytes past the end decode nowhere: they read as all ones and writes to them are dropped,
 * byte by byte where an access straddles the end.
 */
export class FlatMemory implements PhysicalMemory, DirtyTracking {
  /** Bytes of RAM; the first HPA past it. */
  readonly size: number;
  /**
   * Every word of RAM, live: word w of page p is `words[wordOf(p) + w]`. Walkers index it and make no views.
   * Writing through it marks nothing dirty.
   */
  readonly words: Uint32Array;
  readonly #pages: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #views: (Uint32Array | undefined)[][] = [];
  #dirty: DirtyLog | undefined = undefined;

  /**
   * @param size bytes of RAM: a multiple of 4096, at most 4 GiB
   * @throws RangeError when the size is not one of those, or the host has not got it
   */
  constructor(size: number) {
    requireLittleEndianHost();
    if (!Number.isInteger(size) || size <= 0 || size % PAGE_SIZE !== 0 || size > 2 ** 32)
      throw new RangeError(`A flat memory of ${size} bytes is impossible: the size is a positive multiple of 4096 bytes and at most ${hex(2 ** 32)}; use SparseMemory for more.`);
    const buffer = new ArrayBuffer(size + PADDING);
    this.size = size;
    this.#pages = size / PAGE_SIZE;
    this.words = new Uint32Array(buffer, 0, size / 4);
    this.#bytes = new Uint8Array(buffer, 0, size);
    this.#view = new DataView(buffer);
    new Uint8Array(buffer, size).fill(0xff);
  }

  read8(at: Hpa): number {
    return at >= 0 && at < this.size ? (this.#bytes[at] as number) : 0xff;
  }

  read16(at: Hpa): number {
    if (at < 0 || at >= this.size) return 0xffff;
    return this.#view.getUint16(at, true);
  }

  read32(at: Hpa): number {
    if (at < 0 || at >= this.size) return 0xffff_ffff;
    return this.#view.getUint32(at, true);
  }

  read64(at: Hpa, into: Uint32Array): void {
    into[0] = this.read32(at);
    into[1] = this.read32(at + 4);
  }

  write8(at: Hpa, value: number): void {
    if (at < 0 || at >= this.size) return;
    this.#bytes[at] = value;
    if (this.#dirty !== undefined) this.#dirty.mark(at >>> PAGE_SHIFT);
  }

  write16(at: Hpa, value: number): void {
    if (at < 0 || at > this.size - 2) {
      write16Bytewise(this, at, value & 0xffff);
      return;
    }
    this.#view.setUint16(at, value, true);
    const dirty = this.#dirty;
    if (dirty === undefined) return;
    const page = at >>> PAGE_SHIFT;
    if (page !== dirty.lastPage) dirty.mark(page);
    if ((at & 0xfff) > 0xffe) dirty.mark(page + 1); // unaligned, across the end of the page
  }

  write32(at: Hpa, value: number): void {
    if (at < 0 || at > this.size - 4) {
      write32Bytewise(this, at, value);
      return;
    }
    this.#view.setUint32(at, value, true);
    const dirty = this.#dirty;
    if (dirty === undefined) return;
    const page = at >>> PAGE_SHIFT;
    if (page !== dirty.lastPage) dirty.mark(page);
    if ((at & 0xfff) > 0xffc) dirty.mark(page + 1); // unaligned, across the end of the page
  }

  write64(at: Hpa, low: number, high: number): void {
    this.write32(at, low);
    this.write32(at + 4, high);
  }

  readInto(at: Hpa, bytes: Uint8Array): void {
    const length = bytes.length;
    if (at < 0 || at + length > this.size) {
      for (let i = 0; i < length; i++) bytes[i] = this.read8(at + i);
    } else if (length <= SMALL_COPY) {
      for (let i = 0; i < length; i++) bytes[i] = this.#bytes[at + i] as number; // inside: checked above
    } else bytes.set(this.#bytes.subarray(at, at + length));
  }

  writeFrom(at: Hpa, bytes: Uint8Array): void {
    const length = bytes.length;
    if (at < 0 || at + length > this.size) {
      for (let i = 0; i < length; i++) this.write8(at + i, bytes[i] as number);
      return;
    }
    if (length <= SMALL_COPY) for (let i = 0; i < length; i++) this.#bytes[at + i] = bytes[i] as number;
    else this.#bytes.set(bytes, at);
    if (this.#dirty !== undefined) this.#dirty.markRange(at, length);
  }

  /** Copies `length` bytes from `source` to `target` inside this memory; the ranges may overlap. */
  copy(target: Hpa, source: Hpa, length: number): void {
    if (target < 0 || source < 0 || target + length > this.size || source + length > this.size) {
      const bytes = new Uint8Array(length);
      this.readInto(source, bytes);
      this.writeFrom(target, bytes);
      return;
    }
    this.#bytes.copyWithin(target, source, source + length);
    if (this.#dirty !== undefined) this.#dirty.markRange(target, length);
  }

  /** The words of page `pfn`: always the same view object, made at the first call. Writing through it marks nothing dirty. */
  page(pfn: Pfn<"HPA">): Uint32Array | undefined {
    const group = this.#views[pfn >>> GROUP_SHIFT];
    const view = group === undefined ? undefined : group[pfn & (2 ** GROUP_SHIFT - 1)];
    // The views of a pfn of 2^32 and more would be found under its low bits.
    return view !== undefined && pfn < 2 ** 20 ? view : this.#makeView(pfn);
  }

  /** The words that page `pfn` is among: `words`, or undefined where no RAM is. The twin of `SparseMemory.wordsOf`. */
  wordsOf(pfn: Pfn<"HPA">): Uint32Array | undefined {
    return pfn >= 0 && pfn < this.#pages ? this.words : undefined;
  }

  /** Index in `words` of the first word of page `pfn`, which must be RAM. */
  wordOf(pfn: Pfn<"HPA">): number {
    return pfn << 10;
  }

  trackDirty(): DirtyTracker {
    this.#dirty ??= new DirtyLog(() => {
      this.#dirty = undefined;
    });
    return this.#dirty.open();
  }

  markDirty(pfn: Pfn<"HPA">): void {
    if (this.#dirty !== undefined && this.wordsOf(pfn) !== undefined) this.#dirty.mark(pfn);
  }

  #makeView(pfn: number): Uint32Array | undefined {
    if (this.wordsOf(pfn) === undefined) return undefined;
    const group = (this.#views[pfn >>> GROUP_SHIFT] ??= new Array<undefined>(2 ** GROUP_SHIFT).fill(undefined));
    return (group[pfn & (2 ** GROUP_SHIFT - 1)] = this.words.subarray(pfn * PAGE_WORDS, (pfn + 1) * PAGE_WORDS));
  }
}
