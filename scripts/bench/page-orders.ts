// In which order benchmarks ask for pages, and where they are: the same at every run and for every vendor.

/** The same order at every run. @returns 0 to `count` - 1, shuffled */
export const shuffled = (count: number): Int32Array => {
  const order = Int32Array.from({ length: count }, (_, i) => i);
  let state = 12_345;
  for (let i = count - 1; i > 0; i--) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    const other = Math.floor((state / 2 ** 32) * (i + 1));
    [order[i], order[other]] = [order[other] as number, order[i] as number];
  }
  return order;
};

/**
 * `count` pages below `tops` top-level entries (a power of two, 32 768 pages each at most) in leaf tables so far apart that no prefix of one is that of the page before it, and in an order
 * in which consecutive ones have different top-level entries that fall on one slot of a paging-structure cache of 64 slots:
 * every walk reads all its levels.
 */
export const spreadPages = (count: number, tops = 8): Float64Array => {
  const inTop = shuffled(count / tops);
  return Float64Array.from({ length: count }, (_, i) => {
    const within = inTop[Math.floor(i / tops)] as number; // 0 to count / tops - 1
    const [leaf, index] = [within >>> 9, within & 511];
    return (i & (tops - 1)) * 64 * 2 ** 27 + (leaf >>> 3) * 64 * 2 ** 18 + (leaf & 7) * 64 * 2 ** 9 + index;
  });
};

/** `count` contiguous pages in random order. */
export const densePages = (count: number): Float64Array => Float64Array.from(shuffled(count));

/** The host page of mapping `i` of `count` (a power of two): all different, not in order. */
export const hostPage = (i: number, count: number): number => 0x10_0000 + ((i * 5323) & (count - 1));
