import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FrameAllocator, FrameState } from "../src/index.ts";

describe("FrameAllocator", () => {
  test("any sequence of allocations and frees gives aligned, disjoint blocks, fails only when no block is left, and joins everything again", () => {
    const step = fc.record({ order: fc.integer({ min: 0, max: 4 }), free: fc.boolean(), pick: fc.nat() });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 1, max: 100 }), fc.array(step, { maxLength: 80 }), (start, count, steps) => {
        const frames = new FrameAllocator({ start, count, maxOrder: 4 });
        const initial = frames.freeBlocks();
        const blocks: { pfn: number; order: number }[] = [];
        const taken = new Set<number>();
        for (const { order, free, pick } of steps) {
          if (free && blocks.length > 0) {
            const [block] = blocks.splice(pick % blocks.length, 1) as [{ pfn: number; order: number }];
            frames.free(block.pfn);
            for (let i = 0; i < 2 ** block.order; i++) taken.delete(block.pfn + i);
          } else {
            const pfn = frames.allocate(order);
            const size = 2 ** order;
            const fits = (at: number): boolean => Array.from({ length: size }, (_, i) => at + i).every((page) => page >= start && page < start + count && !taken.has(page));
            if (pfn < 0) {
              for (let at = Math.ceil(start / size) * size; at < start + count; at += size) expect(fits(at)).toBe(false);
            } else {
              expect(pfn % size).toBe(0);
              expect(fits(pfn)).toBe(true);
              for (let i = 0; i < size; i++) taken.add(pfn + i);
              blocks.push({ pfn, order });
            }
          }
          frames.check();
          expect(frames.counts().used).toBe(taken.size);
        }
        for (const { pfn } of blocks) frames.free(pfn);
        expect(frames.freeBlocks()).toEqual(initial);
      }),
      { numRuns: 150 },
    );
  });

  test("any sequence of transitions keeps the states adding up and changes nothing when refused", () => {
    const verbs = ["allocate", "free", "share", "unshare", "pin", "unpin", "balloon", "deflate"] as const;
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...verbs), fc.integer({ min: 8, max: 11 })), { maxLength: 60 }), (steps) => {
        const frames = new FrameAllocator({ start: 8, count: 4, maxOrder: 2 });
        const model = new Map<number, { owners: number; pins: number; ballooned: boolean }>();
        for (const [verb, page] of steps) {
          if (verb === "allocate") {
            const pfn = frames.allocate(0);
            expect(pfn >= 0).toBe(model.size < 4);
            if (pfn >= 0) model.set(pfn, { owners: 1, pins: 0, ballooned: false });
          } else {
            const frame = model.get(page);
            const live = frame !== undefined && !frame.ballooned;
            const plain = live && frame.owners === 1 && frame.pins === 0;
            const allowed = { free: plain, share: live, unshare: live && frame.owners > 1, pin: live, unpin: live && frame.pins > 0, balloon: plain, deflate: frame?.ballooned === true }[verb];
            const act = (): void => {
              frames[verb](page);
            };
            if (allowed && frame) {
              act();
              if (verb === "free") model.delete(page);
              if (verb === "share") frame.owners++;
              if (verb === "unshare") frame.owners--;
              if (verb === "pin") frame.pins++;
              if (verb === "unpin") frame.pins--;
              if (verb === "balloon") frame.ballooned = true;
              if (verb === "deflate") frame.ballooned = false;
            } else expect(act).toThrow(RangeError);
          }
          frames.check();
          for (let pfn = 8; pfn < 12; pfn++) {
            const frame = model.get(pfn);
            const want = frame === undefined ? FrameState.Free : frame.ballooned ? FrameState.Ballooned : frame.pins > 0 ? FrameState.Pinned : frame.owners > 1 ? FrameState.Shared : FrameState.Used;
            expect(frames.stateOf(pfn)).toBe(want);
            expect([frames.ownersOf(pfn), frames.pinsOf(pfn)]).toEqual([frame?.owners ?? 0, frame?.pins ?? 0]);
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  test("fragmentation makes large orders fail while most memory is free, the same way for the same seed", () => {
    const make = (): FrameAllocator => new FrameAllocator({ start: 0x10_0000, count: 4096 });
    const [a, b] = [make(), make()];
    const pinned = a.fragment(1 / 8, 42);
    expect(b.fragment(1 / 8, 42)).toEqual(pinned);
    expect(make().fragment(1 / 8, 43)).not.toEqual(pinned);
    expect(pinned).toHaveLength(512);
    expect(a.counts()).toMatchObject({ free: 3584, pinned: 512, total: 4096 });
    expect(a.allocate(9)).toBe(-1);
    expect(a.allocate(0)).toBeGreaterThan(0);
    a.check();
    for (const pfn of pinned) {
      b.unpin(pfn);
      b.free(pfn);
    }
    expect(b.freeBlocks()).toEqual(make().freeBlocks());
  });

  test("low addresses are handed out first, and an order-9 block can back a 2 MiB page", () => {
    const frames = new FrameAllocator({ start: 1, count: 2047 });
    expect(frames.allocate()).toBe(1);
    expect(frames.allocate(9)).toBe(512);
    expect(frames.freeBlocks()).toHaveLength(11);
  });

  test("refusals say what the page is", () => {
    const frames = new FrameAllocator({ start: 0x100, count: 16, maxOrder: 2 });
    const pfn = frames.allocate(1);
    frames.pin(pfn + 1);
    const refusal = (action: () => void): string => {
      try {
        action();
      } catch (error) {
        return String(error);
      }
      return "nothing thrown";
    };
    expect(refusal(() => { frames.free(pfn); })).toBe("RangeError: Page 0x100 (order 1) cannot be freed: page 0x101 of it is pinned, and only used frames with one owner can be.");
    expect(refusal(() => { frames.free(0x104); })).toBe("RangeError: Page 0x104 cannot be freed: it is free.");
    expect(refusal(() => { frames.free(0x101); })).toBe("RangeError: Page 0x101 cannot be freed: it is pinned but not the first frame of an allocated block.");
    expect(refusal(() => { frames.pin(0x200); })).toBe("RangeError: Page 0x200 is not of this allocator; it has pages 0x100 to 0x10f.");
    expect(refusal(() => { frames.allocate(3); })).toBe("RangeError: Order 3 is impossible; this allocator has 0 to 2.");
    expect(refusal(() => new FrameAllocator({ start: 0, count: 0 }))).toContain("there are 1 to 2^30");
  });
});
