import { hex, pageOf, PAGE_SHIFT, PAGE_SIZE, type Hpa, type Pfn } from "../address.ts";
import type { PhysicalMemory } from "../address-space.ts";
import { read16Bytewise, read32Bytewise, write16Bytewise, write32Bytewise } from "./bytewise.ts";
import { Chunk, CHUNK_MASK, CHUNK_SHIFT, CHUNK_SIZE, ZERO_WORDS } from "./chunk.ts";
import { DirtyLog, type DirtyTracker, type DirtyTracking } from "./dirty-tracker.ts";
import { requireLittleEndianHost } from "./little-endian.ts";
import { RamRanges, type RamRange } from "./ram-ranges.ts";

/** Chunks found by index: the low 64 GiB. Those above are found in a map. */
const DIRECT_CHUNKS = 2 ** (36 - CHUNK_SHIFT);
/** Multiplying by this is exact and cheaper than a division. */
const CHUNKS_PER_BYTE = 1 / CHUNK_SIZE;
/** No chunk's number, and that of no negative page number of 32 bits either. */
const NO_CHUNK = -(2 ** 30);
/** Low bits of a page number that choose the page in its chunk. */
const PAGE_IN_CHUNK = CHUNK_SIZE / PAGE_SIZE - 1;

/** What a sparse memory holds. */
export interface SparseMemoryOptions {
  /** RAM is everything from HPA 0 to this many bytes. Give this or `ranges`. */
  readonly size?: number;
  /** Which ranges are RAM, where there are holes between. */
  readonly ranges?: readonly RamRange[];
  /** Most bytes of the host's memory to use, counted in chunks of 2 MiB. Default 1 GiB. */
  readonly budget?: number;
}

/**
 * RAM anywhere below 2^52 in chunks of 2 MiB that appear when first written: a machine of 1 TiB costs what it touches.
 * Reading RAM never written gives zero and makes nothing. Addresses are integers from 0. Bytes outside RAM decode nowhere:
 * they read as all ones and writes to them are dropped, byte by byte where an access straddles a border.
 */
export class SparseMemory implements PhysicalMemory, DirtyTracking {
  /** First HPA past the last RAM. */
  readonly size: number;
  /** Most bytes of chunks this memory may make. */
  readonly budget: number;
  readonly #ranges: RamRanges;
  readonly #direct = new Array<Chunk | undefined>(DIRECT_CHUNKS).fill(undefined);
  /** The words of those of them that are RAM throughout, so that finding them is enough. */
  readonly #whole = new Array<Uint32Array | undefined>(DIRECT_CHUNKS).fill(undefined);
  readonly #above = new Map<number, Chunk>();
  #allocated = 0;
  #dirty: DirtyLog | undefined = undefined;
  /** The chunk below 64 GiB that a walker read last: the tables of one domain mostly share a chunk. */
  #tableNumber = NO_CHUNK;
  #tableWords: Uint32Array = ZERO_WORDS;
  /** The chunk above 64 GiB used last, if it is RAM throughout. */
  #lastNumber = -1;
  #lastWords: Uint32Array = ZERO_WORDS;

  /** @throws RangeError when the ranges are not disjoint pages below 2^52, or not exactly one of `size` and `ranges` is given */
  constructor(options: SparseMemoryOptions) {
    requireLittleEndianHost();
    if ((options.size === undefined) === (options.ranges === undefined)) throw new RangeError("A sparse memory needs `size` or `ranges`, and not both.");
    this.#ranges = new RamRanges(options.ranges ?? [{ start: 0, size: options.size ?? 0 }]);
    this.size = this.#ranges.limit;
    this.budget = options.budget ?? 2 ** 30;
  }

  /** Bytes of the host's memory in use for chunks. */
  get allocated(): number {
    return this.#allocated;
  }

  read8(at: Hpa): number {
    const words = this.#readable(at);
    return words === undefined ? 0xff : ((words[(at & CHUNK_MASK) >>> 2] as number) >>> ((at & 3) << 3)) & 0xff;
  }

  read16(at: Hpa): number {
    if ((at & 1) !== 0) return read16Bytewise(this, at);
    const words = this.#readable(at);
    return words === undefined ? 0xffff : ((words[(at & CHUNK_MASK) >>> 2] as number) >>> ((at & 2) << 3)) & 0xffff;
  }

  read32(at: Hpa): number {
    if (at >>> 0 === at && (at & 3) === 0) {
      const words = this.#whole[at >>> CHUNK_SHIFT];
      if (words !== undefined) return words[(at & CHUNK_MASK) >>> 2] as number; // inside: the offset is masked
    }
    if ((at & 3) !== 0) return read32Bytewise(this, at);
    const words = this.#readable(at);
    return words === undefined ? 0xffff_ffff : (words[(at & CHUNK_MASK) >>> 2] as number);
  }

  read64(at: Hpa, into: Uint32Array): void {
    into[0] = this.read32(at);
    into[1] = this.read32(at + 4);
  }

  write8(at: Hpa, value: number): void {
    this.#merge(at, 0xff, value & 0xff);
  }

  write16(at: Hpa, value: number): void {
    if ((at & 1) !== 0) write16Bytewise(this, at, value & 0xffff);
    else this.#merge(at, 0xffff, value & 0xffff);
  }

  write32(at: Hpa, value: number): void {
    if ((at & 3) !== 0) {
      write32Bytewise(this, at, value);
      return;
    }
    const words = this.#writable(at);
    if (words === undefined) return;
    words[(at & CHUNK_MASK) >>> 2] = value;
    if (this.#dirty !== undefined) this.#dirty.mark(pageOf(at));
  }

  write64(at: Hpa, low: number, high: number): void {
    this.write32(at, low);
    this.write32(at + 4, high);
  }

  readInto(at: Hpa, bytes: Uint8Array): void {
    const length = bytes.length;
    for (let done = 0; done < length; ) {
      const from = at + done;
      const step = Math.min(length - done, this.#run(from));
      const chunk = this.#chunk(Math.floor(from * CHUNKS_PER_BYTE));
      if (!this.#ranges.has(from)) bytes.fill(0xff, done, done + step);
      else if (chunk === undefined) bytes.fill(0, done, done + step);
      else bytes.set(chunk.bytes.subarray(from & CHUNK_MASK, (from & CHUNK_MASK) + step), done);
      done += step;
    }
  }

  writeFrom(at: Hpa, bytes: Uint8Array): void {
    const length = bytes.length;
    for (let done = 0; done < length; ) {
      const to = at + done;
      const step = Math.min(length - done, this.#run(to));
      if (this.#ranges.has(to)) {
        const chunk = this.#ensure(Math.floor(to * CHUNKS_PER_BYTE), to);
        chunk.bytes.set(step === length ? bytes : bytes.subarray(done, done + step), to & CHUNK_MASK);
        if (this.#dirty !== undefined) this.#dirty.markRange(to, step);
      }
      done += step;
    }
  }

  /** Copies `length` bytes from `source` to `target` inside this memory; the ranges may overlap. */
  copy(target: Hpa, source: Hpa, length: number): void {
    const from = source & CHUNK_MASK;
    const to = target & CHUNK_MASK;
    const chunk = this.#chunk(Math.floor(source * CHUNKS_PER_BYTE));
    const other = this.#chunk(Math.floor(target * CHUNKS_PER_BYTE));
    if (chunk?.whole && other?.whole && from + length <= CHUNK_SIZE && to + length <= CHUNK_SIZE) {
      if (chunk === other) chunk.bytes.copyWithin(to, from, from + length);
      else other.bytes.set(chunk.bytes.subarray(from, from + length), to);
      if (this.#dirty !== undefined) this.#dirty.markRange(target, length);
      return;
    }
    // Pieces of at most a chunk, from the end that an overlap does not overwrite first.
    const buffer = new Uint8Array(Math.min(length, CHUNK_SIZE));
    for (let done = 0; done < length; ) {
      const step = Math.min(length - done, CHUNK_SIZE);
      const at = target > source ? length - done - step : done;
      const piece = buffer.subarray(0, step);
      this.readInto(source + at, piece);
      this.writeFrom(target + at, piece);
      done += step;
    }
  }

  /**
   * The words of page `pfn`: always the same view object. Since it may be written through, it makes the page's chunk;
   * walkers that only read use `wordsOf`. Writing through it marks nothing dirty.
   * @throws RangeError when the chunk would exceed the budget
   */
  page(pfn: Pfn<"HPA">): Uint32Array | undefined {
    const at = pfn * PAGE_SIZE;
    if (!this.#ranges.has(at)) return undefined;
    return this.#ensure(Math.floor(at * CHUNKS_PER_BYTE), at).page(pfn & PAGE_IN_CHUNK);
  }

  /**
   * The words that page `pfn` is among, for reading: word w of it is `wordsOf(pfn)[wordOf(pfn) + w]`. Undefined where no RAM is.
   * RAM never written shows one shared chunk of zeros: never write through this view where the word read may be zero.
   */
  wordsOf(pfn: Pfn<"HPA">): Uint32Array | undefined {
    if ((pfn | 0) === pfn) {
      const number = pfn >> (CHUNK_SHIFT - PAGE_SHIFT);
      if (number === this.#tableNumber) return this.#tableWords;
      const words = this.#whole[number];
      if (words !== undefined) {
        this.#tableNumber = number;
        this.#tableWords = words;
        return words;
      }
    }
    return this.#readable(pfn * PAGE_SIZE);
  }

  /** Index in `wordsOf(pfn)` of the first word of page `pfn`. */
  wordOf(pfn: Pfn<"HPA">): number {
    return (pfn & PAGE_IN_CHUNK) << (PAGE_SHIFT - 2);
  }

  trackDirty(): DirtyTracker {
    this.#dirty ??= new DirtyLog(() => {
      this.#dirty = undefined;
    });
    return this.#dirty.open();
  }

  markDirty(pfn: Pfn<"HPA">): void {
    if (this.#dirty !== undefined && this.#ranges.has(pfn * PAGE_SIZE)) this.#dirty.mark(pfn);
  }

  /** The chunk words around `at` for reading, undefined where no RAM is. */
  #readable(at: number): Uint32Array | undefined {
    if (at < 0 || at >= this.size) return undefined; // past 2^52 the chunk number would wrap
    const number = (at * CHUNKS_PER_BYTE) | 0;
    const words = this.#wholeChunk(number);
    if (words !== undefined) return words;
    if (!this.#ranges.has(at)) return undefined;
    const chunk = this.#chunk(number);
    return chunk === undefined ? ZERO_WORDS : chunk.words;
  }

  /** The chunk words around `at` for writing; undefined where no RAM is. */
  #writable(at: number): Uint32Array | undefined {
    if (at < 0 || at >= this.size) return undefined;
    const number = (at * CHUNKS_PER_BYTE) | 0;
    const words = this.#wholeChunk(number);
    if (words !== undefined) return words;
    return this.#ranges.has(at) ? this.#ensure(number, at).words : undefined;
  }

  /** The words of chunk `number` if it is made and RAM throughout. */
  #wholeChunk(number: number): Uint32Array | undefined {
    if (number < DIRECT_CHUNKS) return this.#whole[number];
    if (number === this.#lastNumber) return this.#lastWords;
    const chunk = this.#above.get(number);
    if (!chunk?.whole) return undefined;
    this.#lastNumber = number;
    this.#lastWords = chunk.words;
    return chunk.words;
  }

  #merge(at: number, mask: number, value: number): void {
    const words = this.#writable(at);
    if (words === undefined) return;
    const index = (at & CHUNK_MASK) >>> 2; // below the words of a chunk
    const shift = (at & 3) << 3;
    words[index] = ((words[index] as number) & ~(mask << shift)) | (value << shift);
    if (this.#dirty !== undefined) this.#dirty.mark(pageOf(at));
  }

  #chunk(number: number): Chunk | undefined {
    return number < DIRECT_CHUNKS ? this.#direct[number] : this.#above.get(number);
  }

  #ensure(number: number, at: number): Chunk {
    const present = this.#chunk(number);
    if (present !== undefined) return present;
    if (this.#allocated + CHUNK_SIZE > this.budget)
      throw new RangeError(
        `No room for RAM at HPA ${hex(at)}: its 2 MiB chunk would exceed the budget of ${hex(this.budget)} bytes, of which ${hex(this.#allocated)} are in use. Give SparseMemory a larger \`budget\`, or write to fewer 2 MiB chunks.`,
      );
    const start = number * CHUNK_SIZE;
    const chunk = new Chunk(this.#ranges.has(start, CHUNK_SIZE));
    if (number < DIRECT_CHUNKS) {
      this.#direct[number] = chunk;
      if (chunk.whole) this.#whole[number] = chunk.words;
    } else this.#above.set(number, chunk);
    this.#allocated += CHUNK_SIZE;
    return chunk;
  }

  /** Bytes from `at` that are all RAM or all not: to the end of the chunk where it is uniform, else of the page. */
  #run(at: number): number {
    const start = Math.floor(at * CHUNKS_PER_BYTE) * CHUNK_SIZE;
    if (this.#ranges.has(start, CHUNK_SIZE)) return start + CHUNK_SIZE - at;
    return PAGE_SIZE * (pageOf(at) + 1) - at;
  }
}
