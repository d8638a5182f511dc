import { sdtChecksum } from "@iommu-lab/pci-bus/acpi";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hasShared, listShared, readShared, skippedWithoutShared } from "../../../test/shared.ts";
import { decodeIvrs, encodeIvrs, IvrsError, type IvhdEntryInput, type IvrsInput, type IvrsStructureInput } from "../src/ivrs/index.ts";
import { tables } from "./ivrs-arbitraries.ts";

const one = (structure: IvrsStructureInput): number[] => [...encodeIvrs({ structures: [structure] }).subarray(48)];
const FIXED_10 = 24;

describe("IVRS blocks, AMD-Vi §5.2.2", () => {
  test.each<{ what: string; structure: IvrsStructureInput; bytes: number[] }>([
    {
      what: "IVHD 10h",
      structure: { name: "IVHD", type: 0x10, flags: 0xb0, deviceId: 2, capabilityOffset: 0x40, registerBase: 0xfeb8_0000, segment: 0x102, msiNumber: 3, unitId: 0x13, features: 0x8004_8f6e },
      bytes: [0x10, 0xb0, 24, 0, 2, 0, 0x40, 0, 0, 0, 0xb8, 0xfe, 0, 0, 0, 0, 2, 1, 3, 0x13, 0x6e, 0x8f, 4, 0x80],
    },
    {
      what: "IVHD 11h",
      structure: { name: "IVHD", type: 0x11, deviceId: 2, registerBase: 0x1_feb8_0000n, attributes: 0x0004_8000, extendedFeatures: 0x0102_0304_0506_0708n, extendedFeatures2: 9 },
      bytes: [0x11, 0, 40, 0, 2, 0, 0, 0, 0, 0, 0xb8, 0xfe, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 4, 0, 8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0, 0, 0, 0, 0],
    },
    { what: "IVHD 40h", structure: { name: "IVHD", type: 0x40, registerBase: 0 }, bytes: [0x40, 0, 40, ...new Array<number>(37).fill(0)] },
    {
      what: "IVMD",
      structure: { name: "IVMD", type: 0x22, flags: 7, deviceId: 0x200, lastDeviceId: 0x2ff, segment: 1, start: 0x1_7132_c000n, size: 0x2_6000 },
      bytes: [0x22, 7, 32, 0, 0, 2, 0xff, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0x32, 0x71, 1, 0, 0, 0, 0, 0x60, 2, 0, 0, 0, 0, 0],
    },
    { what: "unknown type", structure: { name: "raw", type: 0x51, flags: 8, data: Uint8Array.of(1, 2) }, bytes: [0x51, 8, 6, 0, 1, 2] },
  ])("$what stands in the table as written by hand from the specification", ({ structure, bytes }) => {
    expect(one(structure)).toEqual(bytes);
  });
  test.each<{ what: string; entry: IvhdEntryInput; bytes: number[] }>([
    { what: "padding of 4", entry: { name: "padding", type: 0 }, bytes: [0, 0, 0, 0] },
    { what: "padding of 8", entry: { name: "padding", type: 0x40 }, bytes: [0x40, 0, 0, 0, 0, 0, 0, 0] },
    { what: "all", entry: { name: "all", setting: 0xd7 }, bytes: [1, 0, 0, 0xd7] },
    { what: "select", entry: { name: "select", deviceId: 0x1234 }, bytes: [2, 0x34, 0x12, 0] },
    { what: "range start", entry: { name: "range-start", deviceId: 8, setting: 1 }, bytes: [3, 8, 0, 1] },
    { what: "range end", entry: { name: "range-end", deviceId: 0xfffe }, bytes: [4, 0xfe, 0xff, 0] },
    { what: "alias select", entry: { name: "alias-select", deviceId: 0x600, sourceId: 0xa4 }, bytes: [0x42, 0, 6, 0, 0, 0xa4, 0, 0] },
    { what: "alias range start", entry: { name: "alias-range-start", deviceId: 0xff00, sourceId: 0x1a5 }, bytes: [0x43, 0, 0xff, 0, 0, 0xa5, 1, 0] },
    { what: "extended select", entry: { name: "extended-select", deviceId: 0x100, extended: 0x8000_0000 }, bytes: [0x46, 0, 1, 0, 0, 0, 0, 0x80] },
    { what: "extended range start", entry: { name: "extended-range-start", deviceId: 0x100, extended: 1 }, bytes: [0x47, 0, 1, 0, 1, 0, 0, 0] },
    { what: "I/O APIC", entry: { name: "special", setting: 0xd7, handle: 33, sourceId: 0xa0, variety: 1 }, bytes: [0x48, 0, 0, 0xd7, 33, 0xa0, 0, 1] },
    {
      what: "ACPI device",
      entry: { name: "acpi-device", deviceId: 0x99, setting: 0x10, hid: "AMDI0020", cid: "PNP", uidFormat: 2, uid: Uint8Array.of(0x5c, 0x58) },
      bytes: [0xf0, 0x99, 0, 0x10, 0x41, 0x4d, 0x44, 0x49, 0x30, 0x30, 0x32, 0x30, 0x50, 0x4e, 0x50, 0, 0, 0, 0, 0, 2, 2, 0x5c, 0x58],
    },
  ])("device entry: $what", ({ entry, bytes }) => {
    const table = encodeIvrs({ structures: [{ name: "IVHD", type: 0x10, registerBase: 0, entries: [entry] }] });
    expect([...table.subarray(48 + FIXED_10)]).toEqual(bytes);
    const [block] = decodeIvrs(table).structures;
    expect(block).toMatchObject({ name: "IVHD", entries: [{ ...entry, offset: 72, length: bytes.length, type: bytes[0] }] });
  });
  test("the header says which blocks there can be, and IVinfo what addresses are", () => {
    const table = encodeIvrs({ structures: [], preBootDmaProtection: true, extendedFeatureReporting: true });
    expect([...table.subarray(36)]).toEqual([0x43, 0x30, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(table[8]).toBe(1);
    expect(encodeIvrs({ structures: [{ name: "IVHD", type: 0x40, registerBase: 0 }] })[8]).toBe(2);
    expect(table.reduce((sum, byte) => (sum + byte) & 0xff, 0)).toBe(0);
  });
  const entry = (each: IvhdEntryInput): IvrsInput => ({ structures: [{ name: "IVHD", type: 0x40, registerBase: 0, entries: [each] }] });
  test.each<[RegExp, IvrsInput]>([
    [/PA_SIZE of IVRS is 128/, { structures: [], physicalAddressSize: 128 }],
    [/register base is 0x10000000000000000/, { structures: [{ name: "IVHD", type: 0x10, registerBase: 1n << 64n }] }],
    [/size is negative/, { structures: [{ name: "IVMD", type: 0x20, start: 0, size: -1 }] }],
    [/16-bit length/, { structures: [{ name: "raw", type: 0x60, data: new Uint8Array(70_000) }] }],
    [/each is one byte/, { structures: [{ name: "raw", type: 0x160, data: new Uint8Array() }] }],
    [/DEVICE_ID of device entry is 65536/, entry({ name: "select", deviceId: 0x1_0000 })],
    [/length field holds 255/, entry({ name: "acpi-device", deviceId: 0, hid: "A", uid: new Uint8Array(256) })],
    [/has 9 characters/, entry({ name: "acpi-device", deviceId: 0, hid: "ABCDEFGHI" })],
    [/no single byte/, entry({ name: "acpi-device", deviceId: 0, hid: "\u20ac" })],
    [/cannot have 3 bytes/, entry({ name: "raw", type: 5, data: new Uint8Array(2) })],
    [/cannot have 8 bytes/, entry({ name: "raw", type: 0x80, data: new Uint8Array(7) })],
  ])("what does not fit is refused: %s", (message, table) => {
    expect(() => encodeIvrs(table)).toThrow(message);
    expect(() => encodeIvrs(table)).toThrow(RangeError);
  });
});

describe("decoding and encoding IVRS tables", () => {
  test("what was encoded is decoded again, field by field", () => {
    fc.assert(fc.property(tables, (table) => {
      const decoded = decodeIvrs(encodeIvrs(table));
      expect(decoded).toMatchObject(table);
      expect(decoded.odd).toBeUndefined();
    }));
  });
  test("any damaged table gives its own bytes again, or an IvrsError", () => {
    const damage = fc.array(fc.tuple(fc.nat(300), fc.integer({ min: 0, max: 255 })), { maxLength: 12 });
    fc.assert(fc.property(tables, damage, fc.nat(400), fc.uint8Array({ maxLength: 9 }), (table, changes, length, trailing) => {
      const whole = encodeIvrs(table);
      const bytes = new Uint8Array([...whole.subarray(0, length > 300 ? whole.length : length), ...trailing]);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      try {
        expect(encodeIvrs(decodeIvrs(bytes))).toEqual(bytes);
      } catch (error) {
        if (!(error instanceof IvrsError)) throw error;
        expect(bytes.length < 48 || String.fromCharCode(...bytes.subarray(0, 4)) !== "IVRS").toBe(true);
      }
    }));
  });
  test.each([
    ["blocks", [0x10, 0, 32, 0, 2, 0, 0x40, 0, 0, 0, 0xb8, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 8, 0, 0, 4, 0xfe, 0xff, 0]],
    ["memory ranges", [0x21, 1, 32, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0]],
  ])("a large hostile table of %s is read in time linear in its size", (_what, block) => {
    const structures = new Uint8Array(800_000);
    // Every block is of another IOMMU, or for another device.
    for (let at = 0, i = 0; at + 32 <= structures.length; at += 32, i++) structures.set([...block.slice(0, 4), i & 0xff, i >>> 8, ...block.slice(6)], at);
    const table = new Uint8Array([...encodeIvrs({ structures: [{ name: "IVHD", type: 0x10, registerBase: 0xfd00_0000, entries: [{ name: "all" }] }] }), ...structures]);
    new DataView(table.buffer).setUint32(4, table.length, true);
    const start = performance.now();
    expect(decodeIvrs(table).structures).toHaveLength(25_001);
    expect(performance.now() - start).toBeLessThan(10_000);
  });
  test("a table without its oddities has the same contents in good form", () => {
    const bytes = encodeIvrs({ structures: [{ name: "IVMD", type: 0x20, start: 0, size: 4096 }] });
    bytes[9] = (bytes[9] as number) ^ 0xff;
    const { odd, ...table } = decodeIvrs(bytes);
    expect(Object.keys(odd ?? {})).toEqual(["checksum"]);
    const mended = encodeIvrs(table);
    expect(mended[9]).toBe(sdtChecksum(mended));
    expect(decodeIvrs(mended).structures).toEqual(table.structures);
  });
  test("a table whose text is padded with zeros keeps them, unless the text changes", () => {
    const bytes = encodeIvrs({ structures: [], header: { oemId: "A", oemTableId: "B" } });
    bytes.fill(0, 11, 16);
    bytes[9] = sdtChecksum(bytes);
    const table = decodeIvrs(bytes);
    expect(encodeIvrs(table)).toEqual(bytes);
    expect([...encodeIvrs({ ...table, header: { ...table.header, oemId: "C" } }).subarray(10, 16)]).toEqual([0x43, 0x20, 0x20, 0x20, 0x20, 0x20]);
  });
  test.each([["nothing", []], ["another table", [0x41, 0x50, 0x49, 0x43]], ["only a signature", [0x49, 0x56, 0x52, 0x53]]])("%s is refused by name", (_what, bytes) => {
    expect(() => decodeIvrs(Uint8Array.from(bytes))).toThrow(IvrsError);
  });
});

/** What is known to be wrong with tables of the collection; everything else there is in order. */
const MISTAKES: Readonly<Record<string, readonly string[]>> = { "973dcddaae.ivrs": ["device-in-two-units"] };

describe.skipIf(!hasShared())(`firmware tables of real machines${skippedWithoutShared}`, () => {
  test.each(listShared("acpi", ".ivrs"))("%s gives its own bytes again, and its mistakes are named", (file) => {
    const bytes = new Uint8Array(readShared(`acpi/${file}`));
    const table = decodeIvrs(bytes);
    expect(encodeIvrs(table)).toEqual(bytes);
    expect(table.structures.filter((s) => s.name === "raw" && s.type !== 0x51)).toEqual([]);
    expect(table.structures.flatMap((s) => (s.name === "IVHD" ? s.entries.filter(({ name }) => name === "raw") : []))).toEqual([]);
    expect(table.diagnoses.filter(({ severity }) => severity !== "note").map(({ id }) => id)).toEqual(MISTAKES[file] ?? []);
  });
});
