import { pageOfEntry, writeEntry, type TableFrames } from "@iommu-lab/pci-bus/paging";

const VALID = 1;
const INDEX_BITS = 9;

/** A function's GCR3 tables: from a PASID to the guest page table's root. AMD-Vi §2.2.3 "Guest CR3 Table". */
export class Gcr3Table {
  readonly page: number;
  readonly #frames: TableFrames;
  /** GLX: levels, less one. */
  readonly #depth: number;
  readonly #inner: number[] = [];

  constructor(frames: TableFrames, depth: number) {
    this.#frames = frames;
    this.#depth = depth;
    this.page = frames.allocate();
  }

  /** @param root page number of the table; undefined: none */
  set(pasid: number, root: number | undefined): void {
    let words = this.#frames.words(this.page);
    for (let level = this.#depth; level > 0; level--) {
      const at = 2 * ((pasid >>> (INDEX_BITS * level)) & 511);
      if ((words[at] as number) === 0) {
        if (root === undefined) return;
        const table = this.#frames.allocate();
        this.#inner.push(table);
        writeEntry(words, at, table, VALID);
      }
      words = this.#frames.words(pageOfEntry(words[at] as number, words[at + 1] as number));
    }
    const at = 2 * (pasid & 511);
    if (root === undefined) words[at] = 0;
    else writeEntry(words, at, root, VALID);
  }

  /** No hardware may use it any more. */
  free(): void {
    for (const page of this.#inner) this.#frames.free(page);
    this.#frames.free(this.page);
  }
}
