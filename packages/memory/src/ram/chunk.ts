import { PAGE_SIZE } from "../address.ts";

/** log2 of a chunk of sparse memory: 2 MiB, one large page. */
export const CHUNK_SHIFT = 21;
export const CHUNK_SIZE = 2 ** CHUNK_SHIFT;
/** Low bits of an address that choose the byte in its chunk. */
export const CHUNK_MASK = CHUNK_SIZE - 1;
const PAGE_WORDS = PAGE_SIZE / 4;

/** What memory never written reads as. Shared by all memories, never written; untouched, it costs no resident memory. */
export const ZERO_WORDS = /* @__PURE__ */ new Uint32Array(CHUNK_SIZE / 4);

/** 2 MiB of sparse memory. */
export class Chunk {
  readonly words: Uint32Array;
  readonly bytes: Uint8Array;
  /** Whether all of it is RAM; where it is not, every access asks the ranges. */
  readonly whole: boolean;
  readonly #pages: (Uint32Array | undefined)[] = [];

  constructor(whole: boolean) {
    const buffer = new ArrayBuffer(CHUNK_SIZE);
    this.words = new Uint32Array(buffer);
    this.bytes = new Uint8Array(buffer);
    this.whole = whole;
  }

  /** The words of page `index` (0–511) of this chunk: always the same view object. */
  page(index: number): Uint32Array {
    return (this.#pages[index] ??= this.words.subarray(index * PAGE_WORDS, (index + 1) * PAGE_WORDS));
  }
}
