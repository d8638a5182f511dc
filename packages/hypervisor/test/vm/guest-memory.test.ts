import { FrameAllocator, FrameState, PAGE_SIZE, SparseMemory } from "@iommu-lab/memory";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PageRight } from "../../src/mmu/processor-tables.ts";
import { GuestMemory } from "../../src/vm/index.ts";

const RAM = 2 ** 24;
const PAGES = 8;

const make = (pages = PAGES): { guest: GuestMemory; memory: SparseMemory; frames: FrameAllocator } => {
  const memory = new SparseMemory({ ranges: [{ start: 0, size: RAM }] });
  const frames = new FrameAllocator({ start: 16, count: RAM / PAGE_SIZE - 16 });
  // Frames that are not neighbours.
  frames.fragment(0.5, 7);
  return { guest: new GuestMemory({ memory, frames, size: pages * PAGE_SIZE }), memory, frames };
};

const operation = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant("move" as const), page: fc.nat(PAGES) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("pin" as const), page: fc.nat(PAGES - 1), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("unpin" as const), which: fc.nat(20) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("write" as const), at: fc.nat(PAGES * PAGE_SIZE + 8), bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }) }) },
);

describe("guest memory", () => {
  test("moves, pins and writes in any order leave the guest its bytes, the tables right and every frame accounted for", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 40 }), (history) => {
        const { guest, frames } = make();
        const before = frames.counts().used;
        const content = new Uint8Array(PAGES * PAGE_SIZE);
        const pins = Array.from({ length: PAGES }, () => 0);
        const held: { runs: NonNullable<ReturnType<GuestMemory["pin"]>>; page: number; count: number }[] = [];
        for (const each of history) {
          if (each.do === "write") {
            guest.writeFrom(each.at, each.bytes);
            content.set(each.bytes.subarray(0, Math.max(0, content.length - each.at)), Math.min(each.at, content.length));
          } else if (each.do === "pin") {
            const runs = guest.pin(each.page * PAGE_SIZE, each.count);
            expect(runs === undefined).toBe(each.page + each.count > PAGES);
            if (runs) {
              expect(runs.flatMap(({ hpa, pages }) => Array.from({ length: pages }, (_, i) => hpa + i * PAGE_SIZE))).toEqual(Array.from({ length: each.count }, (_, i) => guest.hpaOf((each.page + i) * PAGE_SIZE)));
              for (let i = 0; i < each.count; i++) pins[each.page + i]!++;
              held.push({ runs, page: each.page, count: each.count });
            }
          } else if (each.do === "unpin") {
            const [one] = held.splice(each.which % (held.length || 1), 1);
            if (one) guest.unpin(one.runs);
            for (let i = 0; one && i < one.count; i++) pins[one.page + i]!--;
          } else if (each.page >= PAGES || pins[each.page]! > 0) {
            const old = guest.hostPage(each.page);
            expect(() => guest.move(each.page)).toThrow(RangeError);
            expect(guest.hostPage(each.page)).toBe(old);
          } else {
            const old = guest.hpaOf(each.page * PAGE_SIZE);
            const next = guest.move(each.page);
            expect(next).not.toBe(old);
            expect([guest.hpaOf(each.page * PAGE_SIZE), frames.stateOf(old / PAGE_SIZE)]).toEqual([next, FrameState.Free]);
          }
          frames.check();
          for (let page = 0; page < PAGES; page++) {
            expect(guest.tables.walk(page * PAGE_SIZE, PageRight.Write).hpa).toBe(guest.hpaOf(page * PAGE_SIZE));
            expect(frames.pinsOf(guest.hostPage(page)!)).toBe(pins[page]);
          }
        }
        const seen = new Uint8Array(content.length);
        guest.readInto(0, seen);
        expect(seen).toEqual(content);
        expect(new Set(Array.from({ length: PAGES }, (_, page) => guest.hostPage(page))).size).toBe(PAGES);
        for (const { runs } of held) guest.unpin(runs);
        expect(frames.counts().used).toBe(before);
        guest.release();
        expect(frames.counts().used).toBe(before - PAGES);
        frames.check();
      }),
      { numRuns: 60 },
    );
  });

  test("a move that is refused keeps no frame", () => {
    const { guest, frames } = make();
    guest.pin(0, 1);
    const free = frames.counts().free;
    expect(() => guest.move(0)).toThrow(/pinned/);
    expect(frames.counts().free).toBe(free);
  });

  test("a host without enough frames makes no guest, and has its frames back", () => {
    const memory = new SparseMemory({ ranges: [{ start: 0, size: RAM }] });
    const frames = new FrameAllocator({ start: 16, count: 12 });
    expect(() => new GuestMemory({ memory, frames, size: 64 * PAGE_SIZE })).toThrow(/no frame left for the guest/);
    expect(frames.counts().used).toBeLessThanOrEqual(4);
    frames.check();
  });

  test("past its end reads give ones, writes go nowhere, and there is no address", () => {
    const { guest } = make(1);
    const end = PAGE_SIZE;
    guest.write32(end - 2, 0x1234_5678);
    expect([guest.read16(end - 2), guest.read32(end - 2), guest.read32(end), guest.read8(end)]).toEqual([0x5678, 0xffff_5678, 0xffff_ffff, 0xff]);
    expect(() => guest.hpaOf(end)).toThrow(/past the guest's memory of 0x1000/);
    expect([guest.hostPage(1), guest.wordsOf(1), guest.pin(end, 1), guest.pin(0x800, 1), guest.pin(-PAGE_SIZE, 1)]).toEqual([undefined, undefined, undefined, undefined, undefined]);
  });

  test("every width of access is the same memory, at any alignment and across pages", () => {
    fc.assert(
      fc.property(fc.integer({ min: PAGE_SIZE - 8, max: PAGE_SIZE + 8 }), fc.integer({ min: 0, max: 0xffff_ffff }), fc.integer({ min: 0, max: 0xffff_ffff }), (at, low, high) => {
        const { guest } = make(2);
        const pair = new Uint32Array(2);
        guest.write64(at, low, high);
        guest.read64(at, pair);
        const bytes = new Uint8Array(8);
        guest.readInto(at, bytes);
        const view = new DataView(bytes.buffer);
        expect([...pair, view.getUint32(0, true), view.getUint32(4, true), guest.read32(at), guest.read16(at), guest.read8(at)]).toEqual([low, high, low, high, low, low & 0xffff, low & 0xff]);
        guest.write16(at, 0xabcd);
        expect(guest.read32(at)).toBe(((low & 0xffff_0000) | 0xabcd) >>> 0);
      }),
      { numRuns: 50 },
    );
  });

  test("the words of a page are those that readers of tables see", () => {
    const { guest } = make(2);
    guest.write32(PAGE_SIZE + 8, 0xcafe);
    expect(guest.wordsOf(1)?.[guest.wordOf(1) + 2]).toBe(0xcafe);
  });
});
