import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FlatMemory, SparseMemory } from "../src/index.ts";
import { ByteModel, expected, operations, perform } from "./byte-model.ts";

const MIB = 2 ** 20;
const SIZE = 4 * MIB + 0x3000; // arbitrary: two whole chunks of 2 MiB and a piece of a third
const BORDERS = [0, 0x1000, 2 * MIB, 4 * MIB, SIZE];

describe("FlatMemory and SparseMemory", () => {
  test("any sequence of accesses of any size and alignment does what a byte array does, dirty pages included", () => {
    fc.assert(
      fc.property(operations(BORDERS, SIZE), (sequence) => {
        const model = new ByteModel((at) => at >= 0 && at < SIZE);
        const flat = new FlatMemory(SIZE);
        const sparse = new SparseMemory({ size: SIZE });
        const trackers = [flat.trackDirty(), sparse.trackDirty()];
        for (const operation of sequence) {
          const want = expected(model, operation);
          expect(perform(flat, operation)).toEqual(want);
          expect(perform(sparse, operation)).toEqual(want);
        }
        const pages = [...model.dirty].sort((a, b) => a - b);
        for (const tracker of trackers) expect(tracker.collect()).toEqual(pages);
      }),
      { numRuns: 60 },
    );
  });

  test("copies inside a memory do what copying through a buffer does, overlapping or past the end", () => {
    const near = fc.tuple(fc.constantFrom(0x1000, 2 * MIB, SIZE), fc.integer({ min: -300, max: 300 })).map(([border, delta]) => border + delta);
    fc.assert(
      fc.property(near, near, fc.integer({ min: 0, max: 500 }), (target, source, length) => {
        const model = new ByteModel((at) => at >= 0 && at < SIZE);
        const memories = [new FlatMemory(SIZE), new SparseMemory({ size: SIZE })];
        const pattern = Uint8Array.from({ length: 600 }, (_, i) => i * 7);
        for (const memory of memories) memory.writeFrom(source - 50, pattern);
        for (const [i, byte] of pattern.entries()) model.write(source - 50 + i, 1, BigInt(byte));
        const moved = model.slice(source, length);
        for (const [i, byte] of moved.entries()) model.write(target + i, 1, BigInt(byte));
        for (const memory of memories) {
          memory.copy(target, source, length);
          const got = new Uint8Array(700);
          memory.readInto(target - 100, got);
          expect([...got]).toEqual(model.slice(target - 100, 700));
        }
      }),
      { numRuns: 60 },
    );
  });

  test("a copy of more than a chunk to an overlapping higher address keeps every byte", () => {
    const flat = new FlatMemory(8 * MIB);
    const sparse = new SparseMemory({ size: 8 * MIB });
    for (let at = 0; at < 5 * MIB; at += 4096) {
      flat.write32(at, at + 1);
      sparse.write32(at, at + 1);
    }
    flat.copy(MIB + 12, 0, 5 * MIB);
    sparse.copy(MIB + 12, 0, 5 * MIB);
    const [a, b] = [new Uint8Array(8 * MIB), new Uint8Array(8 * MIB)];
    flat.readInto(0, a);
    sparse.readInto(0, b);
    expect(Buffer.compare(a, b)).toBe(0);
    expect(flat.read32(MIB + 12 + 4 * MIB)).toBe(4 * MIB + 1);
  });

  test.each([
    ["flat", new FlatMemory(SIZE)],
    ["sparse", new SparseMemory({ size: SIZE })],
  ])("the page view of a %s memory is one object, live both ways", (_name, memory) => {
    const view = memory.page(0x201);
    memory.write32(0x20_1008, 0xdead_beef);
    expect(view?.length).toBe(1024);
    expect(view?.[2]).toBe(0xdead_beef);
    if (view) view[3] = 0x8000_0001;
    expect(memory.read32(0x20_100c)).toBe(0x8000_0001);
    expect(memory.page(0x201)).toBe(view);
    expect(memory.wordsOf(0x201)?.[memory.wordOf(0x201) + 2]).toBe(0xdead_beef);
  });

  test.each([
    ["flat", new FlatMemory(SIZE)],
    ["sparse", new SparseMemory({ size: SIZE })],
  ])("a %s memory has no page where no RAM is", (_name, memory) => {
    memory.page(0);
    memory.write32(0, 1);
    for (const pfn of [SIZE / 4096, -1, 2 ** 20, 2 ** 32, 2 ** 40]) {
      expect(memory.page(pfn)).toBeUndefined();
      expect(memory.wordsOf(pfn)).toBeUndefined();
    }
    for (const at of [-4, 2 ** 32, 2 ** 43, 2 ** 52, 2 ** 52 + 2 ** 32]) expect(memory.read32(at)).toBe(0xffff_ffff);
  });

  test("a flat memory is made of pages and ends at 4 GiB", () => {
    for (const size of [0, -4096, 100, 4097, 2 ** 32 + 4096, 0.5]) expect(() => new FlatMemory(size)).toThrow(/multiple of 4096 bytes and at most 0x1_0000_0000/);
  });
});

describe("SparseMemory", () => {
  test("ranges with holes behave as a byte array with holes, up to the last byte below 2^52", () => {
    const ranges = [
      { start: 0, size: 0xa_0000 },
      { start: 0x10_0000, size: 3 * MIB },
      { start: 2 ** 36, size: 0x5000 },
      { start: 2 ** 52 - 0x2000, size: 0x2000 },
    ];
    const borders = ranges.flatMap(({ start, size }) => [start, start + size]);
    const isRam = (at: number): boolean => ranges.some(({ start, size }) => at >= start && at < start + size);
    fc.assert(
      fc.property(operations(borders, 5 * MIB), (sequence) => {
        const model = new ByteModel(isRam);
        const sparse = new SparseMemory({ ranges });
        const tracker = sparse.trackDirty();
        for (const operation of sequence) expect(perform(sparse, operation)).toEqual(expected(model, operation));
        expect(tracker.collect()).toEqual([...model.dirty].sort((a, b) => a - b));
      }),
      { numRuns: 60 },
    );
  });

  test("reading RAM never written gives zero and makes no chunk", () => {
    const sparse = new SparseMemory({ size: 2 ** 40 });
    expect(sparse.read32(2 ** 39)).toBe(0);
    expect(sparse.wordsOf(2 ** 27)?.[0]).toBe(0);
    sparse.readInto(2 ** 38, new Uint8Array(64));
    expect(sparse.allocated).toBe(0);
  });

  test("a read before and after the first write to a chunk sees the change", () => {
    const sparse = new SparseMemory({ size: 2 ** 40 });
    expect(sparse.read32(2 ** 39)).toBe(0);
    sparse.write32(2 ** 39, 7);
    expect(sparse.read32(2 ** 39)).toBe(7);
    expect(sparse.wordsOf(2 ** 27)?.[sparse.wordOf(2 ** 27)]).toBe(7);
  });

  test("a write that exceeds the budget names the HPA, the budget and what to do", () => {
    const sparse = new SparseMemory({ size: 2 ** 40, budget: 4 * MIB });
    sparse.write8(0, 1);
    sparse.write8(2 ** 37, 1);
    expect(() => {
      sparse.write8(0x12_3456_7890, 1);
    }).toThrow("No room for RAM at HPA 0x12_3456_7890: its 2 MiB chunk would exceed the budget of 0x40_0000 bytes, of which 0x40_0000 are in use. Give SparseMemory a larger `budget`, or write to fewer 2 MiB chunks.");
    expect(sparse.allocated).toBe(4 * MIB);
  });

  test("impossible ranges are refused", () => {
    expect(() => new SparseMemory({})).toThrow(/`size` or `ranges`/);
    expect(() => new SparseMemory({ ranges: [{ start: 1, size: 4096 }] })).toThrow(/multiples of 4096/);
    expect(() => new SparseMemory({ size: 2 ** 52 + 4096 })).toThrow(/0x10_0000_0000_0000/);
    expect(() => new SparseMemory({ ranges: [{ start: 0, size: 8192 }, { start: 4096, size: 4096 }] })).toThrow("RAM at HPA 0x1000 overlaps the RAM that ends at HPA 0x2000");
  });
});
