import { hex, PAGE_SIZE, PHYSICAL_LIMIT } from "../address.ts";

/** A piece of RAM: `size` bytes from HPA `start`, both multiples of 4096. */
export interface RamRange {
  readonly start: number;
  readonly size: number;
}

/** Which parts of a 52-bit physical address space are RAM. Adjacent ranges are joined. */
export class RamRanges {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];

  /** @throws RangeError when a range is empty, not made of pages, past 2^52 or overlaps another */
  constructor(ranges: readonly RamRange[]) {
    for (const { start, size } of ranges.toSorted((a, b) => a.start - b.start)) {
      if (!Number.isInteger(start) || !Number.isInteger(size) || start < 0 || size <= 0 || start % PAGE_SIZE !== 0 || size % PAGE_SIZE !== 0 || start + size > PHYSICAL_LIMIT)
        throw new RangeError(`RAM of ${size} bytes at HPA ${start} is impossible: both are multiples of 4096 and RAM ends at or below HPA ${hex(PHYSICAL_LIMIT)}.`);
      const end = this.limit;
      if (start < end) throw new RangeError(`RAM at HPA ${hex(start)} overlaps the RAM that ends at HPA ${hex(end)}; ranges must be disjoint.`);
      if (start === end && end > 0) this.#ends[this.#ends.length - 1] = start + size;
      else {
        this.#starts.push(start);
        this.#ends.push(start + size);
      }
    }
  }

  /** First HPA past the last RAM; 0 when there is none. */
  get limit(): number {
    return this.#ends.at(-1) ?? 0;
  }

  /** Whether `length` bytes from `at` are all RAM. */
  has(at: number, length = 1): boolean {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ends[middle] as number) <= at) low = middle + 1;
      else high = middle;
    }
    const start = this.#starts[low];
    return start !== undefined && start <= at && at + length <= (this.#ends[low] as number); // same length as #starts
  }
}
