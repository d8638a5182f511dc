import type { ReservedIova } from "../dma/index.ts";

/** Pages `first` to `last` of an I/O address space. */
export interface PageRange {
  readonly first: number;
  readonly last: number;
}

/** Pages a user may map: all that the width allows, without what is reserved. */
export const usableRanges = (addressWidth: number, reserved: readonly ReservedIova[]): readonly PageRange[] => {
  const holes = reserved.map(({ start, size }) => ({ first: Math.floor(start / 4096), last: Math.ceil((start + size) / 4096) - 1 })).sort((a, b) => a.first - b.first);
  const ranges: PageRange[] = [];
  const end = 2 ** (addressWidth - 12);
  let next = 0;
  for (const { first, last } of holes) {
    if (first > next) ranges.push({ first: next, last: Math.min(first, end) - 1 });
    next = Math.max(next, last + 1);
  }
  if (next < end) ranges.push({ first: next, last: end - 1 });
  return ranges.filter(({ first, last }) => first <= last);
};

/** Whether one of the ranges holds all of it. */
export const isWithin = (ranges: readonly PageRange[], first: number, last: number): boolean => ranges.some((range) => first >= range.first && last <= range.last);
