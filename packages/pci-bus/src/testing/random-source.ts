/** Random numbers that a seed repeats: xorshift of 32 bits. */
export class RandomSource {
  #state: number;

  constructor(seed: number) {
    this.#state = (Math.imul(seed | 0, 0x9e37_79b1) ^ 0x5bd1_e995) | 1;
  }

  /** 0 to below `limit`. */
  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }

  /** One of some. */
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T; // below the length
  }
}
