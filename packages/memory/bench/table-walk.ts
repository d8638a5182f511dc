/** Second-stage page tables of 4 levels over 64 MiB in 4 KiB pages, as raw words to put into memory. Bit 0 read, bit 1 write, bits 51:12 the next page. */

/** Pages mapped. */
export const MAPPED_PAGES = 16_384;
/** First page of the tables: root, one level 3, one level 2, then 32 leaf tables. */
export const ROOT_PAGE = 0x100;
const LEVEL_3 = ROOT_PAGE + 1;
const LEVEL_2 = ROOT_PAGE + 2;
const FIRST_LEAF = ROOT_PAGE + 3;
/** First page of the data; the mapping permutes them. */
const FIRST_DATA = 0x1000;

/** Calls `put` with page, word index and low word of every entry; high words are zero. */
export const writeTables = (put: (page: number, word: number, value: number) => void): void => {
  put(ROOT_PAGE, 0, (LEVEL_3 << 12) | 3);
  put(LEVEL_3, 0, (LEVEL_2 << 12) | 3);
  for (let leaf = 0; leaf < MAPPED_PAGES / 512; leaf++) put(LEVEL_2, 2 * leaf, ((FIRST_LEAF + leaf) << 12) | 3);
  for (let page = 0; page < MAPPED_PAGES; page++) put(FIRST_LEAF + (page >>> 9), 2 * (page & 511), ((FIRST_DATA + ((page * 5323) & (MAPPED_PAGES - 1))) << 12) | 3);
};

/** IOVA pages in an order that no prefetcher guesses; the same at every run. */
export const randomPages = (): Int32Array => {
  let state = 12_345;
  return Int32Array.from({ length: 4096 }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) | 0;
    return (state >>> 8) & (MAPPED_PAGES - 1);
  });
};
