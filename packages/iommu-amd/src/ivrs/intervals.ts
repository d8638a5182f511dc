/** First and last of something, inclusive. */
export interface Interval<T extends number | bigint> {
  readonly first: T;
  readonly last: T;
}

/** Tells whether a range touches any of the intervals; each question takes logarithmic time. */
export const touching = <T extends number | bigint>(intervals: readonly Interval<T>[]): ((first: T, last: T) => boolean) => {
  const sorted = [...intervals].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  // How far the intervals up to each one reach.
  const reach: T[] = [];
  for (const { last } of sorted) {
    const before = reach.at(-1);
    reach.push(before !== undefined && before > last ? before : last);
  }
  return (first, last) => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((sorted[middle] as Interval<T>).first <= last) low = middle + 1;
      else high = middle;
    }
    const farthest = reach[low - 1];
    return farthest !== undefined && farthest >= first;
  };
};
