import { describe, expect, test } from "vitest";
import { iotlbByRegister } from "./register-invalidation.ts";
import { BDF, DID, legacyRig, scalableRig } from "./rig.ts";

const PAGE = 0x1_2345; // arbitrary
const HOST = 0x2345; // arbitrary

describe("what is in the caches, for people", () => {
  test.each(["realistic", "adversarial"] as const)("%s: what a request leaves, until it is invalidated", (caches) => {
    const rig = legacyRig({ caches });
    rig.mapSecond(rig.table, PAGE, HOST);
    rig.mapSecond(rig.table, 0x4_0000, 0x8_0000, { leafLevel: 2, leaf: { W: 0 } });
    expect(rig.unit.cacheContents).toEqual({ sources: [], translations: [], tables: [] });
    rig.translate(PAGE);
    rig.translate(0x4_0003);
    const { sources, translations, tables } = rig.unit.cacheContents;
    expect(sources).toEqual([{ requester: BDF, pasid: -1, domain: DID }]);
    expect(translations.toSorted((a, b) => a.page - b.page)).toEqual([
      { domain: DID, pasid: -1, page: PAGE, hostPage: HOST, pageShift: 12, rights: 3 },
      { domain: DID, pasid: -1, page: 0x4_0000, hostPage: 0x8_0000, pageShift: 21, rights: 1 },
    ]);
    expect(tables).toContainEqual({ domain: DID, pasid: -1, level: 1, page: PAGE - (PAGE % 512), table: expect.any(Number) as number });
    iotlbByRegister(rig, { IIRG: 3, DID }, { ADDR: PAGE });
    expect(rig.unit.cacheContents.translations.map(({ page }) => page)).toEqual([0x4_0000]);
    iotlbByRegister(rig, { IIRG: 2, DID });
    expect(rig.unit.cacheContents).toMatchObject({ translations: [], tables: [] });
  });
  test("pages past 8 TiB keep their numbers", () => {
    const rig = legacyRig({ hostAddressWidth: 52 });
    rig.mapSecond(rig.table, PAGE, 2 ** 33 + 5);
    rig.translate(PAGE);
    expect(rig.unit.cacheContents.translations).toMatchObject([{ page: PAGE, hostPage: 2 ** 33 + 5 }]);
  });
  test("in scalable mode the context entry names no domain; translations of a PASID have it as their tag", () => {
    const rig = scalableRig({ caches: "adversarial", pasid: { PGTT: 1 }, pasidValue: 3 });
    rig.mapFirst(rig.first, PAGE, HOST);
    rig.translate(PAGE, { pasid: 3 });
    expect(rig.unit.cacheContents).toMatchObject({ sources: [{ requester: BDF, pasid: -1, domain: undefined }, { requester: BDF, pasid: 3, domain: DID }], translations: [{ domain: DID, pasid: 3, page: PAGE, hostPage: HOST }] });
  });
  test("without caches there is nothing", () => {
    const rig = legacyRig({ caches: "none" });
    rig.mapSecond(rig.table, PAGE, HOST);
    rig.translate(PAGE);
    expect(rig.unit.cacheContents).toEqual({ sources: [], translations: [], tables: [] });
    const scalable = scalableRig({ caches: "none" });
    scalable.mapSecond(scalable.second, PAGE, HOST);
    scalable.translate(PAGE);
    expect(scalable.unit.cacheContents).toEqual({ sources: [], translations: [], tables: [] });
  });
});
