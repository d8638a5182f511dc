import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runCaches } from "../src/views/caches/lab.ts";
import { OPERATIONS, PAGE_OPERATIONS, readCaches, type CacheSettings, type Operation } from "../src/views/caches/settings.ts";

const VENDORS = ["intel", "intel-scalable", "amd"] as const;
const doing = (...names: (Operation["do"])[]): readonly Operation[] => readCaches({ done: names.map((name) => ({ do: name, page: 0 })) }).done;
const settings = (changes: Partial<CacheSettings>): CacheSettings => ({ ...readCaches({}), ...changes });

describe.each(VENDORS)("caches on the bench, %s", (vendor) => {
  test("an unmap without invalidation leaves a stale hit; the first screen shows one", () => {
    const lab = runCaches(settings({ vendor }));
    expect([lab.stale, lab.hits, lab.misses, lab.contents.translations.length]).toEqual([1, 1, 1, 1]);
    expect(lab.outcomes.at(-1)).toMatchObject({ kind: "access", by: "IOTLB", memory: undefined });
  });
  test.each(["invalidate-page", "invalidate-domain", "invalidate-global"] as const)("%s ends it", (name) => {
    const lab = runCaches(settings({ vendor, done: doing("map", "read", "unmap", name, "wait", "read") }));
    expect([lab.stale, lab.queue.status, lab.queue.head === lab.queue.tail]).toEqual([0, 1, true]);
    expect(lab.outcomes.at(-1)).toMatchObject({ kind: "access", by: "walk", frame: undefined });
  });
  test("a descriptor behind the tail does nothing until the tail is moved", () => {
    const done = doing("map", "read", "unmap", "invalidate-page", "read");
    expect([runCaches(settings({ vendor, hold: true, done })).stale, runCaches(settings({ vendor, hold: true, done: [...done.slice(0, 4), ...doing("bell", "read")] })).stale]).toEqual([1, 0]);
  });
  test("strict leaves no window; lazy does until its timer fires", () => {
    const done = doing("map", "ats", "read", "unmap", "read", "ats");
    expect(runCaches(settings({ vendor, discipline: "strict", done })).stale).toBe(0);
    const lazy = runCaches(settings({ vendor, discipline: "lazy", done }));
    expect([lazy.stale, lazy.window]).toEqual([2, [0]]);
    expect(runCaches(settings({ vendor, discipline: "lazy", done: [...done, ...doing("flush", "read", "ats")] })).stale).toBe(2);
  });
  test("a device-TLB keeps what the IOMMU has forgotten", () => {
    const lab = runCaches(settings({ vendor, done: doing("map", "ats", "unmap", "invalidate-global", "ats") }));
    expect([lab.stale, lab.deviceTlb.length]).toEqual([1, 1]);
    expect(runCaches(settings({ vendor, done: doing("map", "ats", "unmap", "invalidate-global", "invalidate-device", "ats") })).stale).toBe(0);
  });
  test("a moved device uses its old domain until the cached entry goes", () => {
    expect(runCaches(settings({ vendor, done: doing("map", "read", "move", "read") })).stale).toBe(1);
    expect(runCaches(settings({ vendor, done: doing("map", "read", "move", vendor === "intel-scalable" ? "invalidate-pasid" : "invalidate-source", "read") })).stale).toBe(0);
  });
  test("with caching mode a page mapped later stays refused until it is invalidated, as drivers of guests must", () => {
    const trap = { vendor, policy: "adversarial", absent: true } as const;
    const lab = runCaches(settings({ ...trap, done: doing("read", "map", "read") }));
    expect(lab.stale).toBe(1);
    expect(lab.outcomes.at(-1)).toMatchObject({ kind: "access", by: "IOTLB", frame: undefined });
    expect(lab.contents.translations).toMatchObject([{ rights: 0 }]);
    expect(runCaches(settings({ ...trap, done: doing("read", "map", "invalidate-page", "read") })).stale).toBe(0);
    for (const discipline of ["strict", "lazy"] as const) expect(runCaches(settings({ ...trap, discipline, done: doing("read", "map", "read") })).stale).toBe(0);
    for (const other of [{ absent: false }, { policy: "realistic" }] as const) expect(runCaches(settings({ ...trap, ...other, done: doing("read", "map", "read") })).stale).toBe(0);
  });
  test("without caches nothing is ever stale in the IOMMU", () => {
    const operations = fc.array(fc.record({ do: fc.constantFrom(...PAGE_OPERATIONS.filter((name) => name !== "ats"), ...OPERATIONS), page: fc.nat(3) }), { maxLength: 30 });
    fc.assert(fc.property(operations, (done) => { expect(runCaches(readCaches({ vendor, policy: "none", done })).stale).toBe(0); }), { numRuns: 30 });
  });
});

test("in scalable mode the PASID-cache has the domain; the context-cache's entry has none, and invalidating it leaves the domain as it was", () => {
  const at = (...names: Operation["do"][]) => runCaches(settings({ vendor: "intel-scalable", done: doing(...names) }));
  expect(at("map", "read").contents.sources).toEqual([{ requester: 0x100, pasid: -1, domain: undefined }, { requester: 0x100, pasid: 0, domain: 5 }]);
  const moved = at("map", "read", "move", "invalidate-source", "read");
  expect([moved.stale, moved.contents.sources.map(({ domain }) => domain)]).toEqual([1, [undefined, 5]]);
  const after = at("map", "read", "move", "invalidate-pasid", "wait", "read");
  expect([after.stale, after.queue.head, after.contents.sources.map(({ domain }) => domain)]).toEqual([0, 2, [undefined, 6]]);
});

test("-0 is 0: an address has no other", () => {
  expect(readCaches({ done: [{ do: "map", page: -0 }] }).done).toEqual([{ do: "map", page: 0 }]);
});

test("anything is settings, and settings are themselves", () => {
  const operations = fc.array(fc.oneof(fc.anything(), fc.record({ do: fc.constantFrom(...PAGE_OPERATIONS, ...OPERATIONS), page: fc.anything() })), { maxLength: 90 });
  fc.assert(
    fc.property(fc.oneof(fc.anything(), fc.record({ vendor: fc.anything(), policy: fc.anything(), discipline: fc.anything(), page: fc.anything(), done: operations })), (kept) => {
      const read = readCaches(kept);
      expect(readCaches(JSON.parse(JSON.stringify(read)))).toEqual(read);
      expect(read.done.length).toBeLessThan(61);
    }),
  );
});
