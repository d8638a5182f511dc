import type { AccessSize, MmioHandler } from "@iommu-lab/memory";

/** A BAR that remembers what is written to it, zero at first; of any size, for only touched words take room. */
export class ScratchBar implements MmioHandler {
  readonly #words = new Map<number, number>();

  read(offset: number, size: AccessSize): number {
    const word = this.#words.get(Math.floor(offset / 4)) ?? 0;
    return size === 4 ? word : (word >>> (8 * (offset % 4))) & (2 ** (8 * size) - 1);
  }

  write(offset: number, size: AccessSize, value: number): void {
    const index = Math.floor(offset / 4);
    const shift = 8 * (offset % 4);
    const mask = size === 4 ? 0xffff_ffff : (2 ** (8 * size) - 1) << shift;
    this.#words.set(index, (((this.#words.get(index) ?? 0) & ~mask) | ((value << shift) & mask)) >>> 0);
  }

  read64(offset: number, into: Uint32Array): void {
    into[0] = this.read(offset, 4);
    into[1] = this.read(offset + 4, 4);
  }

  write64(offset: number, low: number, high: number): void {
    this.write(offset, 4, low);
    this.write(offset + 4, 4, high);
  }
}
