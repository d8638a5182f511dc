/** What `pnpm mutate` takes for enough. */
import { describe, expect, test } from "vitest";
import { limitOf } from "../scripts/mutate/limit.ts";

/** Chance that at most so many of `count` are killed when each is with 85 %, term by term. */
const atMost = (kills: number, count: number): number => {
  const choose = (of: number, taken: number): number => Array.from({ length: taken }).reduce<number>((product, _, i) => (product * (of - i)) / (i + 1), 1);
  return Array.from({ length: kills + 1 }, (_, k) => choose(count, k) * 0.85 ** k * 0.15 ** (count - k)).reduce((sum, chance) => sum + chance, 0);
};

describe("the limit of killed mutants", () => {
  test.each([300, 301, 1000])("is the share itself for %i mutants", (count) => {
    expect(limitOf(count).kills).toBe(Math.ceil(0.85 * count));
  });
  test.each([5, 40, 299])("is the fewest that are not improbable for %i mutants", (count) => {
    const { kills } = limitOf(count);
    expect(atMost(kills, count)).toBeGreaterThanOrEqual(0.001);
    expect(atMost(kills - 1, count)).toBeLessThan(0.001);
  });
  test("lets a single mutant live", () => {
    expect(limitOf(1).kills).toBe(0);
  });
});
