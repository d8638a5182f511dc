import { Access, type CachePolicy } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Iotlb, IOTLB_ENTRY, UnboundedIotlb, type TranslationCache } from "../../src/hardware/iotlb.ts";
import * as layouts from "../../src/layouts/index.ts";
import { ALL_PAGES, DEVICE, DOMAIN, gcr3Fields, guestRig, hostRig, PASID, Rig } from "./rig.ts";

const PAGE = 0x12_3456; // arbitrary
const HOST = 0x2_0000; // arbitrary
const CACHING = ["realistic", "adversarial"] as const;

describe("what is kept until it is invalidated (AMD-Vi §2.4)", () => {
  /** A rig whose page's leaf changed after it was used. */
  const stale = (caches: CachePolicy): Rig & { readonly table: number } => {
    const rig = hostRig({ caches });
    rig.mapHost(rig.table, PAGE, HOST);
    rig.translate(PAGE);
    rig.mapHost(rig.table, PAGE, HOST + 1);
    return rig;
  };
  test.each([
    ["none", HOST + 1],
    ["realistic", HOST],
    ["adversarial", HOST],
  ] as const)("a changed entry, caches %s", (caches, page) => {
    expect(stale(caches).translate(PAGE).page).toBe(page);
  });

  const commands: readonly (readonly [string, Readonly<Record<string, number>>, boolean])[] = [
    ["the page", { Address: PAGE }, true],
    ["the page, without PDE", { Address: PAGE, PDE: 0 }, true],
    ["another page", { Address: PAGE + 1 }, false],
    ["another domain", { Address: PAGE, DomainID: DOMAIN + 1 }, false],
    ["two pages", { Address: PAGE & ~1, S: 1 }, true],
    ["the two pages after", { Address: (PAGE & ~1) + 2, S: 1 }, false],
    ["512 pages", { Address: (PAGE & ~511) + 255, S: 1 }, true],
    ["the 512 pages before", { Address: (PAGE & ~511) - 512 + 255, S: 1 }, false],
    ["everything", ALL_PAGES, true],
    ["everything, without PDE", { ...ALL_PAGES, PDE: 0 }, true],
    ["everything of another domain", { ...ALL_PAGES, DomainID: 1 }, false],
    ["a guest's pages", { Address: PAGE, GN: 1, PASID: 0 }, false],
    ["2^51 bytes", { Address: 2 ** 38 - 1, S: 1 }, true],
  ];
  test.each(CACHING.flatMap((caches) => commands.map((command) => [caches, ...command] as const)))("%s: INVALIDATE_IOMMU_PAGES for %s", (caches, _what, fields, drops) => {
    const rig = stale(caches);
    rig.invalidatePages(fields);
    expect(rig.translate(PAGE).page).toBe(drops ? HOST + 1 : HOST);
  });

  test.each(CACHING)("%s: every bit of a domain's number counts", (caches) => {
    const rig = hostRig({ caches, device: { DomainID: 0xffff } });
    rig.mapHost(rig.table, PAGE, HOST);
    rig.translate(PAGE);
    rig.mapHost(rig.table, PAGE, HOST + 1);
    for (let bit = 0; bit < 16; bit++) rig.invalidatePages({ ...ALL_PAGES, DomainID: 0xffff ^ (1 << bit) });
    expect(rig.translate(PAGE).page).toBe(HOST);
    rig.invalidatePages({ ...ALL_PAGES, DomainID: 0xffff });
    expect(rig.translate(PAGE).page).toBe(HOST + 1);
  });

  test.each(CACHING)("%s: INVALIDATE_DEVTAB_ENTRY keeps translations, INVALIDATE_IOMMU_ALL does not", (caches) => {
    const rig = stale(caches);
    rig.invalidateDevice();
    expect(rig.translate(PAGE).page).toBe(HOST);
    rig.submit(layouts.INVALIDATE_IOMMU_ALL.encode({ OpCode: 8 }));
    expect(rig.translate(PAGE).page).toBe(HOST + 1);
  });

  test.each(CACHING)("%s: a device's entry is kept until it, or all, is invalidated", (caches) => {
    const rig = hostRig({ caches });
    rig.mapHost(rig.table, PAGE, HOST);
    rig.translate(PAGE);
    rig.device({ TV: 0 });
    rig.invalidateDevice(DEVICE ^ 1);
    expect(rig.translate(PAGE).fault).toBe(0);
    rig.invalidateDevice();
    expect(rig.translate(PAGE).fault).toBe(2);
    rig.device({ Mode: 0 });
    expect(rig.translate(PAGE).fault).toBe(2);
    rig.submit(layouts.INVALIDATE_IOMMU_ALL.encode({ OpCode: 8 }));
    expect(rig.translate(PAGE).fault).toBe(0);
  });

  test.each(CACHING)("%s: directory entries go with PDE=1 only", (caches) => {
    for (const level of [1, 2, 3]) {
      const rig = hostRig({ caches });
      const entries = rig.mapHost(rig.table, PAGE, HOST);
      rig.translate(PAGE);
      const other = rig.page();
      const at = entries[3 - level] as number;
      // The directory entry leads to an empty table now.
      rig.put(layouts.HOST_PDE, at, { ...layouts.HOST_PDE.decode(rig.words(at, 2)), Address: other });
      rig.invalidatePages({ Address: PAGE, PDE: 0 });
      expect([level, rig.translate(PAGE).fault]).toEqual([level, 0]);
      rig.invalidatePages({ Address: PAGE, PDE: 1 });
      expect([level, rig.translate(PAGE).fault]).toEqual([level, 2]);
    }
  });

  test("the adversarial directory cache forgets the way to the pages named, and no other", () => {
    const rig = hostRig({ caches: "adversarial" });
    const far = PAGE + 2 ** 18;
    const entries = rig.mapHost(rig.table, PAGE, HOST);
    rig.mapHost(rig.table, far, HOST + 1);
    rig.translate(PAGE);
    rig.translate(far);
    for (const at of [entries[2] as number]) rig.put(layouts.HOST_PDE, at, {});
    rig.invalidatePages({ Address: far & ~511, S: 0 });
    rig.invalidatePages({ Address: PAGE, PDE: 0 });
    expect(rig.translate(PAGE).fault).toBe(0);
    rig.invalidatePages({ Address: PAGE ^ 7 });
    rig.invalidatePages({ Address: PAGE, PDE: 0 });
    expect(rig.translate(PAGE).fault).toBe(2);
  });

  test.each(CACHING)("%s: a guest's translations go by PASID, and with the host's of the domain", (caches) => {
    const make = (): ReturnType<typeof guestRig> => {
      const rig = guestRig({ caches });
      rig.mapGuest(rig.guest, 5, HOST);
      rig.translate(5, { pasid: PASID });
      rig.mapGuest(rig.guest, 5, HOST + 1);
      return rig;
    };
    const after = (fields: Readonly<Record<string, number>>): number => {
      const rig = make();
      rig.invalidatePages(fields);
      return rig.translate(5, { pasid: PASID }).page - HOST;
    };
    expect([{ GN: 1, PASID, Address: 5 }, { GN: 1, PASID: 4, Address: 5 }, { GN: 1, PASID, Address: 6 }, { GN: 1, PASID, ...ALL_PAGES }, { GN: 1, PASID: 4, ...ALL_PAGES }, { Address: 77 }, ALL_PAGES].map(after)).toEqual([1, 0, 0, 1, 0, 1, 1]);
  });
});

describe("rights in caches", () => {
  test.each([
    ["realistic", 0],
    ["adversarial", 2],
  ] as const)("%s: a right given meanwhile", (caches, fault) => {
    const rig = hostRig({ caches });
    rig.mapHost(rig.table, PAGE, HOST, { leaf: { IW: 0 } });
    rig.translate(PAGE);
    rig.mapHost(rig.table, PAGE, HOST);
    expect(rig.translate(PAGE, { access: Access.Write }).fault).toBe(fault);
    rig.invalidatePages({ Address: PAGE });
    expect(rig.translate(PAGE, { access: Access.Write }).fault).toBe(0);
  });
  test.each(CACHING)("%s: devices of one domain have their own IR and IW", (caches) => {
    const rig = hostRig({ caches });
    rig.mapHost(rig.table, PAGE, HOST);
    rig.device({ Mode: 4, HostRoot: rig.table, IW: 0 }, 9);
    for (let i = 0; i < 2; i++) expect([rig.translate(PAGE).permissions, rig.translate(PAGE, { device: 9 }).permissions, rig.translate(PAGE, { device: 9, access: Access.Write }).fault]).toEqual([3, 1, 2]);
    expect(rig.iommu.totals.iotlbMisses).toBe(1);
  });
});

describe("tags", () => {
  test("the realistic cache keeps the tables of a domain's devices apart, by place and by levels", () => {
    const rig = new Rig();
    const top = rig.page();
    const tables = [[top, 3], [top, 4], [top, 5], [rig.page(), 3], [rig.page(), 4], [rig.page(), 5]] as const;
    /** Each in an entry of its own of the top table. */
    const pageOf = (i: number): number => 2 ** (9 * ((tables[i]?.[1] ?? 0) - 1)) * (i + 1) + 7;
    for (const [i, [table, Mode]] of tables.entries()) {
      rig.device({ Mode, HostRoot: table }, i);
      rig.mapHost(table, pageOf(i), HOST + i, { steps: Array.from({ length: Mode }, (_, step) => Mode - step) });
    }
    const asked = (): number[][] => tables.map((_, i) => tables.map((__, j) => rig.translate(pageOf(j), { device: i }).page));
    const alone = asked();
    expect(asked()).toEqual(alone);
    expect(tables.map((_, i) => alone[i]?.[i])).toEqual(tables.map((_, i) => HOST + i));
  });
  test("so it does with GCR3 tables and guest tables under one PASID", () => {
    const rig = new Rig({ control: { GTEn: 1 } });
    const gcr3 = rig.page();
    const next = rig.page();
    const tables = [[gcr3, 0, 0], [gcr3, 0, 1], [next, 0, 0], [next, 0, 1], [gcr3, 1, 0], [next, 1, 1]] as const;
    const guests = [rig.page(), rig.page()];
    for (const [i, table] of [gcr3, next].entries()) rig.put(layouts.GCR3_ENTRY, table * 4096, { V: 1, Address: guests[i] as number });
    for (const [i, [table, GLX, GuestPagingMode]] of tables.entries()) rig.device({ GV: 1, GLX, GuestPagingMode, ...gcr3Fields(table) }, i);
    for (const [i, guest] of guests.entries()) for (const levels of [4, 5]) rig.mapGuest(guest, 2 ** 18 * levels + 5, HOST + 8 * i + levels, { levels });
    const asked = (): number[][] => tables.map((_, i) => [4, 5].map((levels) => rig.translate(2 ** 18 * levels + 5, { pasid: 0, device: i }).page));
    const alone = asked();
    expect(asked()).toEqual(alone);
    expect([alone[0]?.[0], alone[1]?.[1], alone[2]?.[0], alone[3]?.[1]]).toEqual([HOST + 4, HOST + 5, HOST + 12, HOST + 13]);
  });
  test.each([
    ["realistic", HOST + 1],
    ["adversarial", HOST],
  ] as const)("%s: one domain with two tables", (caches, page) => {
    const rig = hostRig({ caches });
    const other = rig.page();
    rig.device({ Mode: 4, HostRoot: other }, 9);
    rig.mapHost(rig.table, PAGE, HOST);
    rig.mapHost(other, PAGE, HOST + 1);
    expect(rig.translate(PAGE).page).toBe(HOST);
    expect(rig.translate(PAGE, { device: 9 }).page).toBe(page);
  });
  test.each(CACHING)("%s: two domains with one address", (caches) => {
    const rig = hostRig({ caches });
    const other = rig.page();
    rig.device({ Mode: 4, HostRoot: other, DomainID: 0 }, 9);
    rig.mapHost(rig.table, PAGE, HOST);
    rig.mapHost(other, PAGE, HOST + 1);
    for (let i = 0; i < 2; i++) expect([rig.translate(PAGE).page, rig.translate(PAGE, { device: 9 }).page]).toEqual([HOST, HOST + 1]);
    expect(rig.iommu.totals.iotlbMisses).toBe(2);
  });
});

describe("what is not present", () => {
  const later = (caches: CachePolicy, npCache: boolean): { readonly page: number; readonly device: number; readonly guest: number } => {
    const rig = hostRig({ caches, npCache });
    rig.translate(PAGE);
    rig.mapHost(rig.table, PAGE, HOST);
    const page = rig.translate(PAGE).fault;
    rig.invalidatePages({ Address: PAGE });
    expect(rig.translate(PAGE).fault).toBe(0);
    const fresh = new Rig({ caches, npCache });
    fresh.translate(PAGE);
    fresh.device({ TV: 0 });
    const device = fresh.translate(PAGE).fault;
    fresh.invalidateDevice();
    expect(fresh.translate(PAGE).fault).toBe(2);
    const guest = guestRig({ caches, npCache });
    guest.translate(5, { pasid: PASID });
    guest.mapGuest(guest.guest, 5, HOST);
    return { page, device, guest: guest.translate(5, { pasid: PASID }).fault };
  };
  test.each([
    ["realistic", true, { page: 0, device: 2, guest: 0 }],
    ["adversarial", false, { page: 0, device: 2, guest: 0 }],
    ["adversarial", true, { page: 2, device: 0, guest: 2 }],
  ] as const)("caches %s, NpCache %s", (caches, npCache, expected) => {
    expect(later(caches, npCache)).toEqual(expected);
  });
  test("a cached absence is one page's, its neighbours are looked up", () => {
    const rig = hostRig({ caches: "adversarial", npCache: true });
    const guest = guestRig({ caches: "adversarial", npCache: true });
    rig.translate(PAGE);
    guest.translate(PAGE, { pasid: PASID });
    for (const page of [PAGE - 1, PAGE + 1, PAGE ^ 2, PAGE ^ 4]) {
      rig.mapHost(rig.table, page, HOST);
      guest.mapGuest(guest.guest, page, HOST);
      expect([rig.translate(page).page, guest.translate(page, { pasid: PASID }).page]).toEqual([HOST, HOST]);
    }
    expect([rig.translate(PAGE).fault, guest.translate(PAGE, { pasid: PASID }).fault]).toEqual([2, 2]);
  });
  test("a cached absence is told as it was, PASID included", () => {
    const rig = guestRig({ caches: "adversarial", npCache: true });
    rig.translate(5, { pasid: PASID });
    rig.translate(5, { pasid: PASID });
    const [first, second] = rig.events();
    expect(second).toEqual(first);
    expect(rig.iommu.totals.iotlbMisses).toBe(1);
  });
});

describe("realistic sizes", () => {
  test("256 device entries, the oldest goes first", () => {
    const rig = new Rig();
    for (let i = 0; i < 257; i++) rig.device({ Mode: 0 }, i);
    for (let i = 0; i < 256; i++) rig.translate(1, { device: i });
    for (let i = 0; i < 256; i++) rig.translate(1, { device: i });
    expect(rig.iommu.totals).toMatchObject({ deviceEntryMisses: 256, deviceEntryHits: 256 });
    rig.translate(1, { device: 256 });
    rig.translate(1, { device: 1 });
    rig.translate(1, { device: 0 });
    expect(rig.iommu.totals).toMatchObject({ deviceEntryMisses: 258, deviceEntryHits: 257 });
  });
  test("the IOTLB's sets and ways are chosen", () => {
    const rig = hostRig({ iotlb: { sets: 1, ways: 2 } });
    for (let i = 0; i < 3; i++) rig.mapHost(rig.table, i, HOST + i);
    for (const page of [0, 1, 0, 1, 2, 1, 0]) rig.translate(page);
    expect(rig.iommu.totals.iotlbMisses).toBe(4);
  });
  test.each([
    [3, 4],
    [4, 0],
    [4, 9],
    [4, 1.5],
  ])("%d sets of %d ways are impossible", (sets, ways) => {
    expect(() => new Iotlb(sets, ways)).toThrow(RangeError);
  });
});

describe("the translation caches agree with a list", () => {
  const space = fc.integer({ min: 1, max: 3 });
  const page = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.bigInt({ min: 0n, max: 2n ** 52n - 1n }).map(Number));
  const bits = fc.constantFrom(0, 1, 5, 9, 12, 31, 32, 33, 40);
  const action = fc.oneof(
    fc.record({ kind: fc.constant("insert" as const), space, page, bits }),
    fc.record({ kind: fc.constant("drop" as const), space, page, bits: fc.oneof(bits, fc.constant(52)) }),
  );
  const low = (value: number): number => value | 0;
  const high = (value: number): number => Math.floor(value / 2 ** 32);
  const run = (cache: TranslationCache, actions: readonly { kind: "insert" | "drop"; space: number; page: number; bits: number }[], probes: readonly number[]): void => {
    const kept: { space: number; first: number; bits: number; flags: number }[] = [];
    for (const [i, each] of actions.entries()) {
      const size = 2 ** each.bits;
      const first = Math.floor(each.page / size) * size;
      if (each.kind === "insert") {
        // Software gives one address one size at a time.
        if (kept.some((other) => other.space === each.space && other.first < first + size && first < other.first + 2 ** other.bits)) continue;
        // Marks as of rights: other flags belong to the size.
        const flags = (i + 1) | ((12 + each.bits) << IOTLB_ENTRY.SHIFT_SHIFT);
        cache.insert(each.space, low(each.page), high(each.page), i, 0, flags);
        kept.push({ space: each.space, first, bits: each.bits, flags });
      } else {
        cache.invalidatePages(each.space, low(each.page), high(each.page), each.bits);
        for (let at = kept.length - 1; at >= 0; at--) {
          const other = kept[at];
          if (other?.space === each.space && other.first < first + size && first < other.first + 2 ** other.bits) kept.splice(at, 1);
        }
      }
    }
    for (const probe of [...probes, ...actions.map((each) => each.page)])
      for (const within of [1, 2, 3]) {
        const expected = kept.find((other) => other.space === within && probe >= other.first && probe < other.first + 2 ** other.bits);
        const at = cache.lookup(within, low(probe), high(probe));
        expect(at < 0 ? undefined : (cache.words[at + IOTLB_ENTRY.FLAGS] as number) & ~IOTLB_ENTRY.FAR).toBe(expected?.flags);
      }
  };
  // With so many ways as entries nothing is ever replaced.
  test.each([
    ["set-associative", () => new Iotlb(4096, 8)],
    ["unbounded", () => new UnboundedIotlb(() => true)],
  ] as const)("%s", (_name, make) => {
    fc.assert(fc.property(fc.array(action, { maxLength: 8 }), fc.array(page, { maxLength: 5 }), (actions, probes) => { run(make(), actions, probes); }), { numRuns: 150 });
  });
  test("the unbounded one grows, and forgets address spaces that are gone", () => {
    let current = 1;
    const cache = new UnboundedIotlb((each) => each >= current);
    for (current = 1; current < 5; current++) for (let i = 0; i < 2000; i++) cache.insert(current, i, 0, i + 1, 0, 12 << IOTLB_ENTRY.SHIFT_SHIFT);
    expect(cache.words.length).toBeLessThanOrEqual(8 * 4096);
    expect([cache.lookup(1, 5, 0), cache.words[cache.lookup(4, 1999, 0) + IOTLB_ENTRY.PAGE]]).toEqual([-1, 2000]);
    expect(gcr3Fields(0).GCR3Low).toBe(0);
  });
});
