import type { CachePolicy } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { descriptor, posted, remapBench, remapped, type RemapBench } from "./remap-bench.ts";

const vectorSeen = (bench: RemapBench, index: number): number => {
  bench.delivered.length = 0;
  const { fault } = bench.request(index);
  return fault === 0 ? (bench.delivered[0]?.vector ?? -1) : -fault;
};

describe("the interrupt entry cache (VT-d §6.2, §6.5.2.7)", () => {
  test.each([
    { caches: "none", stale: false },
    { caches: "realistic", stale: true },
    { caches: "adversarial", stale: true },
  ] as const)("$caches: a changed entry goes on as it was until it is invalidated: $stale", ({ caches, stale }) => {
    const bench = remapBench({ caches });
    bench.writeEntry(3, remapped({ V: 0x41 }));
    vectorSeen(bench, 3);
    bench.writeEntry(3, remapped({ V: 0x42 }));
    expect(vectorSeen(bench, 3)).toBe(stale ? 0x41 : 0x42);
    bench.writeEntry(3, new Uint32Array(4));
    expect(vectorSeen(bench, 3)).toBe(stale ? 0x41 : -0x22);
    bench.remapper.invalidateIndex(3, 0);
    expect(vectorSeen(bench, 3)).toBe(-0x22);
  });

  test.each([
    { caches: "realistic", cachingMode: false, stale: false },
    { caches: "realistic", cachingMode: true, stale: true },
    { caches: "adversarial", cachingMode: false, stale: false },
    { caches: "adversarial", cachingMode: true, stale: true },
    { caches: "none", cachingMode: true, stale: false },
  ] as const)("$caches, CM=$cachingMode: an entry that was not present stays so: $stale", ({ caches, cachingMode, stale }) => {
    const bench = remapBench({ caches, cachingMode });
    expect(vectorSeen(bench, 3)).toBe(-0x22);
    bench.writeEntry(3, remapped());
    expect(vectorSeen(bench, 3)).toBe(stale ? -0x22 : 0x41);
    bench.remapper.invalidateAll();
    expect(vectorSeen(bench, 3)).toBe(0x41);
  });

  test("a cached entry that is not present keeps its FPD", () => {
    const bench = remapBench({ caches: "adversarial", cachingMode: true });
    bench.writeEntry(3, remapped({ P: 0, FPD: 1 }));
    expect(bench.request(3).recorded).toBe(false);
    bench.writeEntry(3, remapped({ P: 0 }));
    expect(bench.request(3).recorded).toBe(false);
  });

  test.each([false, true])("an entry with reserved bits is never kept, CM=%s", (cachingMode) => {
    const bench = remapBench({ caches: "adversarial", cachingMode });
    bench.writeEntry(3, remapped({ DLM: 3 }));
    expect(vectorSeen(bench, 3)).toBe(-0x24);
    bench.writeEntry(3, remapped());
    expect(vectorSeen(bench, 3)).toBe(0x41);
  });

  test("an entry that refused one requester is kept for the others, and the requester is checked at every hit", () => {
    const bench = remapBench({ caches: "adversarial" });
    bench.writeEntry(3, remapped({ SVT: 1, SID: 0x0100 }));
    expect(bench.request(3, 0x0200).fault).toBe(0x26);
    bench.writeEntry(3, new Uint32Array(4));
    expect([bench.request(3, 0x0100).fault, bench.request(3, 0x0200).fault]).toEqual([0, 0x26]);
  });

  test("the descriptor of a posted entry is not kept", () => {
    const bench = remapBench({ caches: "adversarial" });
    bench.writeEntry(3, posted());
    bench.writeDescriptor(descriptor({ ON: 1 }));
    bench.request(3);
    bench.writeDescriptor(descriptor());
    bench.request(3);
    expect(bench.posted.map(({ notification }) => notification.kind)).toEqual(["none", "interrupt"]);
  });

  test("a kept entry outlives the table pointer, but not the table's size", () => {
    const bench = remapBench({ caches: "adversarial" });
    bench.writeEntry(3, remapped());
    vectorSeen(bench, 3);
    bench.settings.tablePage = 9;
    expect(vectorSeen(bench, 3)).toBe(0x41);
    bench.settings.entries = 2;
    expect(vectorSeen(bench, 3)).toBe(-0x21);
  });

  test.each([
    [5, 0, [5]],
    [5, 1, [4, 5]],
    [5, 2, [4, 5, 6, 7]],
    [0, 3, [0, 1, 2, 3, 4, 5, 6, 7]],
    [9, 4, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]],
    [0, 31, Array.from({ length: 16 }, (_, i) => i)],
  ])("invalidating index %d with a mask of %d bits drops %j", (index, maskBits, dropped) => {
    for (const caches of ["realistic", "adversarial"] as const) {
      const bench = remapBench({ caches });
      const indexes = Array.from({ length: 16 }, (_, i) => i);
      for (const each of indexes) {
        bench.writeEntry(each, remapped());
        vectorSeen(bench, each);
        bench.writeEntry(each, remapped({ V: 0x42 }));
      }
      bench.remapper.invalidateIndex(index, maskBits);
      expect(indexes.filter((each) => vectorSeen(bench, each) === 0x42)).toEqual(dropped);
    }
  });

  test("reset empties it", () => {
    const bench = remapBench({ caches: "adversarial" });
    bench.writeEntry(3, remapped());
    vectorSeen(bench, 3);
    bench.writeEntry(3, new Uint32Array(4));
    bench.remapper.reset();
    expect(vectorSeen(bench, 3)).toBe(-0x22);
  });

  test("the realistic one replaces the fifth entry of a set, the adversarial one none", () => {
    const kept = (caches: CachePolicy): number => {
      const bench = remapBench({ caches, settings: { entries: 65_536 } });
      const indexes = Array.from({ length: 80 }, (_, i) => (i % 2 ? 65_536 - i : i));
      for (const index of indexes) {
        bench.writeEntry(index, remapped());
        vectorSeen(bench, index);
      }
      for (const index of indexes) bench.writeEntry(index, new Uint32Array(4));
      return indexes.filter((index) => vectorSeen(bench, index) === 0x41).length;
    };
    expect([kept("none"), kept("realistic"), kept("adversarial")]).toEqual([0, 64, 80]);
  });
});

type Operation =
  | { readonly kind: "write"; readonly index: number; readonly entry: Uint32Array; readonly global: boolean; readonly maskBits: number }
  | { readonly kind: "request"; readonly index: number; readonly requester: number };

const INDEXES = fc.constantFrom(0, 1, 2, 3, 16, 17, 32, 48, 64, 80, 511);
const ENTRIES = fc.oneof(
  fc.record({ V: fc.integer({ min: 16, max: 255 }), P: fc.integer({ min: 0, max: 1 }), FPD: fc.integer({ min: 0, max: 1 }), DLM: fc.constantFrom(0, 1, 3, 4), SVT: fc.integer({ min: 0, max: 3 }), SID: fc.constantFrom(0x0100, 0x0102, 0x0202) }).map(remapped),
  fc.record({ VV: fc.integer({ min: 16, max: 255 }), URG: fc.integer({ min: 0, max: 1 }) }).map(posted),
);
const HISTORIES: fc.Arbitrary<Operation[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("write" as const), index: INDEXES, entry: ENTRIES, global: fc.boolean(), maskBits: fc.integer({ min: 0, max: 9 }) }),
    fc.record({ kind: fc.constant("request" as const), index: INDEXES, requester: fc.constantFrom(0x0100, 0x0102, 0x0200) }),
  ),
  { maxLength: 40 },
);

/** Everything that one history shows: verdicts, deliveries, postings, memory. */
const play = (caches: CachePolicy, cachingMode: boolean, history: readonly Operation[], invalidates: (before: boolean) => boolean): unknown => {
  const bench = remapBench({ caches, cachingMode });
  bench.writeDescriptor(descriptor());
  const present = new Map<number, boolean>();
  const verdicts = history.map((operation) => {
    if (operation.kind === "request") return bench.request(operation.index, operation.requester);
    bench.writeEntry(operation.index, operation.entry);
    const before = present.get(operation.index) ?? false;
    present.set(operation.index, ((operation.entry[0] ?? 0) & 1) === 1);
    if (!invalidates(before)) return undefined;
    if (operation.global) bench.remapper.invalidateAll();
    else bench.remapper.invalidateIndex(operation.index, operation.maskBits);
    return undefined;
  });
  const pir = new Uint8Array(64);
  bench.memory.readInto(0x20_0040, pir);
  return { verdicts, delivered: bench.delivered, posted: bench.posted, pir };
};

describe("caches against no cache, over random histories", () => {
  test.each(["realistic", "adversarial"] as const)("%s: software that invalidates after every change sees no cache", (caches) => {
    fc.assert(
      fc.property(HISTORIES, fc.boolean(), (history, cachingMode) => {
        expect(play(caches, cachingMode, history, () => true)).toEqual(play("none", cachingMode, history, () => true));
      }),
    );
  });
  test.each(["realistic", "adversarial"] as const)("%s, CM=0: nor does software that does not invalidate entries that were not present", (caches) => {
    fc.assert(
      fc.property(HISTORIES, (history) => {
        expect(play(caches, false, history, (before) => before)).toEqual(play("none", false, history, () => true));
      }),
    );
  });
});
