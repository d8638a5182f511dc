/**
 * A small deterministic generator: a Weyl sequence mixed by the finaliser of MurmurHash3. The same seed gives the same numbers everywhere.
 * @param seed any 32-bit integer
 * @returns a function that gives integers from 0 up to, not including, its argument
 */
export const seededRandom = (seed: number): ((below: number) => number) => {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x9e37_79b9) | 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x85eb_ca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35);
    return Math.floor((((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32) * below);
  };
};
