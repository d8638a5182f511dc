import type { Field, Layout } from "@iommu-lab/memory/layout";
import type { Register } from "@iommu-lab/memory/registers";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as exported from "../src/layouts/index.ts";

type AnyLayout = Layout<Readonly<Record<string, Field>>>;
const isLayout = (value: unknown): value is AnyLayout => typeof value === "object" && value !== null && "reservedIn" in value;
const isRegister = (value: unknown): value is Register => typeof value === "object" && value !== null && "layout" in value;

/** Every layout of the package, registers' included, found by walking what it exports. */
const found = (value: unknown): AnyLayout[] => (isLayout(value) ? [value] : isRegister(value) ? [value.layout] : typeof value === "object" && value !== null ? Object.values(value).flatMap(found) : []);
const layouts = [...new Map(found({ ...exported }).map((layout) => [layout.name, layout])).values()];

describe("layouts (VT-d §6.5.2, §7, §9, §11.4)", () => {
  test("all are found", () => {
    expect(layouts.length).toBeGreaterThan(90);
  });
  test.each(layouts.map((layout) => ({ name: layout.name, layout })))("$name: decoding undoes encoding, and encoding decoding but for reserved bits", ({ layout }) => {
    const words = layout.width / 32;
    const values = fc.record(Object.fromEntries(Object.entries(layout.fields).map(([name, { msb, lsb }]) => [name, fc.maxSafeNat().map((n) => n % 2 ** (msb - lsb + 1))])));
    fc.assert(
      fc.property(values, (fields) => {
        expect(layout.decode(layout.encode(fields))).toEqual(fields);
      }),
      { numRuns: 30 },
    );
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 0xffff_ffff }), { minLength: Math.ceil(words), maxLength: Math.ceil(words) }), (raw) => {
        const bits = Uint32Array.from(raw, (word, i) => word & ~(layout.reserved[i] ?? 0));
        expect(layout.encode(layout.decode(bits))).toEqual(bits);
      }),
      { numRuns: 30 },
    );
  });
});
