import { sdtChecksum } from "@iommu-lab/pci-bus/acpi";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { listShared, hasShared, readShared, skippedWithoutShared } from "../../../test/shared.ts";
import { decodeDmar, DmarError, encodeDmar, type DmarInput, type DmarStructureInput } from "../src/dmar/index.ts";
import { tables } from "./dmar-arbitraries.ts";

const one = (structure: DmarStructureInput): Uint8Array => encodeDmar({ structures: [structure] }).subarray(48);

describe("DMAR structures, VT-d §8.3 to §8.9", () => {
  const scope = { type: 1, path: [{ device: 2, function: 0 }] } as const;
  const scopeBytes = [1, 8, 0, 0, 0, 0, 2, 0];
  test.each(([
    [{ name: "DRHD", registerBase: 0xfed9_1000, includeAll: true, size: 1, segment: 0x102 }, [0, 0, 16, 0, 1, 1, 2, 1, 0, 0x10, 0xd9, 0xfe, 0, 0, 0, 0]],
    [{ name: "RMRR", base: 0x1_2345_6000n, limit: 0x1_2345_6fff, scopes: [scope] }, [1, 0, 32, 0, 0, 0, 0, 0, 0, 0x60, 0x45, 0x23, 1, 0, 0, 0, 0xff, 0x6f, 0x45, 0x23, 1, 0, 0, 0, ...scopeBytes]],
    [{ name: "ATSR", allPorts: true }, [2, 0, 8, 0, 1, 0, 0, 0]],
    [{ name: "RHSA", registerBase: 0xfed9_0000, proximityDomain: 0x0102_0304 }, [3, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0, 4, 3, 2, 1]],
    [{ name: "ANDD", deviceNumber: 7, objectName: "\\X" }, [4, 0, 11, 0, 0, 0, 0, 7, 0x5c, 0x58, 0]],
    [{ name: "SATC", atcRequired: true, scopes: [scope] }, [5, 0, 16, 0, 1, 0, 0, 0, ...scopeBytes]],
    [{ name: "SIDP", segment: 3, scopes: [{ ...scope, flags: 8 }] }, [6, 0, 16, 0, 0, 0, 3, 0, 1, 8, 8, 0, 0, 0, 2, 0]],
    [{ name: "raw", type: 0x1234, data: Uint8Array.of(9) }, [0x34, 0x12, 5, 0, 9]],
  ] as [DmarStructureInput, number[]][]).map(([structure, bytes]) => ({ name: structure.name, structure, bytes })))("$name stands in the table as written by hand from the specification", ({ structure, bytes }) => {
    expect([...one(structure)]).toEqual(bytes);
    const [decoded] = decodeDmar(encodeDmar({ structures: [structure] })).structures;
    expect(decoded).toMatchObject({ offset: 48, length: bytes.length, name: structure.name });
  });
  test("the header holds width, flags and a checksum of zero", () => {
    const table = encodeDmar({ structures: [], hostAddressWidth: 46, interruptRemapping: false, dmaControlOptIn: true });
    expect([...table.subarray(36)]).toEqual([45, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(table.reduce((sum, byte) => (sum + byte) & 0xff, 0)).toBe(0);
  });
  test.each<[RegExp, DmarInput]>([
    [/HAW of DMAR is 256/, { structures: [], hostAddressWidth: 257 }],
    [/register base is 0x10000000000000000/, { structures: [{ name: "DRHD", registerBase: 1n << 64n }] }],
    [/limit is negative/, { structures: [{ name: "RMRR", base: 0, limit: -1 }] }],
    [/base is 0\.5/, { structures: [{ name: "RMRR", base: 0.5, limit: 1 }] }],
    [/length field holds 255/, { structures: [{ name: "ATSR", scopes: [{ type: 2, path: new Array(200).fill({ device: 0, function: 0 }) }] }] }],
    [/does not fit its two bytes/, { structures: [{ name: "ATSR", scopes: [{ type: 2, path: [{ device: 256, function: 0 }] }] }] }],
    [/16-bit length/, { structures: [{ name: "ANDD", deviceNumber: 0, objectName: "x".repeat(70_000) }] }],
    [/16-bit type and length/, { structures: [{ name: "raw", type: 70_000, data: new Uint8Array() }] }],
    [/no single byte, or a zero/, { structures: [{ name: "ANDD", deviceNumber: 0, objectName: "\u20ac" }] }],
  ])("what does not fit is refused: %s", (message, table) => {
    expect(() => encodeDmar(table)).toThrow(message);
    expect(() => encodeDmar(table)).toThrow(RangeError);
  });
});

describe("decoding and encoding DMAR tables", () => {
  test("what was encoded is decoded again, field by field", () => {
    fc.assert(fc.property(tables, (table) => {
      const decoded = decodeDmar(encodeDmar(table));
      expect(decoded).toMatchObject(table);
      expect(decoded.odd).toBeUndefined();
    }));
  });
  test("any damaged table gives its own bytes again, or a DmarError", () => {
    const damage = fc.array(fc.tuple(fc.nat(300), fc.integer({ min: 0, max: 255 })), { maxLength: 12 });
    fc.assert(fc.property(tables, damage, fc.nat(400), fc.uint8Array({ maxLength: 9 }), (table, changes, length, trailing) => {
      const whole = encodeDmar(table);
      const bytes = new Uint8Array([...whole.subarray(0, length > 300 ? whole.length : length), ...trailing]);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      try {
        expect(encodeDmar(decodeDmar(bytes))).toEqual(bytes);
      } catch (error) {
        if (!(error instanceof DmarError)) throw error;
        expect(bytes.length < 48 || String.fromCharCode(...bytes.subarray(0, 4)) !== "DMAR").toBe(true);
      }
    }));
  });
  test("a large hostile table is read in time linear in its size", () => {
    const structures = new Uint8Array(1_600_000);
    for (let at = 0; at + 32 <= structures.length; at += 32) structures.set([1, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0, 0], at);
    const table = new Uint8Array([...encodeDmar({ structures: [{ name: "DRHD", registerBase: 0xfed9_0000, includeAll: true }] }), ...structures]);
    new DataView(table.buffer).setUint32(4, table.length, true);
    const start = performance.now();
    expect(decodeDmar(table).structures).toHaveLength(50_001);
    expect(performance.now() - start).toBeLessThan(10_000);
  });
  test("a table without its oddities has the same contents in good form", () => {
    const bytes = encodeDmar({ structures: [{ name: "ATSR", allPorts: true }] });
    bytes[9] = (bytes[9] as number) ^ 0xff;
    const { odd, ...table } = decodeDmar(bytes);
    expect(Object.keys(odd ?? {})).toEqual(["checksum"]);
    const mended = encodeDmar(table);
    expect(mended[9]).toBe(sdtChecksum(mended));
    expect(decodeDmar(mended).structures).toEqual(table.structures);
  });
  test("a table whose text is padded with zeros keeps them, unless the text changes", () => {
    const bytes = encodeDmar({ structures: [], header: { oemId: "A", oemTableId: "B" } });
    bytes.fill(0, 11, 16);
    bytes[9] = sdtChecksum(bytes);
    const table = decodeDmar(bytes);
    expect(encodeDmar(table)).toEqual(bytes);
    expect([...encodeDmar({ ...table, header: { ...table.header, oemId: "C" } }).subarray(10, 16)]).toEqual([0x43, 0x20, 0x20, 0x20, 0x20, 0x20]);
  });
  test.each([["nothing", []], ["another table", [0x41, 0x50, 0x49, 0x43]], ["only a signature", [0x44, 0x4d, 0x41, 0x52]]])("%s is refused by name", (_what, bytes) => {
    expect(() => decodeDmar(Uint8Array.from(bytes))).toThrow(DmarError);
  });
});

/** What is known to be wrong with tables of the collection; everything else there is in order. */
const MISTAKES: Readonly<Record<string, readonly string[]>> = { "92703beb0e.dmar": ["drhd-base-zero"] };

describe.skipIf(!hasShared())(`firmware tables of real machines${skippedWithoutShared}`, () => {
  test.each(listShared("acpi", ".dmar"))("%s gives its own bytes again, and its mistakes are named", (file) => {
    const bytes = new Uint8Array(readShared(`acpi/${file}`));
    const table = decodeDmar(bytes);
    expect(encodeDmar(table)).toEqual(bytes);
    expect(table.structures.filter(({ name }) => name === "raw")).toEqual([]);
    expect(table.diagnoses.filter(({ severity }) => severity !== "note").map(({ id }) => id)).toEqual(MISTAKES[file] ?? []);
    expect(table.diagnoses.some(({ id }) => id === "x2apic-opt-out")).toBe(table.x2apicOptOut);
  });
});
