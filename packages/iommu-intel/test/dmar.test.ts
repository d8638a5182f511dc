import type { Iommu, IommuDriver } from "@iommu-lab/pci-bus";
import { encodeSdt } from "@iommu-lab/pci-bus/acpi";
import fc from "fast-check";
import { describe, expect, expectTypeOf, test } from "vitest";
import { decodeDmarUnits } from "../src/dmar/index.ts";
import type { RemappingUnit, VtdDriver } from "../src/index.ts";

/** A table with a graphics unit (00:02.0) and a unit for all the rest; written by hand from VT-d §8.1 to §8.3. */
const table = encodeSdt("DMAR", Uint8Array.from([
  38, 1, ...new Array<number>(10).fill(0),
  ...[0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, 2, 0],
  ...[0, 0, 16, 0, 1, 0, 0, 0, 0, 0x10, 0xd9, 0xfe, 0, 0, 0, 0],
]));

describe("DMAR units, VT-d §8.3", () => {
  test("units, their windows and their scopes are read", () => {
    expect(decodeDmarUnits(table)).toMatchObject({
      problems: [],
      units: [
        { includeAll: false, segment: 0, registerBase: 0xfed9_0000, scopes: [{ type: 1, startBus: 0, path: [{ device: 2, function: 0 }] }] },
        { includeAll: true, registerBase: 0xfed9_1000, scopes: [] },
      ],
    });
  });
  test("a structure that reaches past the table is named, what stands before it is kept", () => {
    const cut = table.slice(0, 80);
    const result = decodeDmarUnits(cut);
    expect(result.units).toHaveLength(1);
    expect(result.problems.map(({ offset }) => offset)).toEqual([4, 9, 72]);
  });
  test("any bytes end in a result", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, signed) => {
      if (signed && bytes.length >= 4) bytes.set([0x44, 0x4d, 0x41, 0x52]);
      expect(decodeDmarUnits(bytes).units.length).toBeLessThanOrEqual(bytes.length);
    }));
  });
  test("a remapping unit is an Iommu, its driver an IommuDriver", () => {
    expectTypeOf<RemappingUnit>().toExtend<Iommu>();
    expectTypeOf<VtdDriver>().toExtend<IommuDriver>();
  });
});
