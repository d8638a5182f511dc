/** Selective invalidations that together are worth more than one of the whole domain. */
const MOST_BLOCKS = 16;

/**
 * Covers a range by blocks of 2^mask pages at multiples of their size.
 * @param maximumMask the largest mask; -1 for none
 * @returns false, with `each` never called, when that takes more blocks than it is worth
 */
export const inBlocks = (first: number, end: number, maximumMask: number, each: (page: number, mask: number) => void): boolean => {
  if (maximumMask < 0) return false;
  if (end - first === 1) {
    each(first, 0);
    return true;
  }
  let blocks = 0;
  for (let page = first; page < end; page += blockAt(page, end, maximumMask)) if (++blocks > MOST_BLOCKS) return false;
  for (let page = first; page < end; ) {
    const size = blockAt(page, end, maximumMask);
    each(page, Math.log2(size));
    page += size;
  }
  return true;
};

/** The largest aligned block that starts at a page and does not pass the end. */
const blockAt = (page: number, end: number, maximumMask: number): number => {
  let size = 1;
  for (let mask = 0; mask < maximumMask && page % (size * 2) === 0 && page + size * 2 <= end; mask++) size *= 2;
  return size;
};

/** The smallest aligned block that holds a range: log2 of its bytes. Device-TLBs take any. */
export const coveringShift = (first: number, end: number): number => {
  let shift = 12;
  for (let size = 1; Math.floor(first / size) !== Math.floor((end - 1) / size); size *= 2) shift++;
  return shift;
};
