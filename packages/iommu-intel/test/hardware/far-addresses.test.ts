/** Page numbers past int32 and past 32 bits: a model in doubles and int32 must keep every bit of them. */
import { Access } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { CONTEXT_ENTRY, FIRST_STAGE_ENTRY, IOTLB_REG, IQA_REG, IQT_REG, IVA_REG, PASID_DIRECTORY_ENTRY, PASID_ENTRY, ROOT_ENTRY, SCALABLE_CONTEXT_ENTRY, SCALABLE_ROOT_ENTRY, SECOND_STAGE_ENTRY, WAIT_DESCRIPTOR } from "../../src/layouts/index.ts";
import { BDF, DID, FAR, invalidateIotlb, invalidatePasidIotlb, legacyRig, scalableRig, type Rig } from "./rig.ts";

const PAGE = 0x12345; // arbitrary
const CACHING = ["none", "realistic", "adversarial"] as const;
const PLACES = FAR.map((address) => address / 4096);
const HOSTS = [2 ** 31 - 1, 2 ** 31 + 5, 2 ** 32 - 1, 2 ** 32 + 5, 2 ** 33 + 2 ** 31 + 7, 2 ** 40 - 1] as const;

type AnyEntry = typeof FIRST_STAGE_ENTRY | typeof SECOND_STAGE_ENTRY;
/** Maps pages of one table of level 1 in four tables that follow each other from a place on. */
const mapAt = (rig: Rig, layout: AnyEntry, place: number, page: number, hosts: readonly number[], rights: Record<string, number>): void => {
  for (let level = 4; level > 1; level--) rig.put(layout, (place + 4 - level) * 4096 + 8 * (Math.floor(page / 2 ** (9 * (level - 1))) % 512), { ...rights, ADDR: place + 5 - level });
  for (const [i, host] of hosts.entries()) rig.put(layout, (place + 3) * 4096 + 8 * ((page + i) % 512), { ...rights, ADDR: host });
};
const SECOND = { R: 1, W: 1 };
const FIRST = { P: 1, RW: 1, US: 1 };

describe("far tables and pages (VT-d §9.7, §9.8)", () => {
  const grid = CACHING.flatMap((caches) => PLACES.map((place) => ({ caches, place })));
  test.each(grid)("second stage at page $place, $caches", ({ caches, place }) => {
    const rig = legacyRig({ caches, far: true, hostAddressWidth: 52, context: { SSPTPTR: place } });
    mapAt(rig, SECOND_STAGE_ENTRY, place, PAGE, HOSTS, SECOND);
    for (let i = 0; i < 3; i++) expect(HOSTS.map((_, at) => rig.translate(PAGE + at).page)).toEqual(HOSTS);
  });
  test.each(grid)("first stage at page $place, $caches", ({ caches, place }) => {
    const rig = scalableRig({ caches, far: true, pasid: { PGTT: 1, FSPTPTR: place } });
    mapAt(rig, FIRST_STAGE_ENTRY, place, PAGE, HOSTS, FIRST);
    for (const access of [Access.Read, Access.Read, Access.Write]) expect(HOSTS.map((_, at) => rig.translate(PAGE + at, { access }).page)).toEqual(HOSTS);
    // A and D of every page are in the far table.
    expect(HOSTS.map((_, at) => (rig.memory.read32((place + 3) * 4096 + 8 * ((PAGE + at) % 512)) >>> 5) & 3)).toEqual(HOSTS.map(() => 3));
  });
  test.each(grid)("nested, both stages at page $place, $caches", ({ caches, place }) => {
    const rig = scalableRig({ caches, far: true, pasid: { PGTT: 3, FSPTPTR: place, SSPTPTR: place + 8 } });
    const guests = [2 ** 31 + 5, 2 ** 32 + 5, 2 ** 33 + 2 ** 31 + 7];
    mapAt(rig, FIRST_STAGE_ENTRY, place, PAGE, guests, FIRST);
    // The second stage maps the tables one to one by a page of 1 GiB, and each guest page elsewhere.
    rig.put(SECOND_STAGE_ENTRY, (place + 8) * 4096 + 8 * (Math.floor(place / 2 ** 27) % 512), { ...SECOND, ADDR: place + 9 });
    rig.put(SECOND_STAGE_ENTRY, (place + 9) * 4096, { ...SECOND, PS: 1, ADDR: place });
    for (const [i, guest] of guests.entries()) rig.mapSecond(place + 8, guest, HOSTS[i] as number);
    const expected = HOSTS.slice(0, guests.length);
    // A guest page in the identity-mapped GiB of the tables is theirs.
    const shared = guests.map((guest, i) => (Math.floor(guest / 2 ** 18) === Math.floor(place / 2 ** 18) ? undefined : expected[i]));
    for (let i = 0; i < 3; i++) for (const [at, page] of shared.entries()) if (page !== undefined) expect([at, rig.translate(PAGE + at).page]).toEqual([at, page]);
    expect(shared.filter((page) => page !== undefined).length).toBeGreaterThan(1);
  });
  test.each(CACHING.flatMap((caches) => [2, 3].flatMap((leafLevel) => [2 ** 31, 2 ** 32, 2 ** 33 + 2 ** 31, 2 ** 40 - 2 ** 18].map((host) => ({ caches, leafLevel, host })))))("a page of level $leafLevel at page $host, $caches", ({ caches, leafLevel, host }) => {
    const rig = legacyRig({ caches, hostAddressWidth: 52 });
    const size = 2 ** (9 * (leafLevel - 1));
    rig.mapSecond(rig.table, 4 * size, host, { leafLevel });
    for (const inside of [0, 5, size - 1, 5, 0]) expect(rig.translate(4 * size + inside)).toMatchObject({ page: host + inside, pageShift: 3 + 9 * leafLevel });
  });
});

describe("far structures (VT-d §9.1 to §9.6)", () => {
  test.each(PLACES)("root and context table at page %i", (place) => {
    const rig = legacyRig({ far: true, hostAddressWidth: 52, start: false });
    rig.put(ROOT_ENTRY, place * 4096 + 16 * (BDF >>> 8), { P: 1, CTP: place + 1 });
    rig.put(CONTEXT_ENTRY, (place + 1) * 4096 + 16 * (BDF & 0xff), { P: 1, AW: 2, DID, SSPTPTR: rig.table });
    rig.mapSecond(rig.table, PAGE, 0x777);
    expect(rig.start(0, place * 4096).translate(PAGE).page).toBe(0x777);
  });
  test.each(PLACES)("root and context table, PASID directory and table at page %i", (place) => {
    const rig = scalableRig({ far: true, start: false });
    rig.put(SCALABLE_ROOT_ENTRY, place * 4096 + 16 * (BDF >>> 8), { LP: 1, LCTP: place + 1 });
    rig.put(SCALABLE_CONTEXT_ENTRY, (place + 1) * 4096 + 32 * (BDF & 0x7f), { P: 1, PASIDE: 1, PASIDDIRPTR: place + 2 });
    rig.pasid((place + 2) * 4096, 0, { PGTT: 2, AW: 2, SSPTPTR: rig.second });
    rig.put(PASID_DIRECTORY_ENTRY, (place + 2) * 4096 + 8, { P: 1, SMPTBLPTR: place + 3 });
    rig.put(PASID_ENTRY, (place + 3) * 4096 + 64 * 5, { P: 1, DID, PGTT: 2, AW: 2, SSPTPTR: rig.second });
    rig.mapSecond(rig.second, PAGE, 0x777);
    rig.start(1, place * 4096);
    expect([rig.translate(PAGE).page, rig.translate(PAGE, { pasid: 64 + 5 }).page]).toEqual([0x777, 0x777]);
  });
  test.each(PLACES)("an invalidation queue at page %i", (place) => {
    const rig = legacyRig({ far: true });
    rig.write(IQA_REG, { IQA: place });
    rig.command({ QIE: 1 });
    rig.putWords(place * 4096, rig.wait());
    rig.write(IQT_REG, { QT: 1 });
    expect(rig.waited).toBe(true);
    const status = WAIT_DESCRIPTOR.encode({ TYPE: 5, SW: 1, DATA: 0x1234, ADDR_LOW: ((place * 4096) % 2 ** 32) / 4 + 0x400, ADDR_HIGH: Math.floor((place * 4096) / 2 ** 32) });
    rig.putWords(place * 4096 + 16, status);
    rig.write(IQT_REG, { QT: 2 });
    expect(rig.memory.read32(place * 4096 + 0x1000)).toBe(0x1234);
  });
});

describe("far addresses of requests", () => {
  /** Pages whose numbers have their low bits in common: what is cached for one is not the others'. */
  const ALIASES = [5, 2 ** 27 + 5, 2 ** 31 + 5, 2 ** 32 + 5, 2 ** 33 + 5, 2 ** 35 + 2 ** 31 + 5] as const;
  const filled = (caches: (typeof CACHING)[number], leafLevel: number): ReturnType<typeof legacyRig> & { readonly size: number; readonly stale: () => number[] } => {
    const rig = legacyRig({ caches, iotlb: { sets: 4, ways: 8 } });
    const size = 2 ** (9 * (leafLevel - 1));
    const base = (page: number): number => page - (page % size);
    for (const [i, page] of ALIASES.entries()) rig.mapSecond(rig.table, base(page), (i + 1) * size, { leafLevel });
    for (const page of ALIASES) rig.translate(page);
    for (const [i, page] of ALIASES.entries()) rig.mapSecond(rig.table, base(page), (i + 101) * size, { leafLevel });
    /** Which of them are still as they were. */
    const stale = (): number[] => ALIASES.filter((page, i) => rig.translate(page).page === (i + 1) * size + (page % size));
    return Object.assign(rig, { size, stale });
  };
  const levels = (["realistic", "adversarial"] as const).flatMap((caches) => [1, 2, 3].map((leafLevel) => ({ caches, leafLevel })));
  test.each(levels)("$caches, level $leafLevel: they share nothing in the IOTLB, and each is invalidated alone (VT-d §6.5.1.2)", ({ caches, leafLevel }) => {
    for (const page of ALIASES) {
      const rig = filled(caches, leafLevel);
      expect(rig.stale()).toEqual(ALIASES);
      rig.write(IVA_REG, { ADDR: page });
      rig.write(IOTLB_REG, { IVT: 1, IIRG: 3, DID });
      expect(rig.stale()).toEqual(ALIASES.filter((other) => other !== page));
    }
  });
  test.each(levels.flatMap((each) => [9, 10].map((AM) => ({ ...each, AM }))))("$caches, level $leafLevel: 2^$AM pages around one leave the others", ({ caches, leafLevel, AM }) => {
    for (const page of ALIASES) {
      const rig = filled(caches, leafLevel);
      rig.queue().submit(invalidateIotlb({ G: 3, DID, ADDR: page - (page % 2 ** AM), AM }), rig.wait());
      expect([rig.waited, rig.stale()]).toEqual([true, ALIASES.filter((other) => other !== page)]);
    }
  });
  const ways = (caches: (typeof CACHING)[number]): ReturnType<typeof legacyRig> & { readonly tables: number[] } => {
    const rig = legacyRig({ caches });
    const tables = ALIASES.map((page, i) => {
      rig.mapSecond(rig.table, page + 1, 0x200 + i);
      return rig.mapSecond(rig.table, page, 0x100 + i)[2] as number;
    });
    return Object.assign(rig, { tables });
  };
  test("what a small cache remembers of one's tables is not taken for another's (VT-d §6.2.4)", () => {
    for (const [i, page] of ALIASES.entries())
      for (const [j, other] of ALIASES.entries()) {
        const rig = ways("realistic");
        expect([page, other, page + 1, other + 1].map((each) => rig.translate(each).page)).toEqual([0x100 + i, 0x100 + j, 0x200 + i, 0x200 + j]);
      }
  });
  test("what a large one remembers of them goes alone (VT-d §6.5.1.2)", () => {
    for (const gone of ALIASES) {
      const rig = ways("adversarial");
      for (const page of ALIASES) rig.translate(page);
      // Each one's last table is elsewhere now, and has nothing.
      for (const entry of rig.tables) rig.put(SECOND_STAGE_ENTRY, entry, { ...SECOND, ADDR: rig.page() });
      rig.write(IVA_REG, { ADDR: gone });
      rig.write(IOTLB_REG, { IVT: 1, IIRG: 3, DID });
      expect(ALIASES.map((page) => rig.translate(page + 1).page)).toEqual(ALIASES.map((page, i) => (page === gone ? 0 : 0x200 + i)));
    }
  });
  test("a page of a PASID far up is invalidated by its address (VT-d §6.5.2.4)", () => {
    const rig = scalableRig({ pasid: { PGTT: 1 } }).queue({ wide: true });
    const far = 2 ** 34 + 5;
    for (const [i, page] of [5, far].entries()) rig.mapFirst(rig.first, page, 0x100 + i);
    for (const page of [5, far]) rig.translate(page);
    for (const [i, page] of [5, far].entries()) rig.mapFirst(rig.first, page, 0x200 + i);
    rig.submit(invalidatePasidIotlb({ G: 3, DID, PASID: 0, ADDR: far }), rig.wait());
    expect([rig.waited, rig.translate(5).page, rig.translate(far).page]).toEqual([true, 0x100, 0x201]);
  });
});
