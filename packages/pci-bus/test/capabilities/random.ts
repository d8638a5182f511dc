/** Small seeded generators for tests: the same seed gives the same functions on every machine. */
import type { Layout, Values } from "@iommu-lab/memory/layout";
import type { Fields } from "../../src/capabilities/index.ts";

export interface Random {
  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number;
  chance(probability: number): boolean;
  pick<T>(from: readonly T[]): T;
  /** Random values for every field of a layout; `given` wins. */
  fields<F extends Fields>(layout: Layout<F>, given?: Partial<Values<F>>): Partial<Values<F>>;
}

/** Mulberry32. */
export const random = (seed: number): Random => {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return {
    below,
    chance: (probability) => next() < probability,
    pick: (from) => from[below(from.length)]!,
    fields: (layout, given = {}) => ({ ...Object.fromEntries(Object.entries(layout.fields).map(([name, { msb, lsb }]) => [name, below(2 ** (msb - lsb + 1))])), ...given }),
  };
};
