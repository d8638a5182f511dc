import type { Iommu, IommuDriver } from "@iommu-lab/pci-bus";
import { encodeSdt } from "@iommu-lab/pci-bus/acpi";
import fc from "fast-check";
import { describe, expect, expectTypeOf, test } from "vitest";
import type { AmdDriver, AmdIommu } from "../src/index.ts";
import { decodeIvrsUnits } from "../src/ivrs/index.ts";

/** An IVHD block by hand from AMD-Vi §5.2.2: type, IOMMU at 00:00.2, window at fd000000h, then its device entries. */
const block = (type: number, entries: readonly number[]): number[] => [type, 0, (type === 0x10 ? 24 : 40) + entries.length, 0, 2, 0, 0x40, 0, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, ...new Array<number>(type === 0x10 ? 4 : 20).fill(0), ...entries];
const ENTRIES = [3, 3, 0, 0, 4, 0xff, 0xff, 0, 0x43, 0, 4, 0, 0, 0xa4, 0, 0, 4, 0xff, 4, 0];
const table = (...blocks: number[][]): Uint8Array => encodeSdt("IVRS", Uint8Array.from([...new Array<number>(12).fill(0), ...blocks.flat()]), { revision: 2 });

describe("IVRS units, AMD-Vi §5.2.2", () => {
  test("ranges and aliases are read", () => {
    const { units, problems } = decodeIvrsUnits(table(block(0x10, ENTRIES)));
    expect(problems).toEqual([]);
    expect(units).toMatchObject([{ type: 0x10, deviceId: 2, registerBase: 0xfd00_0000, ranges: [{ first: 3, last: 0xffff }, { first: 0x400, last: 0x4ff, alias: 0xa4 }] }]);
  });
  test("of several blocks for one IOMMU the highest type counts", () => {
    expect(decodeIvrsUnits(table(block(0x10, ENTRIES), block(0x11, [2, 8, 0, 0]))).units).toMatchObject([{ type: 0x11, ranges: [{ first: 8, last: 8 }] }]);
  });
  test("a range without an end is named", () => {
    expect(decodeIvrsUnits(table(block(0x10, [3, 3, 0, 0]))).problems).toMatchObject([{ offset: 72, text: expect.stringContaining("has no end") as string }]);
  });
  test("any bytes end in a result", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, signed) => {
      if (signed && bytes.length >= 4) bytes.set([0x49, 0x56, 0x52, 0x53]);
      expect(decodeIvrsUnits(bytes).units.length).toBeLessThanOrEqual(bytes.length);
    }));
  });
  test("an AMD IOMMU is an Iommu, its driver an IommuDriver", () => {
    expectTypeOf<AmdIommu>().toExtend<Iommu>();
    expectTypeOf<AmdDriver>().toExtend<IommuDriver>();
  });
});
