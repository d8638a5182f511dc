import type { Region } from "./regions.ts";

/** Stretches of addresses between all bounds, each as high as its size on a logarithmic scale asks. */
export interface Scale {
  readonly height: number;
  /** Height of an address; the same in every lane. */
  readonly at: (address: bigint) => number;
  readonly marks: readonly bigint[];
}

const [LEAST, PER_BIT, MARGIN] = [9, 1.1, 14];
const bitsIn = (size: bigint): number => size.toString(2).length;

export const makeScale = (regions: readonly Region[], more: readonly bigint[]): Scale => {
  const bounds = [...new Set([0n, ...more, ...regions.flatMap(({ first, last }) => [first, last + 1n])])].toSorted((a, b) => (a < b ? -1 : 1));
  const heights = [MARGIN];
  for (const [i, bound] of bounds.slice(1).entries()) heights.push(heights[i]! + LEAST + PER_BIT * Math.max(0, bitsIn(bound - bounds[i]!) - 12));
  const places = new Map(bounds.map((bound, i) => [bound, heights[i]!]));
  const end = heights.at(-1)! + MARGIN;
  return { height: end, at: (address) => places.get(address) ?? end - MARGIN, marks: bounds };
};
