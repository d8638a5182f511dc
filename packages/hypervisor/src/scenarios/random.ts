/** Numbers that look random and depend on a seed alone: xorshift128 seeded by splitmix32. */
export class SeededRandom {
  readonly #state: Uint32Array;

  /** @param seed any whole number; 32 bits of it count */
  constructor(seed: number) {
    let z = seed >>> 0;
    this.#state = Uint32Array.from({ length: 4 }, () => {
      z = (z + 0x9e37_79b9) >>> 0;
      let t = Math.imul(z ^ (z >>> 16), 0x21f0_aaad);
      t = Math.imul(t ^ (t >>> 15), 0x735a_2d97);
      return (t ^ (t >>> 15)) >>> 0 || 1;
    });
  }

  /** 32 bits. */
  word(): number {
    const s = this.#state;
    const t = (s[0] as number) ^ ((s[0] as number) << 11); // four words
    s.copyWithin(0, 1);
    s[3] = ((s[3] as number) ^ ((s[3] as number) >>> 19) ^ t ^ (t >>> 8)) >>> 0;
    return s[3];
  }

  /** A whole number from 0 to `below` - 1, `below` up to 2^32. */
  below(below: number): number {
    return Number((BigInt(this.word()) * BigInt(below)) >> 32n);
  }

  /** One of a list that is not empty. */
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T; // in range
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i += 4) {
      const word = this.word();
      for (let j = 0; j < 4 && i + j < length; j++) bytes[i + j] = word >>> (8 * j);
    }
    return bytes;
  }

  /** The list in another order. */
  shuffled<T>(list: readonly T[]): T[] {
    const out = [...list];
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [out[i], out[j]] = [out[j] as T, out[i] as T]; // both in range
    }
    return out;
  }
}
