import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { newDmaCounters } from "../../src/dma/dma-counters.ts";
import { IovaAllocator, MSI_WINDOW } from "../../src/dma/index.ts";
import { IovaSpace } from "../../src/dma/iova-space.ts";

const PAGE = 4096;
const make = (options: Partial<ConstructorParameters<typeof IovaAllocator>[0]> = {}) => {
  const counters = newDmaCounters();
  return { counters, allocator: new IovaAllocator({ granule: PAGE, addressWidth: 48, counters, ...options }) };
};

describe("IOVA space", () => {
  test("the first range is the highest below the limit, the next just below it", () => {
    const space = new IovaSpace(PAGE, 1, 2 ** 36);
    expect([space.allocate(1, 2 ** 20), space.allocate(1, 2 ** 20)]).toEqual([2 ** 20 - 1, 2 ** 20 - 2]);
  });
  test("a range starts at a multiple of its size rounded up to a power of two", () => {
    const space = new IovaSpace(PAGE, 1, 2 ** 36);
    space.allocate(1, 2 ** 20);
    expect(space.allocate(5, 2 ** 20)).toBe(2 ** 20 - 8);
  });
  test("what is freed is found again from the hint", () => {
    const space = new IovaSpace(PAGE, 1, 2 ** 36);
    const first = space.allocate(1, 2 ** 20);
    space.allocate(1, 2 ** 20);
    space.free(first);
    const before = space.probes;
    expect([space.allocate(1, 2 ** 20), space.probes - before]).toEqual([first, 1]);
  });
  test("when nothing is below the hint, the space above it is searched", () => {
    const space = new IovaSpace(PAGE, 1, 9);
    const pages = Array.from({ length: 8 }, () => space.allocate(1, 9));
    expect(pages).toEqual([8, 7, 6, 5, 4, 3, 2, 1]);
    expect(space.allocate(1, 9)).toBe(0);
    space.free(2);
    space.allocate(1, 9);
    space.free(7);
    expect(space.allocate(1, 9)).toBe(7);
  });
  test("a failed search below 4 GiB is not repeated until something is freed there", () => {
    const granule = 2 ** 30;
    const space = new IovaSpace(granule, 1, 4);
    for (let each = 0; each < 3; each++) space.allocate(1, 4);
    expect(space.allocate(1, 4)).toBe(0);
    const before = space.probes;
    expect([space.allocate(1, 4), space.probes - before]).toEqual([0, 0]);
    space.free(2);
    expect(space.allocate(1, 4)).toBe(2);
  });
  test("what nobody allocated cannot be freed", () => {
    const space = new IovaSpace(PAGE, 1, 64);
    space.reserve(4, 7);
    expect(() => { space.free(4); }).toThrow(RangeError);
    expect(() => { space.free(9); }).toThrow(RangeError);
  });
  test("reserved ranges may overlap; allocated pages cannot be reserved any more", () => {
    const space = new IovaSpace(PAGE, 1, 16);
    space.reserve(3, 6);
    space.reserve(5, 9);
    space.reserve(2, 2);
    const got = [];
    for (let page = space.allocate(1, 16); page; page = space.allocate(1, 16)) got.push(page);
    expect(got.sort((a, b) => a - b)).toEqual([1, 10, 11, 12, 13, 14, 15]);
    expect(() => { space.reserve(12, 12); }).toThrow(/allocated already/);
  });
  test("it finds room exactly when there is an aligned gap, whatever was allocated and freed before", () => {
    const step = fc.oneof(fc.record({ size: fc.integer({ min: 1, max: 9 }), limit: fc.integer({ min: 2, max: 48 }) }), fc.record({ free: fc.nat(20) }));
    fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const space = new IovaSpace(PAGE, 1, 40);
      space.reserve(20, 22);
      const taken = new Array<boolean>(40).fill(false).fill(true, 0, 1).fill(true, 20, 23);
      const live: { first: number; size: number }[] = [];
      for (const each of steps) {
        if ("free" in each) {
          const [gone] = live.splice(each.free, 1);
          if (gone) {
            space.free(gone.first);
            taken.fill(false, gone.first, gone.first + gone.size);
          }
          continue;
        }
        const { size, limit } = each;
        const align = 2 ** Math.ceil(Math.log2(size));
        const fits = (first: number) => first + size <= Math.min(limit, 40) && !taken.slice(first, first + size).includes(true);
        const possible = Array.from({ length: 40 }, (_, page) => page).some((page) => page % align === 0 && fits(page));
        const first = space.allocate(size, limit);
        expect(first !== 0).toBe(possible);
        if (!first) continue;
        expect(first % align === 0 && fits(first)).toBe(true);
        taken.fill(true, first, first + size);
        live.push({ first, size });
      }
      expect(space.allocatedPages).toBe(live.reduce((sum, { size }) => sum + size, 0));
    }));
  });
});

describe("IOVA allocator", () => {
  test("a 64-bit device gets addresses below 4 GiB first, above once these are gone", () => {
    const { allocator } = make({ granule: 2 ** 30, addressWidth: 34, reserved: [] });
    const got = Array.from({ length: 5 }, () => allocator.allocate(2 ** 30, 2 ** 52) / 2 ** 30);
    expect(got).toEqual([3, 2, 1, 15, 14]);
  });
  test("after one failure below 4 GiB it asks there no more", () => {
    const { allocator } = make({ granule: 2 ** 30, addressWidth: 34, reserved: [] });
    const got = Array.from({ length: 4 }, () => allocator.allocate(2 ** 30, 2 ** 52));
    allocator.free(got[0] as number, 2 ** 30);
    // Too large for anything, so that the caches are emptied into the space.
    expect(allocator.allocate(16 * 2 ** 30, 2 ** 52)).toBe(0);
    expect(allocator.allocate(2 ** 30, 2 ** 52)).toBe(14 * 2 ** 30);
  });
  test("a device's mask is a limit", () => {
    expect(make().allocator.allocate(PAGE, 2 ** 24)).toBe(2 ** 24 - PAGE);
  });
  test("the MSI window is never given out", () => {
    const { allocator } = make({ granule: 2 ** 20, addressWidth: 32 });
    const got = new Set<number>();
    for (let at = allocator.allocate(2 ** 20, 2 ** 32); at; at = allocator.allocate(2 ** 20, 2 ** 32)) got.add(at);
    expect([got.size, got.has(MSI_WINDOW.start)]).toEqual([4094, false]);
  });
  test("sizes up to 32 pages come from a cache the second time", () => {
    const { allocator, counters } = make();
    const first = allocator.allocate(3 * PAGE, 2 ** 32);
    allocator.free(first, 3 * PAGE);
    const { iovaProbes } = counters;
    expect([allocator.allocate(4 * PAGE, 2 ** 32), counters.iovaCacheHits, counters.iovaProbes]).toEqual([first, 1, iovaProbes]);
  });
  test("larger sizes are searched for each time", () => {
    const { allocator, counters } = make();
    allocator.free(allocator.allocate(64 * PAGE, 2 ** 32), 64 * PAGE);
    allocator.allocate(64 * PAGE, 2 ** 32);
    expect([counters.iovaCacheHits, counters.iovaCacheMisses, counters.iovaProbes]).toEqual([0, 0, 2]);
  });
  test("a cached range above a device's mask is not given to it", () => {
    const { allocator } = make();
    allocator.free(allocator.allocate(PAGE, 2 ** 32), PAGE);
    expect(allocator.allocate(PAGE, 2 ** 24)).toBe(2 ** 24 - PAGE);
  });
  test("before giving up it empties the caches", () => {
    const { allocator } = make({ granule: 2 ** 28, addressWidth: 32, reserved: [] });
    const all = Array.from({ length: 15 }, () => allocator.allocate(2 ** 28, 2 ** 32));
    for (const each of all) allocator.free(each, 2 ** 28);
    expect(allocator.allocate(8 * 2 ** 28, 2 ** 32)).toBe(8 * 2 ** 28);
  });
  test("two processors do not share what they just freed", () => {
    const { allocator, counters } = make({ processors: 2 });
    allocator.free(allocator.allocate(PAGE, 2 ** 32, 0), PAGE, 0);
    allocator.allocate(PAGE, 2 ** 32, 1);
    expect(counters.iovaCacheHits).toBe(0);
    allocator.allocate(PAGE, 2 ** 32, 0);
    expect(counters.iovaCacheHits).toBe(1);
  });
  test("magazines past the depot's 32 go back to the space", () => {
    const { allocator } = make();
    const many = 127 * 36;
    const all = Array.from({ length: many }, () => allocator.allocate(PAGE, 2 ** 32));
    expect(new Set(all).size).toBe(many);
    for (const each of all) allocator.free(each, PAGE);
    expect(allocator.allocatedBytes).toBeLessThan(many * PAGE);
    expect(new Set(Array.from({ length: many }, () => allocator.allocate(PAGE, 2 ** 32))).size).toBe(many);
  });
  test.each([{ granule: 3000 }, { addressWidth: 31 }, { addressWidth: 57 }])("%o is refused", (options) => {
    expect(() => make(options)).toThrow(RangeError);
  });
  test("live ranges never overlap each other or what is reserved, whatever the history", () => {
    const step = fc.record({ pages: fc.integer({ min: 1, max: 70 }), bits: fc.constantFrom(26, 32, 48), free: fc.option(fc.nat(30)), processor: fc.nat(1) });
    fc.assert(fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const { allocator } = make({ processors: 2 });
      const live: { first: number; last: number; size: number }[] = [];
      for (const { pages, bits, free, processor } of steps) {
        const [gone] = free === null ? [] : live.splice(free, 1);
        if (gone) allocator.free(gone.first, gone.size, processor);
        const size = pages * PAGE;
        const first = allocator.allocate(size, 2 ** bits, processor);
        const last = first + size - 1;
        expect(first > 0 && last < 2 ** bits && (last < 0xfee0_0000 || first > 0xfeef_ffff)).toBe(true);
        expect(live.some((other) => other.first <= last && first <= other.last)).toBe(false);
        live.push({ first, last, size });
      }
    }));
  });
});
