/** Pages one leaf covers: 2^15, that is 128 MiB in a 4 KiB leaf. */
const LEAF_SHIFT = 15;
const LEAF_PAGES = 2 ** LEAF_SHIFT;
const LEAF_WORDS = LEAF_PAGES / 32;
/** Leaves found by index (the low 64 GiB); those above are found in a map. */
const DIRECT_LEAVES = 512;

/** One bit per 4 KiB page of a 52-bit physical address space; leaves appear when a bit in them is first set. */
export class PageBitmap {
  readonly #direct = new Array<Uint32Array | undefined>(DIRECT_LEAVES).fill(undefined);
  readonly #above = new Map<number, Uint32Array>();
  #lastNumber = -1;
  #last = new Uint32Array(0);

  /** Sets the bit of page number `page`. */
  set(page: number): void {
    const number = (page / LEAF_PAGES) | 0; // a page number below 2^40: at most 25 bits
    const leaf = number === this.#lastNumber ? this.#last : this.#open(number);
    const at = page & (LEAF_PAGES - 1);
    const index = at >>> 5; // below LEAF_WORDS
    leaf[index] = (leaf[index] as number) | (1 << (at & 31));
  }

  /** Whether the bit of page number `page` is set. */
  has(page: number): boolean {
    const leaf = this.#leaf((page / LEAF_PAGES) | 0);
    if (leaf === undefined) return false;
    const at = page & (LEAF_PAGES - 1);
    return ((leaf[at >>> 5] as number) & (1 << (at & 31))) !== 0;
  }

  /** The set pages in ascending order; clears them all. */
  take(): number[] {
    const pages: number[] = [];
    for (let number = 0; number < DIRECT_LEAVES; number++) {
      const leaf = this.#direct[number];
      if (leaf !== undefined) takeLeaf(leaf, number * LEAF_PAGES, pages);
    }
    for (const [number, leaf] of [...this.#above].sort(([a], [b]) => a - b)) takeLeaf(leaf, number * LEAF_PAGES, pages);
    return pages;
  }

  #leaf(number: number): Uint32Array | undefined {
    return number < DIRECT_LEAVES ? this.#direct[number] : this.#above.get(number);
  }

  #open(number: number): Uint32Array {
    let leaf = this.#leaf(number);
    if (leaf === undefined) {
      leaf = new Uint32Array(LEAF_WORDS);
      if (number < DIRECT_LEAVES) this.#direct[number] = leaf;
      else this.#above.set(number, leaf);
    }
    this.#lastNumber = number;
    this.#last = leaf as Uint32Array<ArrayBuffer>;
    return leaf;
  }
}

const takeLeaf = (leaf: Uint32Array, base: number, pages: number[]): void => {
  for (let index = 0; index < LEAF_WORDS; index++) {
    let word = leaf[index] as number;
    if (word === 0) continue;
    leaf[index] = 0;
    while (word !== 0) {
      const bit = 31 - Math.clz32(word & -word);
      pages.push(base + index * 32 + bit);
      word &= word - 1;
    }
  }
};
