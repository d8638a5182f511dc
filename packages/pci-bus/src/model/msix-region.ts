import type { AccessSize, MmioHandler } from "@iommu-lab/memory";
import type { ConfigSpace } from "../config-space.ts";
import type { UpstreamPort } from "../function.ts";

/** A table entry is four words: address, upper address, data, vector control. Bit 0 of the last masks. */
const MASKED = 1;
const ENABLE = 0x8000;
const FUNCTION_MASK = 0x4000;
const CONTROL_WORD = 3;

/**
 * A function's MSI-X table and pending bit array. PCIe §6.1.4, §7.7.2 "MSI-X Capability and Table Structure".
 * A masked vector that is raised sets its pending bit and goes out when the mask is lifted.
 */
export class MsixRegion {
  /** Vectors in the table, 1 to 2048. */
  readonly vectors: number;
  /** The table as part of a BAR: 16 bytes a vector. */
  readonly table: MmioHandler;
  /** The pending bit array as part of a BAR, read-only. */
  readonly pending: MmioHandler;
  readonly #words: Uint32Array;
  readonly #pendingWords: Uint32Array;
  readonly #config: ConfigSpace;
  readonly #at: number;
  readonly #port: () => UpstreamPort | undefined;

  /**
   * @param at   offset of the MSI-X capability, which holds Table Size, Function Mask and Enable
   * @param port where messages go; undefined while the function is not plugged in
   */
  constructor(config: ConfigSpace, at: number, port: () => UpstreamPort | undefined) {
    this.#config = config;
    this.#at = at;
    this.#port = port;
    this.vectors = (config.read(at + 2, 2) & 0x7ff) + 1;
    this.#words = new Uint32Array(4 * this.vectors);
    this.#pendingWords = new Uint32Array(2 * Math.ceil(this.vectors / 64));
    this.table = wordWindow(this.#words, (index, value) => {
      this.#writeEntry(index, value);
    });
    this.pending = wordWindow(this.#pendingWords, () => undefined);
    this.reset();
  }

  get enabled(): boolean {
    return (this.#control & ENABLE) !== 0;
  }

  /** Whether vector `vector` waits for its mask to be lifted. */
  isPending(vector: number): boolean {
    return ((this.#pendingWords[vector >> 5] ?? 0) >>> (vector & 31) & 1) === 1;
  }

  /**
   * Sends vector `vector`, or sets its pending bit while it or the function is masked. Nothing happens while MSI-X is off.
   * @throws RangeError when the table has no such vector
   */
  raise(vector: number): void {
    if (!(Number.isInteger(vector) && vector >= 0 && vector < this.vectors)) throw new RangeError(`MSI-X vector ${vector} does not exist; the table has ${this.vectors}.`);
    if (!this.enabled) return;
    if (this.#masked(vector)) this.#putPending(vector, true);
    else this.#send(vector);
  }

  /** To be called after configuration writes: sends what Function Mask or Enable held back. */
  flush(): void {
    if (!this.enabled || this.#control & FUNCTION_MASK) return;
    for (let vector = 0; vector < this.vectors; vector++) this.#release(vector);
  }

  /** Every vector masked, nothing pending, as after a reset. */
  reset(): void {
    this.#words.fill(0);
    for (let vector = 0; vector < this.vectors; vector++) this.#words[4 * vector + CONTROL_WORD] = MASKED;
    this.#pendingWords.fill(0);
  }

  get #control(): number {
    return this.#config.read(this.#at + 2, 2);
  }

  #masked(vector: number): boolean {
    return (this.#control & FUNCTION_MASK) !== 0 || ((this.#words[4 * vector + CONTROL_WORD] ?? 0) & MASKED) !== 0;
  }

  #release(vector: number): void {
    if (!this.isPending(vector) || !this.enabled || this.#masked(vector)) return;
    this.#putPending(vector, false);
    this.#send(vector);
  }

  #putPending(vector: number, on: boolean): void {
    const word = this.#pendingWords[vector >> 5] ?? 0;
    this.#pendingWords[vector >> 5] = on ? word | (1 << (vector & 31)) : word & ~(1 << (vector & 31));
  }

  #writeEntry(index: number, value: number): void {
    // Bits 1:0 of an address are zero: messages are doublewords.
    this.#words[index] = index % 4 === 0 ? value & ~3 : value;
    if (index % 4 === CONTROL_WORD) this.#release(index >> 2);
  }

  #send(vector: number): void {
    const [low = 0, high = 0, data = 0] = this.#words.subarray(4 * vector, 4 * vector + 3);
    this.#port()?.message(high ? (BigInt(high) << 32n) | BigInt(low) : low, data);
  }
}

/** A window of 32-bit words; narrower writes change their part of a word. Beyond the end reads give zero. */
const wordWindow = (words: Uint32Array, write: (index: number, value: number) => void): MmioHandler => {
  const handler: MmioHandler = {
    read: (offset: number, size: AccessSize) => {
      const word = words[offset >> 2] ?? 0;
      return size === 4 ? word : (word >>> (8 * (offset & 3))) & (2 ** (8 * size) - 1);
    },
    write: (offset: number, size: AccessSize, value: number) => {
      const index = offset >> 2;
      if (index >= words.length) return;
      const shift = 8 * (offset & 3);
      const mask = size === 4 ? 0xffff_ffff : (2 ** (8 * size) - 1) << shift;
      write(index, (((words[index] as number) & ~mask) | ((value << shift) & mask)) >>> 0);
    },
    read64: (offset: number, into: Uint32Array) => {
      into[0] = handler.read(offset, 4);
      into[1] = handler.read(offset + 4, 4);
    },
    write64: (offset: number, low: number, high: number) => {
      handler.write(offset, 4, low);
      handler.write(offset + 4, 4, high);
    },
  };
  return handler;
};

/** Part of a BAR: `handler` answers `size` bytes from `base` on, with offsets from its own start. */
export interface BarRegion {
  readonly base: number;
  readonly size: number;
  readonly handler: MmioHandler;
}

/** A BAR made of regions; elsewhere `rest` answers, or zero. */
export const compositeBar = (regions: readonly BarRegion[], rest?: MmioHandler): MmioHandler => {
  const find = (offset: number): BarRegion | undefined => regions.find(({ base, size }) => offset >= base && offset < base + size);
  return {
    read: (offset, size) => {
      const region = find(offset);
      return region ? region.handler.read(offset - region.base, size) : (rest?.read(offset, size) ?? 0);
    },
    write: (offset, size, value) => {
      const region = find(offset);
      if (region) region.handler.write(offset - region.base, size, value);
      else rest?.write(offset, size, value);
    },
    read64: (offset, into) => {
      const region = find(offset);
      if (region) region.handler.read64(offset - region.base, into);
      else if (rest) rest.read64(offset, into);
      else into.fill(0, 0, 2);
    },
    write64: (offset, low, high) => {
      const region = find(offset);
      if (region) region.handler.write64(offset - region.base, low, high);
      else rest?.write64(offset, low, high);
    },
  };
};
