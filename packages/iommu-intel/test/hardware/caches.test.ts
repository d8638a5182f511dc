import { Access, type CachePolicy } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SCALABLE } from "../../src/hardware/index.ts";
import { CCMD_REG, CONTEXT_ENTRY, FIRST_STAGE_ENTRY, IOTLB_REG, IVA_REG, ROOT_ENTRY, RTADDR_REG, SECOND_STAGE_ENTRY } from "../../src/layouts/index.ts";
import { BDF, DID, invalidateContext, invalidateIotlb, invalidatePasidCache, invalidatePasidIotlb, legacyRig, Rig, ROOT, scalableRig } from "./rig.ts";

const PAGE = 0x12345; // arbitrary
const HOST = 0x2345; // arbitrary
const OTHER = 0x3456; // arbitrary
const CACHING = ["realistic", "adversarial"] as const;

type Legacy = ReturnType<typeof legacyRig>;
type Scalable = ReturnType<typeof scalableRig>;

/** Points a mapped page elsewhere, so that a stale translation shows. */
const remap = (rig: Legacy, page = PAGE, host = OTHER): void => {
  rig.mapSecond(rig.table, page, host);
};

/** Register-based invalidations, as software without a queue does them; the granularity that was done. */
const contextByRegister = (rig: Rig, fields: Record<string, number>): number => {
  rig.write(CCMD_REG, { ICC: 1, ...fields });
  const { ICC, CAIG } = rig.read(CCMD_REG);
  expect(ICC).toBe(0);
  return CAIG;
};
const iotlbByRegister = (rig: Rig, fields: Record<string, number>, address: Record<string, number> = {}): number => {
  rig.write(IVA_REG, address);
  rig.write(IOTLB_REG, { IVT: 1, ...fields });
  const { IVT, IAIG } = rig.read(IOTLB_REG);
  expect(IVT).toBe(0);
  return IAIG;
};

describe("IOTLB (VT-d §6.2.3)", () => {
  test("with no caches a changed entry acts at once", () => {
    const rig = legacyRig({ caches: "none" });
    rig.mapSecond(rig.table, PAGE, HOST);
    rig.translate(PAGE);
    remap(rig);
    expect(rig.translate(PAGE).page).toBe(OTHER);
  });
  test.each(CACHING)("%s: a translation stays until it is invalidated", (caches) => {
    const rig = legacyRig({ caches });
    rig.mapSecond(rig.table, PAGE, HOST);
    rig.translate(PAGE);
    remap(rig);
    expect(rig.translate(PAGE).page).toBe(HOST);
    iotlbByRegister(rig, { IIRG: 1 });
    expect(rig.translate(PAGE).page).toBe(OTHER);
  });
  const forms = [
    { name: "global", fields: { IIRG: 1 }, address: {}, hits: true },
    { name: "its domain", fields: { IIRG: 2, DID }, address: {}, hits: true },
    { name: "another domain", fields: { IIRG: 2, DID: DID + 1 }, address: {}, hits: false },
    { name: "its page", fields: { IIRG: 3, DID }, address: { ADDR: PAGE }, hits: true },
    { name: "its page, leaf only", fields: { IIRG: 3, DID }, address: { ADDR: PAGE, IH: 1 }, hits: true },
    { name: "another page", fields: { IIRG: 3, DID }, address: { ADDR: PAGE + 1 }, hits: false },
    { name: "its page in another domain", fields: { IIRG: 3, DID: DID + 1 }, address: { ADDR: PAGE }, hits: false },
    { name: "pages around it", fields: { IIRG: 3, DID }, address: { ADDR: PAGE & ~0xff, AM: 8 }, hits: true },
    { name: "pages beside it", fields: { IIRG: 3, DID }, address: { ADDR: (PAGE & ~0xff) + 0x100, AM: 8 }, hits: false },
    { name: "many pages around it", fields: { IIRG: 3, DID }, address: { ADDR: 0, AM: 18 }, hits: true },
    { name: "many pages beside it", fields: { IIRG: 3, DID }, address: { ADDR: 2 ** 18, AM: 18 }, hits: false },
  ];
  test.each(CACHING.flatMap((caches) => forms.map((form) => ({ caches, ...form }))))("$caches, by register: invalidating $name", ({ caches, fields, address, hits }) => {
    const rig = legacyRig({ caches });
    rig.mapSecond(rig.table, PAGE, HOST);
    rig.translate(PAGE);
    remap(rig);
    expect(iotlbByRegister(rig, fields, address)).toBe(fields.IIRG);
    expect(rig.translate(PAGE).page).toBe(hits ? OTHER : HOST);
  });
  test.each(CACHING.flatMap((caches) => forms.map((form) => ({ caches, ...form }))))("$caches, by queue: invalidating $name", ({ caches, fields: { IIRG, ...fields }, address, hits }) => {
    const rig = legacyRig({ caches }).queue();
    rig.mapSecond(rig.table, PAGE, HOST);
    rig.translate(PAGE);
    remap(rig);
    rig.submit(invalidateIotlb({ G: IIRG, ...fields, ...address }), rig.wait());
    expect(rig.waited).toBe(true);
    expect(rig.translate(PAGE).page).toBe(hits ? OTHER : HOST);
  });
  test.each(CACHING.flatMap((caches) => [2, 3].map((leafLevel) => ({ caches, leafLevel }))))("$caches: any address inside a page of level $leafLevel invalidates the whole of it", ({ caches, leafLevel }) => {
    const rig = legacyRig({ caches });
    const size = 2 ** (9 * (leafLevel - 1));
    rig.mapSecond(rig.table, size, 2 * size, { leafLevel });
    rig.translate(size);
    rig.mapSecond(rig.table, size, 4 * size, { leafLevel });
    expect(rig.translate(size + 1).page).toBe(2 * size + 1);
    iotlbByRegister(rig, { IIRG: 3, DID }, { ADDR: size + size / 2 });
    expect(rig.translate(size + 1).page).toBe(4 * size + 1);
  });
  test.each(CACHING)("%s: a small invalidation leaves a neighbouring large page alone, a wide one takes both", (caches) => {
    const rig = legacyRig({ caches });
    rig.mapSecond(rig.table, 0x200, 0x400, { leafLevel: 2 });
    rig.mapSecond(rig.table, 0x400, HOST);
    for (const page of [0x200, 0x400]) rig.translate(page);
    rig.mapSecond(rig.table, 0x200, 0x800, { leafLevel: 2 });
    rig.mapSecond(rig.table, 0x400, OTHER);
    iotlbByRegister(rig, { IIRG: 3, DID }, { ADDR: 0x400, AM: 9 });
    expect([rig.translate(0x200).page, rig.translate(0x400).page]).toEqual([0x400, OTHER]);
    iotlbByRegister(rig, { IIRG: 3, DID }, { ADDR: 0, AM: 10 });
    expect([rig.translate(0x200).page, rig.translate(0x400).page]).toEqual([0x800, OTHER]);
  });
  test.each(CACHING)("%s: two requesters of one domain share its translations, of two domains they do not", (caches) => {
    const rig = legacyRig({ caches });
    rig.context({ SSPTPTR: rig.table }, BDF + 1);
    rig.context({ SSPTPTR: rig.table, DID: DID + 1 }, BDF + 2);
    rig.mapSecond(rig.table, PAGE, HOST);
    rig.translate(PAGE);
    rig.translate(PAGE, { requester: BDF + 2 });
    remap(rig);
    expect([0, 1, 2].map((i) => rig.translate(PAGE, { requester: BDF + i }).page)).toEqual([HOST, HOST, HOST]);
    iotlbByRegister(rig, { IIRG: 2, DID });
    expect([0, 1, 2].map((i) => rig.translate(PAGE, { requester: BDF + i }).page)).toEqual([OTHER, OTHER, HOST]);
  });
  test("the realistic cache keeps the tables of a domain's sources apart, by place and by levels", () => {
    const rig = new Rig({ cap: { SAGAW: 0b1110, MGAW: 56 } });
    // One table read with three, four and five levels, and its neighbours.
    const top = rig.page();
    const tables = [[top, 1], [top, 2], [top, 3], [rig.page(), 1], [rig.page(), 2], [rig.page(), 3]] as const;
    for (const [i, [table, AW]] of tables.entries()) {
      rig.context({ SSPTPTR: table, AW }, BDF + i);
      rig.mapSecond(table, 2 ** 18 * (i + 1) + 7, HOST + i, { levels: AW + 2 });
    }
    rig.start();
    const alone = tables.map((_, i) => tables.map((__, j) => rig.fault(2 ** 18 * (j + 1) + 7, { requester: BDF + i })));
    const again = tables.map((_, i) => tables.map((__, j) => rig.fault(2 ** 18 * (j + 1) + 7, { requester: BDF + i })));
    expect(again).toEqual(alone);
    for (const [i] of tables.entries()) expect(rig.translate(2 ** 18 * (i + 1) + 7, { requester: BDF + i }).page).toBe(HOST + i);
    const { iotlbMisses } = rig.unit.totals;
    for (const [i] of tables.entries()) rig.translate(2 ** 18 * (i + 1) + 7, { requester: BDF + i });
    expect(rig.unit.totals.iotlbMisses).toBe(iotlbMisses);
  });
  test("so it does with first-stage tables under one PASID", () => {
    const rig = new Rig({ base: SCALABLE });
    const top = rig.page();
    const tables = [[top, 0], [top, 1], [rig.page(), 0], [rig.page(), 1]] as const;
    for (const [i, [table, FSPM]] of tables.entries()) {
      const { directory } = rig.scalableContext({}, BDF + i);
      rig.pasid(directory, 0, { PGTT: 1, FSPM, FSPTPTR: table, PWSNP: 1 });
      rig.mapFirst(table, 2 ** 18 * (i + 1) + 7, HOST + i, { levels: 4 + FSPM });
    }
    rig.start(1);
    for (let again = 0; again < 2; again++) for (const [i] of tables.entries()) expect(rig.translate(2 ** 18 * (i + 1) + 7, { requester: BDF + i }).page).toBe(HOST + i);
    expect(tables.map((_, i) => rig.fault(2 ** 18 * (((i + 1) % 4) + 1) + 7, { requester: BDF + i }))).toEqual([0x71, 0x71, 0x71, 0x71]);
  });
  test("a right that a cached translation lacks: adversarial insists on it, realistic walks again", () => {
    const outcome = (caches: CachePolicy): number => {
      const rig = legacyRig({ caches });
      rig.mapSecond(rig.table, PAGE, HOST, { leaf: { W: 0 } });
      rig.translate(PAGE);
      rig.mapSecond(rig.table, PAGE, HOST);
      return rig.fault(PAGE, { access: Access.Write });
    };
    expect([outcome("none"), outcome("realistic"), outcome("adversarial")]).toEqual([0, 0, 0x05]);
  });
  test("the realistic IOTLB holds as many translations of a set as it has ways, the adversarial all", () => {
    const kept = (caches: CachePolicy): number => {
      const rig = legacyRig({ caches, iotlb: { sets: 4, ways: 2 } });
      for (let i = 0; i < 5; i++) rig.mapSecond(rig.table, PAGE + 4 * i, HOST + i);
      for (let i = 0; i < 5; i++) rig.translate(PAGE + 4 * i);
      for (let i = 0; i < 5; i++) rig.mapSecond(rig.table, PAGE + 4 * i, OTHER + i);
      return [4, 3, 2, 1, 0].filter((i) => rig.translate(PAGE + 4 * i).page === HOST + i).length;
    };
    expect([kept("realistic"), kept("adversarial")]).toEqual([2, 5]);
  });
  test("unless said otherwise it has 64 sets of 4 ways", () => {
    const rig = legacyRig();
    const pages = Array.from({ length: 5 }, (_, i) => 0x1000 + 64 * i);
    for (const page of pages) rig.mapSecond(rig.table, page, HOST);
    const misses = (...asked: number[]): number => {
      const before = rig.unit.totals.iotlbMisses;
      for (const page of asked) rig.translate(page);
      return rig.unit.totals.iotlbMisses - before;
    };
    expect([misses(...pages.slice(0, 4)), misses(...pages.slice(0, 4)), misses(pages[4] as number), misses(pages[4] as number), misses(pages[0] as number)]).toEqual([4, 0, 1, 0, 1]);
    const neighbours = Array.from({ length: 256 }, (_, i) => 0x2000 + i);
    for (const page of neighbours) rig.mapSecond(rig.table, page, HOST);
    expect([misses(...neighbours), misses(...neighbours)]).toEqual([256, 0]);
  });
  test.each(CACHING)("%s: a write to a page that is dirty already, or has no dirty bit, walks no table", (caches) => {
    for (const SSADE of [0, 1]) {
      const rig = scalableRig({ caches, pasid: { SSADE } });
      const at = rig.mapSecond(rig.second, PAGE, HOST).at(-1) as number;
      // Every second request has a PASID, so that none is like the one before it.
      const asked = [Access.Write, Access.Write, Access.Read, Access.Write, Access.Write].map((access, i) => rig.fault(PAGE, { access, ...(i % 2 === 0 ? {} : { pasid: 0 }) }));
      expect([...asked, rig.unit.totals.iotlbMisses, (rig.memory.read32(at) >>> 8) & 3]).toEqual([0, 0, 0, 0, 0, 1, 3 * SSADE]);
    }
  });
  test("rights that the adversarial cache insists on are missed as in the tables (VT-d §7.1.3)", () => {
    const { Read, Write, Execute, Privileged } = Access;
    const outcome = (pasid: Record<string, number>, leaf: Record<string, number>, accesses: readonly Access[]): number[] => {
      const rig = scalableRig({ caches: "adversarial", ecap: { ERS: 1 }, pasid: { SRE: 1, ERE: 1, NXE: 1, WPE: 1, ...pasid } });
      const map = (fields: Record<string, number>): void => {
        if (pasid.PGTT === 1) rig.mapFirst(rig.first, PAGE, HOST, { leaf: { A: 1, D: 1, ...fields } });
        else for (const entry of rig.mapSecond(rig.second, PAGE, HOST, { leaf: { X: 1, ...fields } }).slice(0, 3)) rig.memory.write32(entry, rig.memory.read32(entry) | 4);
      };
      map(leaf);
      // Something that the tables allow fills the cache; then they allow everything.
      expect(rig.fault(PAGE, { pasid: 0, access: pasid.PGTT === 1 ? Read | Privileged : leaf.R === 0 ? Write : Read })).toBe(0);
      map({});
      return accesses.map((access) => rig.fault(PAGE, { pasid: 0, access }));
    };
    expect(outcome({ PGTT: 1 }, { US: 0 }, [Read, Write, Read | Execute, Read | Privileged, Write | Privileged])).toEqual([0x81, 0x81, 0x81, 0, 0]);
    expect(outcome({ PGTT: 1 }, { RW: 0 }, [Read, Write, Read | Write, Read | Execute, Write | Privileged])).toEqual([0, 0x85, 0x85, 0, 0x85]);
    expect(outcome({ PGTT: 1 }, { XD: 1 }, [Read, Write, Read | Execute, Read | Execute | Privileged])).toEqual([0, 0, 0x82, 0x82]);
    expect(outcome({ PGTT: 2 }, { W: 0 }, [Read, Write, Read | Write])).toEqual([0, 0x85, 0x85]);
    expect(outcome({ PGTT: 2 }, { R: 0 }, [Read, Write, Read | Write])).toEqual([0x86, 0, 0x86]);
    const legacy = legacyRig({ caches: "adversarial" });
    legacy.mapSecond(legacy.table, PAGE, HOST, { leaf: { R: 0 } });
    expect(legacy.fault(PAGE, { access: Write })).toBe(0);
    legacy.mapSecond(legacy.table, PAGE, HOST);
    expect([legacy.fault(PAGE), legacy.fault(PAGE, { access: Read | Write }), legacy.fault(PAGE, { access: Write })]).toEqual([0x06, 0x06, 0]);
  });
  test("a page-selective invalidation needs PSI and an AM up to MAMV", () => {
    expect(iotlbByRegister(legacyRig({ cap: { PSI: 0 } }), { IIRG: 3, DID }, { ADDR: PAGE })).toBe(0);
    expect(iotlbByRegister(legacyRig(), { IIRG: 3, DID }, { ADDR: PAGE, AM: 19 })).toBe(0);
    expect(iotlbByRegister(legacyRig(), { IIRG: 3, DID }, { ADDR: PAGE, AM: 18 })).toBe(3);
    expect(iotlbByRegister(legacyRig(), { IIRG: 0, DID })).toBe(0);
  });
  test("register-based invalidation is ignored while the queue is on", () => {
    const rig = legacyRig().queue();
    rig.mapSecond(rig.table, PAGE, HOST);
    rig.translate(PAGE);
    remap(rig);
    expect([iotlbByRegister(rig, { IIRG: 1 }), contextByRegister(rig, { CIRG: 1 })]).toEqual([0, 0]);
    expect(rig.translate(PAGE).page).toBe(HOST);
  });
  test("the command starts with the half that has IVT, and not without", () => {
    const rig = legacyRig();
    rig.mapSecond(rig.table, PAGE, HOST);
    rig.translate(PAGE);
    remap(rig);
    const at = rig.offset(IOTLB_REG);
    rig.unit.registers.write(at, 4, 0);
    rig.unit.registers.write(at + 4, 4, 0x1000_0000);
    expect(rig.translate(PAGE).page).toBe(HOST);
    rig.unit.registers.write(at + 4, 4, 0x9000_0000);
    expect(rig.translate(PAGE).page).toBe(OTHER);
    expect(rig.unit.registers.read(at + 4, 4)).toBe(0x1200_0000);
  });
});

describe("paging-structure caches (VT-d §6.2.4)", () => {
  /** Moves PAGE's last-level table, then looks at a page of it that no IOTLB entry covers. */
  const moveTable = (rig: Legacy): void => {
    const entries = rig.mapSecond(rig.table, PAGE, HOST);
    rig.mapSecond(rig.table, PAGE + 1, HOST + 1);
    rig.translate(PAGE);
    const fresh = rig.page();
    rig.put(SECOND_STAGE_ENTRY, entries[2] as number, { R: 1, W: 1, ADDR: fresh });
    rig.mapSecond(rig.table, PAGE + 1, OTHER);
  };
  test.each(CACHING)("%s: a table that moved is walked in its old place until its address is invalidated without IH", (caches) => {
    const rig = legacyRig({ caches });
    moveTable(rig);
    expect(rig.translate(PAGE + 1).page).toBe(HOST + 1);
    iotlbByRegister(rig, { IIRG: 3, DID }, { ADDR: PAGE, IH: 1 });
    iotlbByRegister(rig, { IIRG: 3, DID }, { ADDR: PAGE + 1, IH: 1 });
    expect(rig.translate(PAGE + 1).page).toBe(HOST + 1);
    iotlbByRegister(rig, { IIRG: 3, DID }, { ADDR: PAGE + 1 });
    expect(rig.translate(PAGE + 1).page).toBe(OTHER);
  });
  test("the adversarial cache forgets the way to the pages named, and no other: the last and the first page of tables", () => {
    const outcomes = (ADDR: number, AM: number, offset: number): boolean[] => {
      // Pages of six tables that follow each other, each table moved to an empty one meanwhile.
      const tables = [0x400, 0x600, 0x800, 0xa00, 0xc00, 0xe00];
      const rig = legacyRig({ caches: "adversarial" });
      const entries = tables.map((table) => rig.mapSecond(rig.table, table + offset, HOST)[2] as number);
      for (const table of tables) rig.mapSecond(rig.table, table + 9, HOST);
      for (const table of tables) rig.translate(table + offset);
      for (const entry of entries) rig.put(SECOND_STAGE_ENTRY, entry, { R: 1, W: 1, ADDR: rig.page() });
      iotlbByRegister(rig, { IIRG: 3, DID }, { ADDR, AM });
      return tables.map((table) => rig.fault(table + 9) === 0);
    };
    for (const offset of [0, 511]) {
      expect(outcomes(0x9ff, 0, offset)).toEqual([true, true, false, true, true, true]);
      expect(outcomes(0xa00, 0, offset)).toEqual([true, true, true, false, true, true]);
      expect(outcomes(0xa00, 3, offset)).toEqual([true, true, true, false, true, true]);
      expect(outcomes(0x800, 9, offset)).toEqual([true, true, false, true, true, true]);
      expect(outcomes(0x800, 10, offset)).toEqual([true, true, false, false, true, true]);
      expect(outcomes(0xc00, 10, offset)).toEqual([true, true, true, true, false, false]);
      expect(outcomes(0x400, 10, offset)).toEqual([false, false, true, true, true, true]);
      expect(outcomes(0x2000, 10, offset)).toEqual([true, true, true, true, true, true]);
    }
  });
  test.each(CACHING)("%s: a table of level 2 is remembered for pages of all its tables", (caches) => {
    const rig = legacyRig({ caches });
    const entries = rig.mapSecond(rig.table, PAGE, HOST);
    rig.mapSecond(rig.table, PAGE + 512, HOST + 1);
    rig.translate(PAGE);
    rig.put(SECOND_STAGE_ENTRY, entries[1] as number, { R: 1, W: 1, ADDR: rig.page() });
    expect(rig.translate(PAGE + 512).page).toBe(HOST + 1);
    iotlbByRegister(rig, { IIRG: 3, DID }, { ADDR: PAGE + 512 });
    expect(rig.fault(PAGE + 512)).toBe(0x06);
  });
  test.each(CACHING.flatMap((caches) => [1, 2].map((level) => ({ caches, level }))))("$caches: a large page named takes the way to the tables of level $level it is in", ({ caches, level }) => {
    const rig = legacyRig({ caches });
    const entries = rig.mapSecond(rig.table, PAGE, HOST);
    rig.mapSecond(rig.table, PAGE + 1, HOST + 1);
    rig.translate(PAGE);
    // The table of that level is elsewhere now, and empty.
    rig.put(SECOND_STAGE_ENTRY, entries[3 - level] as number, { R: 1, W: 1, ADDR: rig.page() });
    iotlbByRegister(rig, { IIRG: 3, DID }, { ADDR: 0, AM: 9 });
    expect(rig.fault(PAGE + 1)).toBe(caches === "adversarial" ? 0 : 0x06);
    iotlbByRegister(rig, { IIRG: 3, DID }, { ADDR: PAGE - (PAGE % 2 ** 18), AM: 18 });
    expect(rig.fault(PAGE + 1)).toBe(0x06);
  });
  test.each(CACHING.flatMap((caches) => [1, 3].flatMap((PGTT) => [1, 2].map((level) => ({ caches, PGTT, level })))))("$caches, PGTT=$PGTT: a first-stage table of level $level that moved is walked in its old place until its address is invalidated", ({ caches, PGTT, level }) => {
    const rig = scalableRig({ caches, pasid: { PGTT } }).queue({ wide: true });
    if (PGTT === 3) rig.mapSecond(rig.second, 0, 0, { leafLevel: 3 });
    const entries = rig.mapFirst(rig.first, PAGE, HOST);
    rig.mapFirst(rig.first, PAGE + 1, HOST + 1, { leaf: { A: 1 } });
    rig.translate(PAGE);
    rig.put(FIRST_STAGE_ENTRY, entries[3 - level] as number, { P: 1, RW: 1, US: 1, ADDR: rig.page() });
    rig.submit(invalidatePasidIotlb({ G: 3, DID, PASID: 0, ADDR: PAGE + 1, IH: 1 }), invalidatePasidIotlb({ G: 3, DID, PASID: 0, ADDR: 2 ** 35 }), invalidatePasidIotlb({ G: 3, DID, PASID: 1, ADDR: PAGE }));
    expect([rig.translate(PAGE + 1).page, rig.fault(PAGE + 1)]).toEqual([HOST + 1, 0]);
    rig.submit(invalidatePasidIotlb({ G: 3, DID, PASID: 0, ADDR: PAGE + 1 }));
    expect(rig.fault(PAGE + 1)).toBe(0x71);
  });
  test.each(CACHING)("%s: rights above a remembered first-stage table still count", (caches) => {
    const { Read, Write, Execute } = Access;
    for (const [bit, access, fault] of [[1, Write, 0x85], [2, Read, 0x81], [63, Read | Execute, 0x82]] as const) {
      const rig = scalableRig({ caches, ecap: { ERS: 1 }, pasid: { PGTT: 1, NXE: 1, ERE: 1, SRE: 1 } });
      rig.flip(rig.mapFirst(rig.first, PAGE, HOST)[0] as number, bit);
      rig.mapFirst(rig.first, PAGE + 1, HOST);
      expect(rig.fault(PAGE, { pasid: 0, access: Read | Access.Privileged })).toBe(0);
      expect(rig.fault(PAGE + 1, { pasid: 0, access })).toBe(fault);
    }
  });
  test.each(CACHING)("%s: a domain invalidation takes them", (caches) => {
    const rig = legacyRig({ caches });
    moveTable(rig);
    iotlbByRegister(rig, { IIRG: 2, DID });
    expect(rig.translate(PAGE + 1).page).toBe(OTHER);
  });
  test.each(CACHING)("%s: rights above a remembered table still count", (caches) => {
    const rig = legacyRig({ caches });
    rig.flip(rig.mapSecond(rig.table, PAGE, HOST)[0] as number, 1);
    rig.mapSecond(rig.table, PAGE + 1, HOST);
    rig.translate(PAGE);
    expect(rig.fault(PAGE + 1, { access: Access.Write })).toBe(0x05);
  });
});

describe("context-cache (VT-d §6.2.2, §6.5.2.1)", () => {
  const forms = [
    { name: "global", fields: { CIRG: 1 }, hits: true },
    { name: "its domain", fields: { CIRG: 2, DID }, hits: true },
    { name: "another domain", fields: { CIRG: 2, DID: DID + 1 }, hits: false },
    { name: "its source", fields: { CIRG: 3, DID, SID: BDF }, hits: true },
    { name: "another function", fields: { CIRG: 3, DID, SID: BDF ^ 4 }, hits: false },
    { name: "another function, bit 2 ignored", fields: { CIRG: 3, DID, SID: BDF ^ 4, FM: 1 }, hits: true },
    { name: "another function, bit 1 not ignored", fields: { CIRG: 3, DID, SID: BDF ^ 2, FM: 1 }, hits: false },
    { name: "another function, bits 2:1 ignored", fields: { CIRG: 3, DID, SID: BDF ^ 6, FM: 2 }, hits: true },
    { name: "another function, bit 0 not ignored", fields: { CIRG: 3, DID, SID: BDF ^ 1, FM: 2 }, hits: false },
    { name: "any function", fields: { CIRG: 3, DID, SID: BDF ^ 7, FM: 3 }, hits: true },
    { name: "another device", fields: { CIRG: 3, DID, SID: BDF ^ 8, FM: 3 }, hits: false },
    { name: "its source under another domain", fields: { CIRG: 3, DID: DID + 1, SID: BDF }, hits: false },
  ];
  test.each(CACHING.flatMap((caches) => forms.map((form) => ({ caches, ...form }))))("$caches: invalidating $name", ({ caches, fields, hits }) => {
    for (const queued of [false, true]) {
      const rig = legacyRig({ caches });
      if (queued) rig.queue();
      rig.mapSecond(rig.table, PAGE, HOST);
      rig.translate(PAGE);
      rig.flip(rig.entries.context, 0);
      expect(rig.fault(PAGE)).toBe(0);
      const { CIRG, ...rest } = fields;
      if (queued) rig.submit(invalidateContext({ G: CIRG, ...rest }));
      else expect(contextByRegister(rig, fields)).toBe(CIRG);
      expect(rig.fault(PAGE)).toBe(hits ? 0x02 : 0);
    }
  });
  test("a granularity of 0 does nothing and says so", () => {
    expect(contextByRegister(legacyRig(), { CIRG: 0, DID })).toBe(0);
  });
  test("more sources than the realistic cache holds, each with a domain and tables of its own", () => {
    const rig = new Rig({ iotlb: { sets: 64, ways: 8 } });
    const sources = Array.from({ length: 260 }, (_, i) => 0x100 + i);
    for (const [i, source] of sources.entries()) {
      const SSPTPTR = rig.page();
      rig.context({ SSPTPTR, AW: 1, DID: i }, source);
      rig.mapSecond(SSPTPTR, PAGE, HOST + i, { levels: 3 });
    }
    rig.start();
    for (let again = 0; again < 2; again++) expect(sources.map((requester) => rig.translate(PAGE, { requester }).page)).toEqual(sources.map((_, i) => HOST + i));
  });
  test("the realistic cache forgets the oldest source, and what it forgot is read anew", () => {
    const rig = new Rig();
    const table = rig.page();
    for (let i = 0; i < 300; i++) rig.context({ SSPTPTR: table }, 0x100 + i);
    rig.mapSecond(table, PAGE, HOST);
    rig.start();
    for (let i = 0; i < 300; i++) expect(rig.fault(PAGE, { requester: 0x100 + i })).toBe(0);
    expect(rig.unit.totals.contextMisses).toBe(300);
    rig.translate(PAGE, { requester: 0x100 + 299 });
    expect(rig.unit.totals.contextMisses).toBe(300);
    rig.translate(PAGE, { requester: 0x100 });
    expect(rig.unit.totals.contextMisses).toBe(301);
  });
});

describe("scalable-mode caches (VT-d §6.5.2.2 to §6.5.2.4)", () => {
  const first = (caches: CachePolicy, pasids: readonly number[]): Scalable & { tables: number[] } => {
    const rig = scalableRig({ caches, pasid: { PGTT: 1 } }).queue({ wide: true });
    const tables = pasids.map((pasid) => {
      const table = rig.page();
      rig.pasid(rig.at.directory - (rig.at.directory % 4096), pasid, { PGTT: 1, FSPTPTR: table, PWSNP: 1 });
      rig.mapFirst(table, PAGE, HOST);
      return table;
    });
    return Object.assign(rig, { tables });
  };
  const pages = (rig: Scalable, pasids: readonly number[]): number[] => pasids.map((pasid) => rig.translate(PAGE, { pasid }).page);
  const PASIDS = [3, 70] as const;
  const forms = [
    { name: "all of PASID 3", descriptor: invalidatePasidIotlb({ G: 2, DID, PASID: 3 }), pages: [OTHER, HOST] },
    { name: "a page of PASID 3", descriptor: invalidatePasidIotlb({ G: 3, DID, PASID: 3, ADDR: PAGE }), pages: [OTHER, HOST] },
    { name: "another page of PASID 3", descriptor: invalidatePasidIotlb({ G: 3, DID, PASID: 3, ADDR: PAGE + 1 }), pages: [HOST, HOST] },
    { name: "pages of PASID 70, AM past MAMV", descriptor: invalidatePasidIotlb({ G: 3, DID, PASID: 70, ADDR: 0, AM: 20 }), pages: [HOST, OTHER] },
    { name: "PASID 3 of another domain", descriptor: invalidatePasidIotlb({ G: 2, DID: DID + 1, PASID: 3 }), pages: [HOST, HOST] },
    { name: "the domain", descriptor: invalidateIotlb({ G: 2, DID }), pages: [OTHER, OTHER] },
    { name: "a page of the domain: first-stage translations go altogether", descriptor: invalidateIotlb({ G: 3, DID, ADDR: PAGE + 99 }), pages: [OTHER, OTHER] },
    { name: "everything", descriptor: invalidateIotlb({ G: 1 }), pages: [OTHER, OTHER] },
    { name: "the PASID-cache alone", descriptor: invalidatePasidCache({ G: 3 }), pages: [HOST, HOST] },
  ];
  test.each(CACHING.flatMap((caches) => forms.map((form) => ({ caches, ...form }))))("$caches: invalidating $name", ({ caches, descriptor, pages: expected }) => {
    const rig = first(caches, PASIDS);
    expect(pages(rig, PASIDS)).toEqual([HOST, HOST]);
    for (const table of rig.tables) rig.mapFirst(table, PAGE, OTHER);
    rig.submit(descriptor, rig.wait());
    expect([rig.waited, pages(rig, PASIDS)]).toEqual([true, expected]);
  });
  const entries = [
    { name: "global", descriptor: invalidatePasidCache({ G: 3 }), faults: [0x59, 0x59] },
    { name: "PASID 3", descriptor: invalidatePasidCache({ G: 1, DID, PASID: 3 }), faults: [0x59, 0] },
    { name: "the domain", descriptor: invalidatePasidCache({ G: 0, DID, PASID: 3 }), faults: [0x59, 0x59] },
    { name: "another domain", descriptor: invalidatePasidCache({ G: 0, DID: DID + 1 }), faults: [0, 0] },
    { name: "PASID 3 of another domain", descriptor: invalidatePasidCache({ G: 1, DID: DID + 1, PASID: 3 }), faults: [0, 0] },
    { name: "the context-cache alone", descriptor: invalidateContext({ G: 1 }), faults: [0, 0] },
  ];
  test.each(CACHING.flatMap((caches) => entries.map((form) => ({ caches, ...form }))))("$caches: PASID-cache, invalidating $name", ({ caches, descriptor, faults }) => {
    const rig = first(caches, PASIDS);
    pages(rig, PASIDS);
    for (const pasid of PASIDS) rig.pasid(rig.at.directory - (rig.at.directory % 4096), pasid, { P: 0 });
    rig.submit(descriptor);
    expect(PASIDS.map((pasid) => rig.fault(PAGE, { pasid }))).toEqual(faults);
  });
  test.each(CACHING)("%s: a scalable context entry stays until the context-cache is invalidated", (caches) => {
    const rig = first(caches, PASIDS);
    pages(rig, PASIDS);
    rig.flip(rig.at.context, 0);
    expect(rig.fault(PAGE, { pasid: 3 })).toBe(0);
    rig.submit(invalidateContext({ G: 3, DID, SID: BDF ^ 1 }));
    expect(rig.fault(PAGE, { pasid: 3 })).toBe(0);
    rig.submit(invalidateContext({ G: 3, DID: DID + 1, SID: BDF }));
    expect(rig.fault(PAGE, { pasid: 3 })).toBe(0x41);
  });
  test("the realistic context-cache holds 256 sources, and forgets the oldest", () => {
    const rig = new Rig({ base: SCALABLE });
    const directory = rig.page();
    rig.pasid(directory * 4096, 0, { PGTT: 4 });
    for (let i = 0; i < 257; i++) rig.scalableContext({ PASIDDIRPTR: directory }, i);
    rig.start(1);
    /** Sources whose context entry is looked at again: it is absent by now. */
    const ask = (...sources: number[]): number[] => sources.filter((source) => rig.fault(PAGE, { requester: source }) !== 0);
    const all = Array.from({ length: 256 }, (_, i) => i);
    expect(ask(...all)).toEqual([]);
    for (let i = 0; i < 257; i++) rig.scalableContext({ PASIDDIRPTR: directory, ...(i < 256 ? { P: 0 } : {}) }, i);
    expect(ask(...all)).toEqual([]);
    expect(ask(256, 1, 255, 256, 0)).toEqual([0]);
  });
  test.each(CACHING)("%s: a source that has never asked is looked up, whatever others had", (caches) => {
    const rig = scalableRig({ caches, pasid: { PGTT: 4 } });
    expect(rig.fault(PAGE)).toBe(0);
    for (const requester of [0, BDF ^ 1, BDF ^ 0x80, BDF ^ 0x100]) expect(rig.fault(PAGE, { requester })).toBe(requester >>> 8 === BDF >>> 8 && (requester & 0x80) === 0 ? 0x41 : 0x39);
  });
  test("what a PASID entry said is gone in legacy mode", () => {
    const rig = scalableRig({ caches: "none", pasid: { PGTT: 3, SSADE: 1, PWSNP: 0, PGSNP: 1, CD: 1, EMTE: 1 }, context: { DTE: 1 } });
    expect(rig.fault(PAGE)).toBe(0x79);
    const table = rig.page();
    const contexts = rig.page();
    const root = rig.page();
    rig.put(ROOT_ENTRY, root * 4096 + 16, { P: 1, CTP: contexts });
    rig.put(CONTEXT_ENTRY, contexts * 4096 + 16 * (BDF & 0xff), { P: 1, AW: 2, DID, SSPTPTR: table });
    const leaf = rig.mapSecond(table, PAGE, HOST).at(-1) as number;
    rig.write(RTADDR_REG, { RTA: root, TTM: 0 });
    rig.command({ SRTP: 1 });
    expect(rig.translate(PAGE, { access: Access.Write })).toMatchObject({ fault: 0, page: HOST, snoop: false, memoryType: 6, permissions: 3 });
    expect([rig.memory.read32(leaf) & 0x300, rig.fault(PAGE, { type: 1 })]).toEqual([0, 0x0d]);
  });
  test.each(CACHING)("%s: second-stage translations belong to the domain: one page-selective invalidation reaches every PASID", (caches) => {
    const rig = scalableRig({ caches }).queue({ wide: true });
    rig.pasid(rig.at.directory, 9, { PGTT: 2, AW: 2, SSPTPTR: rig.second });
    rig.mapSecond(rig.second, PAGE, HOST);
    const both = (): number[] => [rig.translate(PAGE).page, rig.translate(PAGE, { pasid: 9 }).page];
    both();
    rig.mapSecond(rig.second, PAGE, OTHER);
    rig.submit(invalidatePasidIotlb({ G: 2, DID, PASID: 9 }));
    expect(both()).toEqual([HOST, HOST]);
    rig.submit(invalidateIotlb({ G: 3, DID, ADDR: PAGE }));
    expect(both()).toEqual([OTHER, OTHER]);
  });
});

describe("caching mode (VT-d §6.1)", () => {
  test.each([
    { CM: 0, caches: "adversarial", stale: false },
    { CM: 1, caches: "realistic", stale: false },
    { CM: 1, caches: "adversarial", stale: true },
  ] as const)("CM=$CM, $caches: entries that were not present are cached: $stale", ({ CM, caches, stale }) => {
    const rig = legacyRig({ caches, cap: { CM } }).queue();
    expect(rig.fault(PAGE)).toBe(0x06);
    rig.mapSecond(rig.table, PAGE, HOST);
    expect(rig.fault(PAGE)).toBe(stale ? 0x06 : 0);
    rig.submit(invalidateIotlb({ G: 3, DID, ADDR: PAGE }));
    expect(rig.fault(PAGE)).toBe(0);

    rig.context({ P: 0, SSPTPTR: rig.table }, BDF + 1);
    expect(rig.fault(PAGE, { requester: BDF + 1 })).toBe(0x02);
    rig.context({ SSPTPTR: rig.table }, BDF + 1);
    expect(rig.fault(PAGE, { requester: BDF + 1 })).toBe(stale ? 0x02 : 0);
    rig.submit(invalidateContext({ G: 3, DID, SID: BDF + 1 }));
    expect(rig.fault(PAGE, { requester: BDF + 1 })).toBe(stale ? 0x02 : 0);
    rig.submit(invalidateContext({ G: 3, DID: 0, SID: BDF + 1 }));
    expect(rig.fault(PAGE, { requester: BDF + 1 })).toBe(0);
  });
  test("a cached fault is recorded each time, and silenced when its context entry said so", () => {
    const rig = legacyRig({ caches: "adversarial", cap: { CM: 1 }, context: { FPD: 1 } });
    for (let i = 0; i < 2; i++) expect(rig.translate(PAGE)).toMatchObject({ fault: 0x06, recorded: false });
    const told = legacyRig({ caches: "adversarial", cap: { CM: 1 } });
    told.translate(PAGE);
    told.translate(PAGE);
    expect([told.record(0)?.reason, told.record(1)?.reason]).toEqual([0x06, 0x06]);
  });
  test("a cached fault is the source's own, whatever others had meanwhile", () => {
    const rig = legacyRig({ caches: "adversarial", cap: { CM: 1 } });
    rig.context({ P: 0 }, BDF + 1);
    rig.context({ P: 0, FPD: 1 }, BDF + 2);
    rig.context({ TT: 3 }, BDF + 3);
    for (let i = 0; i < 2; i++) expect([1, 2, 3, 0].map((at) => rig.translate(PAGE, { requester: BDF + at }))).toMatchObject([{ fault: 0x02, recorded: true }, { fault: 0x02, recorded: false }, { fault: 0x03, recorded: true }, { fault: 0x06 }]);
    const scalable = scalableRig({ caches: "adversarial", cap: { CM: 1 } });
    scalable.scalableContext({ P: 0 }, BDF + 1);
    scalable.scalableContext({ RID_PASID: 2 ** 19, FPD: 1 }, BDF + 2);
    scalable.pasid(scalable.at.directory, 3, { P: 0 });
    scalable.pasid(scalable.at.directory, 4, { PGTT: 0, FPD: 1 });
    for (let i = 0; i < 2; i++)
      expect([{ requester: BDF + 1 }, { pasid: 3 }, { requester: BDF + 2 }, { pasid: 4 }, { pasid: 64 }].map((options) => scalable.translate(PAGE, options))).toMatchObject([{ fault: 0x41, recorded: true }, { fault: 0x59, recorded: true }, { fault: 0x43, recorded: false }, { fault: 0x5b, recorded: false }, { fault: 0x51, recorded: true }]);
  });
  test.each([
    { name: "legacy second stage, not present", PGTT: 0, leaf: { R: 0, W: 0 }, fault: 0x06 },
    { name: "legacy second stage, reserved", PGTT: 0, leaf: { TM: 1 }, fault: 0x0c },
    { name: "second stage, not present", PGTT: 2, leaf: { R: 0, W: 0 }, fault: 0x79 },
    { name: "second stage, reserved", PGTT: 2, leaf: { TM: 1 }, fault: 0x7a },
    { name: "first stage, not present", PGTT: 1, leaf: { P: 0 }, fault: 0x71 },
    { name: "first stage, reserved", PGTT: 1, leaf: { ADDR: 2 ** 39 }, fault: 0x72 },
    { name: "nested, not present below", PGTT: 3, leaf: { R: 0, W: 0 }, fault: 0x79 },
    { name: "nested, reserved below", PGTT: 3, leaf: { TM: 1 }, fault: 0x7a },
  ])("what is not present or reserved is cached, what lacks a right is not: $name", ({ PGTT, leaf, fault }) => {
    const make = (): { rig: Rig; map: (fields: Record<string, number>) => void } => {
      if (PGTT === 0) {
        const rig = legacyRig({ caches: "adversarial", cap: { CM: 1 } });
        return { rig, map: (fields) => { rig.mapSecond(rig.table, PAGE, HOST, { leaf: fields }); } };
      }
      const rig = scalableRig({ caches: "adversarial", cap: { CM: 1 }, hostAddressWidth: 46, pasid: { PGTT } });
      if (PGTT === 3) {
        rig.mapSecond(rig.second, 0, 0, { leafLevel: 2 });
        rig.mapFirst(rig.first, PAGE, HOST);
      }
      return { rig, map: (fields) => { if (PGTT === 1) rig.mapFirst(rig.first, PAGE, HOST, { leaf: fields }); else rig.mapSecond(rig.second, PGTT === 3 ? HOST : PAGE, HOST, { leaf: fields }); } };
    };
    const { rig, map } = make();
    map(leaf);
    expect(rig.fault(PAGE)).toBe(fault);
    map({});
    for (const page of PGTT === 3 ? [] : [PAGE - 1, PAGE ^ 2, PAGE ^ 8]) {
      // Its neighbours are looked up.
      if (PGTT === 1) rig.mapFirst((rig as Scalable).first, page, HOST);
      else rig.mapSecond(PGTT === 0 ? (rig as Legacy).table : (rig as Scalable).second, page, HOST);
      expect(rig.fault(page)).toBe(0);
    }
    expect([rig.fault(PAGE), rig.fault(PAGE, { access: Access.Write }), rig.fault(PAGE)]).toEqual([fault, fault === 0x06 ? 0x05 : fault, fault]);
    const other = make();
    other.map(PGTT === 1 ? { RW: 0 } : { W: 0 });
    expect(other.rig.fault(PAGE, { access: Access.Write })).toBe(PGTT === 0 ? 0x05 : 0x85);
    other.map({});
    expect(other.rig.fault(PAGE, { access: Access.Write })).toBe(0);
  });
  test("scalable mode: context, PASID and first-stage entries likewise", () => {
    const rig = scalableRig({ caches: "adversarial", cap: { CM: 1 }, pasid: { PGTT: 1 } }).queue({ wide: true });
    expect([rig.fault(PAGE), rig.fault(PAGE, { pasid: 5 }), rig.fault(PAGE, { requester: BDF + 1 })]).toEqual([0x71, 0x59, 0x41]);
    rig.mapFirst(rig.first, PAGE, HOST);
    rig.pasid(rig.at.directory, 5, { PGTT: 4 });
    rig.scalableContext({}, BDF + 1);
    expect([rig.fault(PAGE), rig.fault(PAGE, { pasid: 5 }), rig.fault(PAGE, { requester: BDF + 1 })]).toEqual([0x71, 0x59, 0x41]);
    rig.submit(invalidatePasidIotlb({ G: 3, DID, PASID: 0, ADDR: PAGE }), invalidatePasidCache({ G: 1, DID, PASID: 5 }), invalidateContext({ G: 3, SID: BDF + 1 }));
    expect([rig.fault(PAGE), rig.fault(PAGE, { pasid: 5 }), rig.fault(PAGE, { requester: BDF + 1 })]).toEqual([0, 0, 0x51]);
  });
});

describe("setting the root table pointer (VT-d §11.4.4)", () => {
  test.each([
    { caches: "realistic", ESRTPS: 0, page: OTHER },
    { caches: "adversarial", ESRTPS: 0, page: HOST },
    { caches: "adversarial", ESRTPS: 1, page: OTHER },
  ] as const)("$caches, ESRTPS=$ESRTPS", ({ caches, ESRTPS, page }) => {
    const rig = legacyRig({ caches, cap: { ESRTPS } });
    rig.mapSecond(rig.table, PAGE, HOST);
    rig.translate(PAGE);
    remap(rig);
    rig.command({ SRTP: 1 });
    expect(rig.translate(PAGE).page).toBe(page);
  });
  test("a change of mode keeps nothing", () => {
    const rig = scalableRig({ caches: "adversarial", cap: { ESRTPS: 0 } });
    rig.mapSecond(rig.second, PAGE, HOST);
    expect(rig.fault(PAGE)).toBe(0);
    rig.write(RTADDR_REG, { RTA: ROOT / 4096, TTM: 0 });
    rig.command({ SRTP: 1 });
    expect(rig.fault(PAGE)).not.toBe(0);
  });
});

describe("any policy equals the walk without caches after proper invalidation (VT-d §6)", () => {
  /** One change of the tables, followed by the invalidation that the specification asks for. */
  const change = fc.record({ page: fc.nat(7), host: fc.nat(0xff), leafLevel: fc.constantFrom(1, 1, 1, 2), rights: fc.nat(3), requester: fc.nat(2), domainFlush: fc.boolean(), kind: fc.constantFrom("leaf", "leaf", "leaf", "context") });
  test("over random histories", () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 25 }), fc.constantFrom<0 | 1>(0, 1), (history, CM) => {
        const rigs = (["none", "realistic", "adversarial"] as const).map((caches) => {
          const rig = new Rig({ caches, cap: { CM }, iotlb: { sets: 2, ways: 2 } });
          const tables = [rig.page(), rig.page()];
          for (let i = 0; i < 3; i++) rig.context({ SSPTPTR: tables[i & 1] as number, DID: 1 + (i & 1) }, BDF + i);
          rig.start().queue();
          return { rig, tables };
        });
        for (const { page, host, leafLevel, rights, requester, domainFlush, kind } of history) {
          const outcomes = rigs.map(({ rig, tables }) => {
            if (kind === "context") {
              const side = host & 1;
              const old = 1 + (rig.memory.read32(rig.context({}, BDF + requester).context) ? requester & 1 : 0);
              rig.context({ SSPTPTR: tables[side] as number, DID: 1 + side }, BDF + requester);
              rig.submit(invalidateContext({ G: 1 }), invalidateIotlb({ G: 2, DID: old }), invalidateIotlb({ G: 2, DID: 1 + side }), rig.wait());
            } else {
              const base = page * 0x180;
              const at = leafLevel === 2 ? base - (base % 512) : base;
              rig.mapSecond(tables[requester & 1] as number, at, leafLevel === 2 ? host * 512 : host, { leafLevel, leaf: { R: rights & 1, W: rights >>> 1 } });
              rig.submit(domainFlush ? invalidateIotlb({ G: 2, DID: 1 + (requester & 1) }) : invalidateIotlb({ G: 3, DID: 1 + (requester & 1), ADDR: at, AM: leafLevel === 2 ? 9 : 0 }), rig.wait());
            }
            return Array.from({ length: 3 }, (_, i) =>
              Array.from({ length: 8 }, (__, p) => [Access.Read, Access.Write].map((access) => {
                const { fault, page: to } = rig.translate(p * 0x180 + (host & 7), { requester: BDF + i, access });
                return fault * 2 ** 32 + to;
              })),
            );
          });
          expect(outcomes[1]).toEqual(outcomes[0]);
          expect(outcomes[2]).toEqual(outcomes[0]);
        }
      }),
      { numRuns: 40 },
    );
  });
});
