import { SparseMemory, type MmioHandler } from "@iommu-lab/memory";
import { describe, expect, test } from "vitest";
import { EventClock } from "../../src/engines/index.ts";
import { AMD_QUEUE, tapQueue, VTD_QUEUE, type QueueKind, type QueueRule } from "../../src/faults/index.ts";

const QUEUE = 0x10_0000;

interface Made {
  readonly memory: SparseMemory;
  readonly clock: EventClock;
  readonly tapped: MmioHandler;
  /** Registers behind the tap, by offset. */
  readonly words: Map<number, number>;
  /** Tails that arrived behind the tap. */
  readonly tails: number[];
  readonly write: (offset: number, value: number) => void;
  /** Puts an entry of this first word into the queue, which is on. */
  readonly entry: (index: number, first: number) => void;
}

const setUp = (kind: QueueKind, rule: QueueRule, { on = true, low = QUEUE, high = 0 } = {}): Made => {
  const memory = new SparseMemory({ size: 2 ** 24 });
  const clock = new EventClock();
  const words = new Map<number, number>([[kind.base, low], [kind.base + 4, high], [kind.running.at, on ? 1 << kind.running.bit : 0]]);
  const tails: number[] = [];
  const read = (offset: number): number => (words.get(offset) ?? 0) >>> 0;
  const write = (offset: number, value: number): void => {
    words.set(offset, value);
    if (offset === kind.tail) tails.push(value);
    if (offset === kind.enable.at) words.set(kind.running.at, ((value >>> kind.enable.bit) & 1) << kind.running.bit);
  };
  const handler: MmioHandler = { read, write: (offset, _size, value) => { write(offset, value); }, read64: (offset, into) => { into.set([read(offset), read(offset + 4)]); }, write64: (offset, value, upper) => { write(offset, value); write(offset + 4, upper); } };
  const tapped = tapQueue(handler, memory, clock, kind, rule);
  const step = kind.entry(low, high);
  return { memory, clock, tapped, words, tails, write: (offset, value) => { tapped.write(offset, 4, value); }, entry: (index, first) => { memory.write32(QUEUE + step * index, first); } };
};

/** Notes the first words of what passes. */
const noting = (): { readonly seen: number[]; readonly rule: QueueRule } => {
  const seen: number[] = [];
  return { seen, rule: { replace: ([first]) => { seen.push(first); return undefined; } } };
};

const KINDS: readonly (readonly [string, QueueKind, number, { readonly low: number; readonly high: number }])[] = [
  ["VT-d, 16 bytes", VTD_QUEUE, 16, { low: QUEUE, high: 0 }],
  ["VT-d, 32 bytes", VTD_QUEUE, 32, { low: QUEUE | 0x800, high: 0 }],
  ["AMD", AMD_QUEUE, 16, { low: QUEUE, high: 8 << 24 }],
];

describe.each(KINDS)("entries of %s", (_name, kind, step, base) => {
  test("pass once each, in order and around the end", () => {
    const { seen, rule } = noting();
    const { entry, write, tails, words } = setUp(kind, rule, base);
    const count = 4096 / step;
    for (let i = 0; i < count; i++) entry(i, i);
    write(kind.tail, 3 * step);
    write(kind.tail, 3 * step);
    write(kind.tail, (count - 1) * step);
    words.set(kind.head, (count - 1) * step);
    write(kind.tail, step);
    expect(seen).toEqual([...Array.from({ length: count }, (_, i) => i), 0]);
    expect(tails).toHaveLength(4);
  });

  test("are replaced in memory before the tail arrives", () => {
    const made = setUp(kind, { replace: ([first]) => (first === 7 ? [1, 2, 3, 4] : undefined) }, base);
    made.entry(0, 6);
    made.entry(1, 7);
    made.tapped.write64(kind.tail, 2 * step, 0);
    expect([0, 4, 8, 12].map((at) => made.memory.read32(QUEUE + step + at))).toEqual([1, 2, 3, 4]);
    expect([made.memory.read32(QUEUE), made.tails]).toEqual([6, [2 * step]]);
  });

  test("that wait in a queue that is off pass when it is switched on", () => {
    const { seen, rule } = noting();
    const { entry, write } = setUp(kind, rule, { ...base, on: false });
    entry(0, 5);
    write(kind.tail, step);
    write(kind.enable.at, 0);
    expect(seen).toEqual([]);
    write(kind.enable.at, 2 ** kind.enable.bit);
    expect(seen).toEqual([5]);
    write(kind.enable.at, 2 ** kind.enable.bit);
    expect(seen).toEqual([5]);
  });

  test("of an older queue do not pass when a new one begins", () => {
    const { seen, rule } = noting();
    const { entry, write, words } = setUp(kind, rule, base);
    for (let i = 0; i < 4; i++) entry(i, i + 1);
    write(kind.tail, 4 * step);
    words.set(kind.head, 4 * step);
    write(kind.enable.at, 0);
    words.set(kind.head, 0);
    write(kind.tail, 0);
    write(kind.base, base.low);
    write(kind.enable.at, 2 ** kind.enable.bit);
    write(kind.tail, step);
    expect(seen).toEqual([1, 2, 3, 4, 1]);
  });

  test("of an older queue do not pass when the same one begins anew, at its old place", () => {
    const { seen, rule } = noting();
    const { entry, write, words } = setUp(kind, rule, base);
    for (let i = 0; i < 4; i++) entry(i, i + 1);
    write(kind.tail, 4 * step);
    write(kind.enable.at, 0);
    words.set(kind.head, 0);
    write(kind.tail, 2 * step);
    write(kind.enable.at, 2 ** kind.enable.bit);
    expect(seen).toEqual([1, 2, 3, 4, 1, 2]);
  });

  test("of a new queue pass although as many of an older one did", () => {
    const { seen, rule } = noting();
    const { entry, write } = setUp(kind, rule, base);
    for (let i = 0; i < 3; i++) entry(i, i + 1);
    write(kind.tail, 2 * step);
    write(kind.enable.at, 0);
    write(kind.base, base.low);
    write(kind.tail, 3 * step);
    write(kind.enable.at, 2 ** kind.enable.bit);
    expect(seen).toEqual([1, 2, 1, 2, 3]);
  });

  test.each([["past the end", 4096], ["between two entries", step / 2]])("a tail %s is left to the hardware", (_what, tail) => {
    const { seen, rule } = noting();
    const { write, tails } = setUp(kind, rule, base);
    write(kind.tail, tail);
    expect([tails, seen]).toEqual([[tail], []]);
  });
});

describe("tails that are late", () => {
  const late = (delays: number[]): Made => setUp(VTD_QUEUE, { delay: () => delays.shift() ?? 0 });

  test("arrive by the clock", () => {
    const { write, tails, clock } = late([100]);
    write(VTD_QUEUE.tail, 16);
    clock.advance(99);
    expect(tails).toEqual([]);
    clock.advance(1);
    expect(tails).toEqual([16]);
  });

  test("are never overtaken: a later one arrives in their place", () => {
    const { write, tails, clock } = late([100, 0]);
    write(VTD_QUEUE.tail, 16);
    write(VTD_QUEUE.tail, 32);
    expect(tails).toEqual([]);
    clock.advance(100);
    expect(tails).toEqual([32]);
    write(VTD_QUEUE.tail, 48);
    expect(tails).toEqual([32, 48]);
  });

  test("do not arrive in a queue that was switched off meanwhile", () => {
    const { write, tails, clock } = late([100]);
    write(VTD_QUEUE.tail, 16);
    write(VTD_QUEUE.enable.at, 0);
    clock.advance(100);
    expect(tails).toEqual([]);
  });
});

describe("what an entry is", () => {
  test.each([[1, true], [2, true], [3, false], [4, true], [5, false], [6, true], [7, true], [8, false], [9, false], [0x200 | 1, false]])("VT-d type 0x%x forgets something: %s", (first, expected) => {
    expect(VTD_QUEUE.isInvalidation([first, 0, 0, 0])).toBe(expected);
  });

  test.each([[1, false], [2, true], [3, true], [4, false], [5, true], [6, false], [7, false], [8, true]])("AMD opcode %i forgets something: %s", (code, expected) => {
    expect(AMD_QUEUE.isInvalidation([0, (code << 28) >>> 0, 0, 0])).toBe(expected);
  });

  test("lengths", () => {
    expect([VTD_QUEUE.size(QUEUE, 0), VTD_QUEUE.size(QUEUE | 7, 0), AMD_QUEUE.size(0, 8 << 24), AMD_QUEUE.size(0, 15 << 24)]).toEqual([4096, 2 ** 19, 4096, 2 ** 19]);
  });
});
