/** Page numbers past int32 and past 32 bits: a model in doubles and int32 must keep every bit of them. */
import { Access } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import * as layouts from "../../src/layouts/index.ts";
import { DEVICE, DOMAIN, FAR, gcr3Fields, hostRig, PASID, Rig } from "./rig.ts";

const PAGE = 0x12_3456; // arbitrary
const CACHING = ["none", "realistic", "adversarial"] as const;
const PLACES = FAR.map((address) => address / 4096);
const HOSTS = [2 ** 31 - 1, 2 ** 31 + 5, 2 ** 32 - 1, 2 ** 32 + 5, 2 ** 33 + 2 ** 31 + 7, 2 ** 40 - 1] as const;

const indexOf = (page: number, level: number): number => Math.floor(page / 2 ** (9 * (level - 1))) % 512;
/** Maps pages of one table of level 1 in four host tables that follow each other from a place on. */
const mapHostAt = (rig: Rig, place: number, page: number, hosts: readonly number[]): void => {
  for (let level = 4; level > 1; level--) rig.put(layouts.HOST_PDE, (place + 4 - level) * 4096 + 8 * indexOf(page, level), { PR: 1, IR: 1, IW: 1, NextLevel: level - 1, Address: place + 5 - level });
  for (const [i, host] of hosts.entries()) rig.put(layouts.HOST_PTE, (place + 3) * 4096 + 8 * indexOf(page + i, 1), { PR: 1, IR: 1, IW: 1, Address: host });
};
/** The same in guest tables. */
const mapGuestAt = (rig: Rig, place: number, page: number, targets: readonly number[]): void => {
  for (let level = 4; level > 1; level--) rig.put(layouts.GUEST_PTE, (place + 4 - level) * 4096 + 8 * indexOf(page, level), { P: 1, RW: 1, US: 1, Address: place + 5 - level });
  for (const [i, target] of targets.entries()) rig.put(layouts.GUEST_PTE, (place + 3) * 4096 + 8 * indexOf(page + i, 1), { P: 1, RW: 1, US: 1, Address: target });
};

describe("far tables and pages (AMD-Vi §2.2.3)", () => {
  const grid = CACHING.flatMap((caches) => PLACES.map((place) => ({ caches, place })));
  test.each(grid)("host tables at page $place, $caches", ({ caches, place }) => {
    const rig = hostRig({ caches, far: true, device: { HostRoot: place, HAD: 3 } });
    mapHostAt(rig, place, PAGE, HOSTS);
    for (const access of [Access.Read, Access.Read, Access.Write]) expect(HOSTS.map((_, at) => rig.translate(PAGE + at, { access }).page)).toEqual(HOSTS);
    expect(HOSTS.map((_, at) => (rig.memory.read32((place + 3) * 4096 + 8 * indexOf(PAGE + at, 1)) >>> 5) & 3)).toEqual(HOSTS.map(() => 3));
  });
  test.each(grid)("guest tables and GCR3 table at page $place, $caches", ({ caches, place }) => {
    const rig = new Rig({ caches, far: true, control: { GTEn: 1 } });
    rig.device({ GV: 1, ...gcr3Fields(place + 9) });
    rig.put(layouts.GCR3_ENTRY, (place + 9) * 4096 + 8 * PASID, { V: 1, Address: place });
    mapGuestAt(rig, place, PAGE, HOSTS);
    for (const access of [Access.Read, Access.Read, Access.Write]) expect(HOSTS.map((_, at) => rig.translate(PAGE + at, { pasid: PASID, access }).page)).toEqual(HOSTS);
    expect(HOSTS.map((_, at) => (rig.memory.read32((place + 3) * 4096 + 8 * indexOf(PAGE + at, 1)) >>> 5) & 3)).toEqual(HOSTS.map(() => 3));
  });
  test.each(grid)("nested, all tables at page $place, $caches", ({ caches, place }) => {
    const rig = new Rig({ caches, far: true, control: { GTEn: 1 } });
    rig.device({ Mode: 4, HostRoot: place + 16, GV: 1, ...gcr3Fields(place + 9) });
    rig.put(layouts.GCR3_ENTRY, (place + 9) * 4096 + 8 * PASID, { V: 1, Address: place });
    const guests = [2 ** 31 + 2 ** 20 + 5, 2 ** 32 + 5, 2 ** 33 + 2 ** 31 + 7];
    mapGuestAt(rig, place, PAGE, guests);
    // The host maps the tables one to one by a page of 1 GiB, and each guest page elsewhere.
    rig.mapHost(place + 16, place, place, { steps: [4, 3] });
    for (const [i, page] of guests.entries()) rig.mapHost(place + 16, page, HOSTS[i + 1] as number);
    for (const access of [Access.Read, Access.Read, Access.Write]) expect(guests.map((_, at) => rig.translate(PAGE + at, { pasid: PASID, access }).page)).toEqual(HOSTS.slice(1, 4));
    // A fault of the host table is told with the whole guest-physical address. AMD-Vi §2.5.3
    rig.put(layouts.GUEST_PTE, (place + 3) * 4096 + 8 * indexOf(PAGE + 7, 1), { P: 1, RW: 1, US: 1, Address: 2 ** 35 + 0x12345 });
    rig.events();
    expect(rig.translate(PAGE + 7, { pasid: PASID }).fault).toBe(2);
    expect(rig.events()).toEqual([{ name: "IO_PAGE_FAULT", DeviceID: DEVICE, DomainIDorPASID: DOMAIN, AddressLow: 0x1234_5000, AddressHigh: 2 ** 15 }]);
  });
  test.each(CACHING.flatMap((caches) => PLACES.map((place) => ({ caches, place }))))("a device table at page $place, $caches", ({ caches, place }) => {
    const rig = new Rig({ caches, far: true });
    rig.write(layouts.DEV_TAB_BASE, { DevTabBase: place, Size: 15 });
    rig.put(layouts.DEVICE_TABLE_ENTRY, place * 4096 + 32 * DEVICE, { V: 1, TV: 0, DomainID: 0x77 });
    rig.translate(PAGE);
    expect(rig.events()).toMatchObject([{ name: "IO_PAGE_FAULT", DomainIDorPASID: 0x77 }]);
  });
});

describe("far addresses of requests (AMD-Vi §2.4.3)", () => {
  /** Pages whose numbers have their low bits in common: what is cached for one is not the others'. */
  const ALIASES = [5, 2 ** 27 + 5, 2 ** 31 + 5, 2 ** 32 + 5, 2 ** 36 + 5, 2 ** 50 + 2 ** 31 + 5] as const;
  const STEPS = [6, 5, 4, 3, 2, 1];
  const filled = (caches: (typeof CACHING)[number], leafLevel: number): ReturnType<typeof hostRig> & { readonly stale: () => number[] } => {
    const rig = hostRig({ caches, iotlb: { sets: 4, ways: 8 }, device: { Mode: 6 } });
    const size = 2 ** (9 * (leafLevel - 1));
    const steps = STEPS.slice(0, 7 - leafLevel);
    for (const [i, page] of ALIASES.entries()) rig.mapHost(rig.table, page, (i + 1) * size, { steps });
    for (const page of ALIASES) rig.translate(page);
    for (const [i, page] of ALIASES.entries()) rig.mapHost(rig.table, page, (i + 101) * size, { steps });
    /** Which of them are still as they were. */
    const stale = (): number[] => ALIASES.filter((page, i) => rig.translate(page).page === (i + 1) * size + (page % size));
    return Object.assign(rig, { stale });
  };
  const levels = (["realistic", "adversarial"] as const).flatMap((caches) => [1, 2, 3].map((leafLevel) => ({ caches, leafLevel })));
  test.each(levels)("$caches, level $leafLevel: each is invalidated alone", ({ caches, leafLevel }) => {
    for (const page of ALIASES) {
      const rig = filled(caches, leafLevel);
      expect(rig.stale()).toEqual(ALIASES);
      rig.invalidatePages({ Address: page });
      expect(rig.stale()).toEqual(ALIASES.filter((other) => other !== page));
    }
  });
  test.each(levels.flatMap((each) => [3, 10].map((bits) => ({ ...each, bits }))))("$caches, level $leafLevel: 2^$bits pages around one leave the others", ({ caches, leafLevel, bits }) => {
    for (const page of ALIASES) {
      const rig = filled(caches, leafLevel);
      // The lowest 0 bit gives the size.
      rig.invalidatePages({ S: 1, Address: page - (page % 2 ** bits) + 2 ** (bits - 1) - 1 });
      expect(rig.stale()).toEqual(ALIASES.filter((other) => other !== page));
    }
  });
  test.each([4, 5])("$caches: a page of level %i is found by all its addresses, and invalidated by any", (leafLevel) => {
    for (const caches of ["realistic", "adversarial"] as const) {
      const size = 2 ** (9 * (leafLevel - 1));
      const steps = STEPS.slice(0, 7 - leafLevel);
      const rig = hostRig({ caches, device: { Mode: 6 } });
      const base = 3 * size;
      rig.mapHost(rig.table, base, size, { steps });
      const insides = [0, 5, 2 ** 26 + 3, ...(leafLevel === 5 ? [2 ** 31 + 7, 2 ** 32 + 9, size - 1] : [size - 1])];
      expect(insides.map((inside) => rig.translate(base + inside).page)).toEqual(insides.map((inside) => size + inside));
      expect(rig.iommu.totals.iotlbMisses).toBe(1);
      rig.mapHost(rig.table, base, 2 * size, { steps });
      rig.invalidatePages({ Address: base - 1 });
      rig.invalidatePages({ Address: base + size });
      expect(rig.translate(base).page).toBe(size);
      rig.invalidatePages({ Address: base + (insides.at(-2) as number) });
      expect(insides.map((inside) => rig.translate(base + inside).page)).toEqual(insides.map((inside) => 2 * size + inside));
    }
  });
  const ways = (caches: (typeof CACHING)[number]): ReturnType<typeof hostRig> & { readonly tables: number[] } => {
    const rig = hostRig({ caches, device: { Mode: 6 } });
    const tables = ALIASES.map((page, i) => {
      rig.mapHost(rig.table, page + 1, 0x200 + i, { steps: STEPS });
      return rig.mapHost(rig.table, page, 0x100 + i, { steps: STEPS })[4] as number;
    });
    return Object.assign(rig, { tables });
  };
  test("what a small cache remembers of one's tables is not taken for another's", () => {
    for (const [i, page] of ALIASES.entries())
      for (const [j, other] of ALIASES.entries()) {
        const rig = ways("realistic");
        expect([page, other, page + 1, other + 1].map((each) => rig.translate(each).page)).toEqual([0x100 + i, 0x100 + j, 0x200 + i, 0x200 + j]);
      }
  });
  test("what a large one remembers of them goes alone", () => {
    for (const gone of ALIASES) {
      const rig = ways("adversarial");
      for (const page of ALIASES) rig.translate(page);
      // Each one's last table is elsewhere now, and has nothing.
      for (const entry of rig.tables) rig.put(layouts.HOST_PDE, entry, { PR: 1, IR: 1, IW: 1, NextLevel: 1, Address: rig.page() });
      rig.invalidatePages({ Address: gone });
      expect(ALIASES.map((page) => rig.translate(page + 1).page)).toEqual(ALIASES.map((page, i) => (page === gone ? 0 : 0x200 + i)));
    }
  });
});
