import { describe, expect, test } from "vitest";
import { FlatMemory, SparseMemory } from "../src/index.ts";

describe.each([
  ["FlatMemory", () => new FlatMemory(0x10_0000)],
  ["SparseMemory", () => new SparseMemory({ size: 2 ** 45 })],
])("dirty tracking of %s", (_name, make) => {
  test("each consumer has its own record, from when it was opened", () => {
    const memory = make();
    const first = memory.trackDirty();
    memory.write8(0x1000, 1);
    const second = memory.trackDirty();
    memory.write16(0x2fff, 1);
    expect(first.collect()).toEqual([1, 2, 3]);
    expect(first.collect()).toEqual([]);
    expect(second.isDirty(2)).toBe(true);
    expect(second.isDirty(1)).toBe(false);
    expect(second.collect()).toEqual([2, 3]);
  });

  test("another write to the same page marks it again after a collection and for a tracker opened since", () => {
    const memory = make();
    const first = memory.trackDirty();
    memory.write8(0x1000, 1);
    const second = memory.trackDirty();
    memory.write8(0x1001, 1);
    expect(second.collect()).toEqual([1]);
    memory.write8(0x1002, 1);
    expect(second.collect()).toEqual([1]);
    expect(first.collect()).toEqual([1]);
  });

  test("every write marks, bulk writes and copies included; writes through a page do not", () => {
    const memory = make();
    const tracker = memory.trackDirty();
    memory.write32(0x1ffe, 1);
    memory.write64(0x4ffc, 1, 2);
    memory.writeFrom(0x7ff0, new Uint8Array(0x1020));
    memory.copy(0xa000, 0, 1);
    const page = memory.page(0xc);
    if (page) page[0] = 1;
    expect(tracker.collect()).toEqual([1, 2, 4, 5, 7, 8, 9, 0xa]);
    memory.markDirty(0xc);
    expect(tracker.collect()).toEqual([0xc]);
  });

  test("an empty write and a mark outside RAM mark nothing", () => {
    const memory = make();
    const tracker = memory.trackDirty();
    memory.writeFrom(0x1000, new Uint8Array(0));
    memory.copy(0x1000, 0, 0);
    memory.markDirty(2 ** 39);
    expect(tracker.collect()).toEqual([]);
  });

  test("a closed tracker refuses, the others go on", () => {
    const memory = make();
    const [first, second] = [memory.trackDirty(), memory.trackDirty()];
    first.close();
    first.close();
    memory.write8(0, 1);
    expect(() => first.collect()).toThrow("collect() on a closed dirty tracker; open another with trackDirty().");
    expect(second.collect()).toEqual([0]);
    second.close();
    memory.write8(0, 1);
    expect(memory.trackDirty().collect()).toEqual([]);
  });
});

describe("dirty tracking above 64 GiB", () => {
  test("pages are collected in ascending order", () => {
    const memory = new SparseMemory({ size: 2 ** 45 });
    const tracker = memory.trackDirty();
    for (const at of [2 ** 44, 0x3000, 2 ** 37, 2 ** 36 - 1]) memory.write8(at, 1);
    expect(tracker.isDirty(2 ** 32)).toBe(true);
    expect(tracker.collect()).toEqual([3, 2 ** 24 - 1, 2 ** 25, 2 ** 32]);
  });
});
