import { Access } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { FIRST_STAGE_ENTRY, SECOND_STAGE_ENTRY } from "../../src/layouts/index.ts";
import { iotlbByRegister } from "./register-invalidation.ts";
import { DID, invalidatePasidIotlb, legacyRig, scalableRig } from "./rig.ts";

const PAGE = 0x12345; // arbitrary
const HOST = 0x2345; // arbitrary
const OTHER = 0x3456; // arbitrary
const CACHING = ["realistic", "adversarial"] as const;
type Legacy = ReturnType<typeof legacyRig>;

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
  // The realistic cache keeps tables of level 1 alone.
  test("adversarial: a table of level 2 is remembered for pages of all its tables", () => {
    const rig = legacyRig({ caches: "adversarial" });
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
