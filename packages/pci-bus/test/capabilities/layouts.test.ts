import type { Layout } from "@iommu-lab/memory/layout";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as exported from "../../src/capabilities/index.ts";

const isLayout = (value: unknown): value is Layout<exported.Fields> => typeof value === "object" && value !== null && "reserved" in value && "encode" in value;
const layouts = Object.entries<unknown>(exported).flatMap(([name, value]): [string, Layout<exported.Fields>][] => (isLayout(value) ? [[name, value]] : []));

describe("Register layouts of configuration space", () => {
  test("there are as many as registers", () => {
    expect(layouts.length).toBeGreaterThan(100);
  });

  test.each(layouts)("%s: decoding what was encoded gives the values back", (_name, of) => {
    const values = fc.record(Object.fromEntries(Object.entries(of.fields).map(([field, { msb, lsb }]) => [field, fc.integer({ min: 0, max: 2 ** (msb - lsb + 1) - 1 })])));
    fc.assert(
      fc.property(values, (given) => {
        const words = of.encode(given);
        expect(of.decode(words)).toEqual(given);
        expect(of.reservedIn(words)).toBe(-1);
      }),
      { numRuns: 30 },
    );
  });
});
