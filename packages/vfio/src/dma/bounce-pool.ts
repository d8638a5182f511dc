import { hex, type Hpa, type PhysicalMemory } from "@iommu-lab/memory";

/** Bytes of a slot. Linux IO_TLB_SIZE. */
export const BOUNCE_SLOT = 2048;
/** Slots that one buffer can take: 256 KiB. Linux IO_TLB_SEGSIZE. */
export const BOUNCE_SEGMENT = 128;

interface Bounced {
  readonly original: Hpa;
  readonly size: number;
  /** Bytes from the start of the first slot to the data. */
  readonly offset: number;
  readonly slots: number;
}

/** Where a pool of bounce buffers lies. */
export interface BouncePoolOptions {
  readonly memory: PhysicalMemory;
  /** A multiple of 4 KiB that the devices can reach. */
  readonly start: Hpa;
  /** Bytes, a multiple of 256 KiB; Linux takes 64 MiB. */
  readonly size: number;
}

/**
 * Memory that every device can reach, in slots of 2 KiB, to which buffers are copied that a device cannot or must not
 * reach. Linux kernel/dma/swiotlb.c. A buffer takes neighbouring slots of one 256 KiB segment.
 */
export class BouncePool {
  readonly start: Hpa;
  readonly size: number;
  readonly #memory: PhysicalMemory;
  /** By slot: 1 when taken. */
  readonly #taken: Uint8Array;
  readonly #bounced = new Map<Hpa, Bounced>();
  #used = 0;
  #peak = 0;
  #next = 0;

  /** @throws RangeError when the pool is misaligned or empty */
  constructor({ memory, start, size }: BouncePoolOptions) {
    if (start % 4096 !== 0 || !(size > 0) || size % (BOUNCE_SLOT * BOUNCE_SEGMENT) !== 0) throw new RangeError(`No bounce pool has ${hex(size)} bytes at HPA ${hex(start)}: it starts on a page and holds segments of 256 KiB.`);
    this.#memory = memory;
    this.start = start;
    this.size = size;
    this.#taken = new Uint8Array(size / BOUNCE_SLOT);
  }

  /** Slots taken now; /sys/kernel/debug/swiotlb/io_tlb_used. */
  get used(): number {
    return this.#used;
  }

  /** The most slots that were taken at once; io_tlb_used_hiwater. */
  get peak(): number {
    return this.#peak;
  }

  /**
   * Takes slots for a buffer. The data starts at the buffer's own offset in `alignment`; what is left of the first and
   * the last page, where `alignment` is a page, is cleared so that nobody's old bytes show.
   * @param alignment power of two; 1 where the place does not matter
   * @returns the address for the device, or undefined when no place is large enough
   */
  take(original: Hpa, size: number, alignment: number): Hpa | undefined {
    const offset = original % alignment;
    const whole = alignment > 1 ? Math.ceil((offset + size) / alignment) * alignment : size;
    const slots = Math.ceil(whole / BOUNCE_SLOT);
    const first = slots <= BOUNCE_SEGMENT ? this.#find(slots, Math.max(1, alignment / BOUNCE_SLOT)) : undefined;
    if (first === undefined) return undefined;
    this.#taken.fill(1, first, first + slots);
    this.#used += slots;
    this.#peak = Math.max(this.#peak, this.#used);
    this.#next = first + slots;
    const start = this.start + first * BOUNCE_SLOT;
    if (whole > size) this.#memory.writeFrom(start, new Uint8Array(slots * BOUNCE_SLOT));
    this.#bounced.set(start + offset, { original, size, offset, slots });
    return start + offset;
  }

  /** Copies the original into the bounce buffer. `from` counts bytes from the buffer's start. */
  copyIn(bounce: Hpa, from: number, size: number): void {
    const { original } = this.#of(bounce);
    this.#copy(original + from, bounce + from, size);
  }

  /** Copies what the device wrote back into the original. */
  copyOut(bounce: Hpa, from: number, size: number): void {
    const { original } = this.#of(bounce);
    this.#copy(bounce + from, original + from, size);
  }

  /** @throws RangeError when no buffer was given there */
  release(bounce: Hpa): void {
    const { slots, offset } = this.#of(bounce);
    const first = (bounce - offset - this.start) / BOUNCE_SLOT;
    this.#taken.fill(0, first, first + slots);
    this.#used -= slots;
    this.#bounced.delete(bounce);
  }

  #of(bounce: Hpa): Bounced {
    const found = this.#bounced.get(bounce);
    if (!found) throw new RangeError(`No bounce buffer was given out at HPA ${hex(bounce)}.`);
    return found;
  }

  #copy(from: Hpa, to: Hpa, size: number): void {
    const bytes = new Uint8Array(size);
    this.#memory.readInto(from, bytes);
    this.#memory.writeFrom(to, bytes);
  }

  /** First free run of `slots`, from where the last one ended, round the pool once. */
  #find(slots: number, step: number): number | undefined {
    const { length } = this.#taken;
    const begin = Math.ceil(this.#next / step) * step;
    for (let tried = 0; tried < length; tried += step) {
      const at = (begin + tried) % length;
      const crosses = (at % BOUNCE_SEGMENT) + slots > BOUNCE_SEGMENT;
      if (!crosses && this.#isFree(at, slots)) return at;
    }
    return undefined;
  }

  #isFree(at: number, slots: number): boolean {
    for (let each = at; each < at + slots; each++) if (this.#taken[each] !== 0) return false;
    return true;
  }
}
