import { decodeMcfg, encodeMcfg } from "@iommu-lab/pci-bus/acpi";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

const allocation = fc
  .record({ base: fc.integer({ min: 0, max: 2 ** 32 - 1 }).map((n) => n * 2 ** 20), segment: fc.integer({ min: 0, max: 0xffff }), a: fc.integer({ min: 0, max: 255 }), b: fc.integer({ min: 0, max: 255 }) })
  .map(({ base, segment, a, b }) => ({ base, segment, firstBus: Math.min(a, b), lastBus: Math.max(a, b) }));

describe("MCFG table (PCI Firmware §4.1.2)", () => {
  test("decoding gives back the allocations that were encoded", () => {
    fc.assert(
      fc.property(fc.array(allocation, { maxLength: 8 }), (allocations) => {
        const decoded = decodeMcfg(encodeMcfg(allocations));
        expect(decoded.problems).toEqual([]);
        expect(decoded.allocations).toEqual(allocations);
      }),
    );
  });

  test("one segment of 256 buses at 0xb000_0000 has the bytes the specification shows", () => {
    const table = encodeMcfg([{ base: 0xb000_0000, segment: 0, firstBus: 0, lastBus: 255 }]);
    expect(table.length).toBe(60);
    expect([...table.subarray(44)]).toEqual([0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0, 0]);
  });

  test("an entry whose buses are reversed is reported and left out", () => {
    const table = encodeMcfg([{ base: 0, segment: 0, firstBus: 3, lastBus: 4 }]);
    table[54] = 9;
    const decoded = decodeMcfg(table);
    expect(decoded.allocations).toEqual([]);
    expect(decoded.problems).toContainEqual(expect.objectContaining({ kind: "content", field: "Start Bus Number", offset: 54 }));
  });

  test("bytes after the last whole entry are reported", () => {
    const table = encodeMcfg([{ base: 0, segment: 0, firstBus: 0, lastBus: 0 }]).subarray(0, 50);
    expect(decodeMcfg(table).problems).toContainEqual(expect.objectContaining({ kind: "content" }));
  });

  test("a segment of more than 16 bits is refused", () => {
    expect(() => encodeMcfg([{ base: 0, segment: 0x1_0000, firstBus: 0, lastBus: 0 }])).toThrow(RangeError);
  });
});
