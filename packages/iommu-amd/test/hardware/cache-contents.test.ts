import { describe, expect, test } from "vitest";
import { ALL_PAGES, DEVICE, DOMAIN, guestRig, hostRig, PASID } from "./rig.ts";

const PAGE = 0x1_2345; // arbitrary
const HOST = 0x2345; // arbitrary

describe("what is in the caches, for people", () => {
  test.each(["realistic", "adversarial"] as const)("%s: what a request leaves, until it is invalidated", (caches) => {
    const rig = hostRig({ caches });
    rig.mapHost(rig.table, PAGE, HOST);
    rig.mapHost(rig.table, 0x4_0000, 0x8_0000, { steps: [4, 3, 2], leaf: { IW: 0 } });
    expect(rig.iommu.cacheContents).toEqual({ sources: [], translations: [], tables: [] });
    rig.translate(PAGE);
    rig.translate(0x4_0003);
    const { sources, translations, tables } = rig.iommu.cacheContents;
    expect(sources).toEqual([{ requester: DEVICE, pasid: -1, domain: DOMAIN }]);
    expect(translations.toSorted((a, b) => a.page - b.page)).toEqual([
      { domain: DOMAIN, pasid: -1, page: PAGE, hostPage: HOST, pageShift: 12, rights: 3 },
      { domain: DOMAIN, pasid: -1, page: 0x4_0000, hostPage: 0x8_0000, pageShift: 21, rights: 1 },
    ]);
    for (const level of caches === "realistic" ? [1] : [1, 2]) expect(tables).toContainEqual({ domain: DOMAIN, pasid: -1, level, page: PAGE - (PAGE % 512 ** level), table: expect.any(Number) as number });
    rig.invalidatePages({ Address: PAGE });
    expect(rig.iommu.cacheContents.translations.map(({ page }) => page)).toEqual([0x4_0000]);
    rig.invalidatePages({ ...ALL_PAGES });
    rig.invalidateDevice();
    expect(rig.iommu.cacheContents).toEqual({ sources: [], translations: [], tables: [] });
  });
  test("translations of a PASID have it as their tag", () => {
    const rig = guestRig({ caches: "adversarial" });
    rig.mapGuest(rig.guest, PAGE, HOST);
    rig.translate(PAGE, { pasid: PASID });
    expect(rig.iommu.cacheContents.translations).toMatchObject([{ domain: DOMAIN, pasid: PASID, page: PAGE, hostPage: HOST }]);
  });
  test("without caches there is nothing", () => {
    const rig = hostRig({ caches: "none" });
    rig.mapHost(rig.table, PAGE, HOST);
    rig.translate(PAGE);
    expect(rig.iommu.cacheContents).toEqual({ sources: [], translations: [], tables: [] });
  });
});
