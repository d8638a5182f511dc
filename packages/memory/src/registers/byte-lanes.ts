/** Mask of the bits that bytes `from` up to, not including, `to` have in the 32-bit word at byte `word`. */
export const byteLanes = (word: number, from: number, to: number): number => {
  const first = Math.max(from - word, 0);
  const last = Math.min(to - word, 4);
  if (first >= last) return 0;
  return (0xffff_ffff >>> (32 - 8 * (last - first))) << (8 * first);
};

/** What an access of up to 8 bytes (`low` first) carries for the 32-bit word that starts `skip` bytes after the access does; -3 to 7. */
export const laneOf = (low: number, high: number, skip: number): number => {
  if (skip < 0) return low << (-8 * skip);
  if (skip === 0) return low;
  if (skip < 4) return (low >>> (8 * skip)) | (high << (32 - 8 * skip));
  return high >>> (8 * (skip - 4));
};
