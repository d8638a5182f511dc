import type { PlacedRegion } from "./region.ts";

/** A range of addresses that one region decodes, or none. */
export interface FlatRange<A extends number> {
  readonly start: number;
  /** First address past it. */
  readonly end: number;
  readonly region: PlacedRegion<A> | undefined;
}

/**
 * Covers every address from -∞ to +∞ with sorted, disjoint ranges, each decoded by the enabled region of highest priority or by none.
 * Neighbours of one region are joined, so that a region hidden below another cuts nothing.
 * The regions may not overlap within a priority.
 */
export const flatten = <A extends number>(regions: Iterable<PlacedRegion<A>>): FlatRange<A>[] => {
  const starting = [...regions].filter(({ enabled }) => enabled).sort((a, b) => a.start - b.start);
  const borders = [...new Set(starting.flatMap(({ start, size }) => [start as number, start + size]))].sort((a, b) => a - b);
  const flat: FlatRange<A>[] = [];
  let open: PlacedRegion<A>[] = [];
  let next = 0;
  let current: PlacedRegion<A> | undefined = undefined;
  let since = -Infinity;
  for (const border of borders) {
    open = open.filter(({ start, size }) => start + size > border);
    for (let region = starting[next]; region?.start === border; region = starting[++next]) open.push(region);
    const winner = open.reduce<PlacedRegion<A> | undefined>((best, region) => (best === undefined || region.priority > best.priority ? region : best), undefined);
    if (winner === current) continue;
    flat.push({ start: since, end: border, region: current });
    current = winner;
    since = border;
  }
  flat.push({ start: since, end: Infinity, region: current });
  return flat;
};
