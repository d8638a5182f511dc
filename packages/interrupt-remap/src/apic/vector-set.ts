/** 256 bits, one per vector: IRR, ISR and TMR are such. Intel SDM vol. 3 §11.8.4 "Interrupt Acceptance for Fixed Interrupts". */
export class VectorSet {
  readonly #words = new Uint32Array(8);

  add(vector: number): void {
    this.#words[vector >>> 5] = (this.#words[vector >>> 5] as number) | (1 << (vector & 31)); // vectors are 0 to 255
  }

  delete(vector: number): void {
    this.#words[vector >>> 5] = (this.#words[vector >>> 5] as number) & ~(1 << (vector & 31)); // vectors are 0 to 255
  }

  has(vector: number): boolean {
    return (((this.#words[vector >>> 5] as number) >>> (vector & 31)) & 1) === 1; // vectors are 0 to 255
  }

  clear(): void {
    this.#words.fill(0);
  }

  /** The highest vector in the set, or -1. */
  highest(): number {
    for (let word = 7; word >= 0; word--) {
      const bits = this.#words[word] as number; // eight words
      if (bits !== 0) return word * 32 + 31 - Math.clz32(bits);
    }
    return -1;
  }

  /** Every vector in the set, highest first. */
  toArray(): number[] {
    const vectors: number[] = [];
    for (let vector = 255; vector >= 0; vector--) if (this.has(vector)) vectors.push(vector);
    return vectors;
  }
}
