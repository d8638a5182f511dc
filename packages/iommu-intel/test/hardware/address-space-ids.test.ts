import { describe, expect, test } from "vitest";
import { AddressSpaceIds, NO_TAG } from "../../src/hardware/address-space-ids.ts";
import { Changes } from "../../src/hardware/source-caches.ts";

const DOMAIN = 5; // arbitrary
const TABLE = 0x12345; // arbitrary
const PASIDS = [0, 3, 70] as const;
/** Numbers of a domain's second stage and of its PASIDs. */
const idsOf = (spaces: AddressSpaceIds, domain: number): number[] => [NO_TAG, ...PASIDS].map((tag) => spaces.idOf(domain, tag, TABLE));

describe("numbers of address spaces (VT-d §6.2.3)", () => {
  test.each([true, false])("each domain and PASID has one of its own, that stays (by table: %s)", (byTable) => {
    const spaces = new AddressSpaceIds(byTable, new Changes());
    const ids = [...idsOf(spaces, DOMAIN), ...idsOf(spaces, DOMAIN + 1)];
    expect([new Set(ids).size, ids.includes(0)]).toEqual([ids.length, false]);
    expect([...idsOf(spaces, DOMAIN), ...idsOf(spaces, DOMAIN + 1)]).toEqual(ids);
    expect(spaces.epoch).toBe(0);
  });
  test.each([true, false])("the top table is part of the tag: %s", (byTable) => {
    const spaces = new AddressSpaceIds(byTable, new Changes());
    const ids = [TABLE, TABLE + 1, TABLE + 2].map((table) => spaces.idOf(DOMAIN, NO_TAG, table));
    expect(new Set(ids).size).toBe(byTable ? 3 : 1);
    const found = spaces.find(DOMAIN, NO_TAG);
    expect(found?.ids.slice(0, found.count)).toEqual(byTable ? ids : [ids[0]]);
    expect([spaces.find(DOMAIN, 3), spaces.find(DOMAIN + 1, NO_TAG)]).toEqual([undefined, undefined]);
  });
  const invalidations: readonly (readonly [string, (spaces: AddressSpaceIds) => void, readonly boolean[], readonly boolean[]])[] = [
    ["everything", (spaces) => { spaces.invalidateAll(); }, [false, false, false, false], [false, false, false, false]],
    ["the domain", (spaces) => { spaces.invalidateDomain(DOMAIN); }, [false, false, false, false], [true, true, true, true]],
    ["a PASID", (spaces) => { spaces.invalidateTag(DOMAIN, 3); }, [true, true, false, true], [true, true, true, true]],
    ["the second stage", (spaces) => { spaces.invalidateTag(DOMAIN, NO_TAG); }, [false, true, true, true], [true, true, true, true]],
    ["all PASIDs of the domain", (spaces) => { spaces.invalidatePasidsOf(DOMAIN); }, [true, false, false, false], [true, true, true, true]],
    ["a domain that has none", (spaces) => { spaces.invalidateDomain(99); spaces.invalidateTag(99, 3); spaces.invalidatePasidsOf(99); }, [true, true, true, true], [true, true, true, true]],
  ];
  test.each(invalidations.flatMap((each) => [true, false].map((byTable) => [...each, byTable] as const)))("invalidating %s forgets its numbers and no others", (_name, invalidate, own, others, byTable) => {
    const spaces = new AddressSpaceIds(byTable, new Changes());
    const before = [idsOf(spaces, DOMAIN), idsOf(spaces, DOMAIN + 1)] as const;
    const { epoch } = spaces;
    invalidate(spaces);
    const kept = [...own, ...others];
    // Only where a translation may be kept without its table is asked what can still be found.
    if (!byTable) expect([...before[0], ...before[1]].map((id) => spaces.isCurrent(id))).toEqual(kept);
    expect(spaces.epoch > epoch).toBe(kept.includes(false));
    const after = [...idsOf(spaces, DOMAIN), ...idsOf(spaces, DOMAIN + 1)];
    expect(after.map((id, i) => id === [...before[0], ...before[1]][i])).toEqual(kept);
    expect(new Set([...before[0], ...before[1], ...after]).size).toBe(8 + kept.filter((each) => !each).length);
  });
  test("what was forgotten is not found, until it is given a number again", () => {
    const spaces = new AddressSpaceIds(true, new Changes());
    const [second] = idsOf(spaces, DOMAIN);
    spaces.invalidateAll();
    expect([spaces.find(DOMAIN, NO_TAG)?.count, spaces.find(DOMAIN, 3)?.count]).toEqual([0, 0]);
    const again = spaces.idOf(DOMAIN, NO_TAG, TABLE);
    expect(again).not.toBe(second);
    const found = spaces.find(DOMAIN, NO_TAG);
    expect(found?.ids.slice(0, found.count)).toEqual([again]);
  });
  test("after everything, a PASID that is forgotten once more is no other's", () => {
    const spaces = new AddressSpaceIds(false, new Changes());
    idsOf(spaces, DOMAIN);
    spaces.invalidateAll();
    const other = spaces.idOf(DOMAIN + 1, 3, TABLE);
    spaces.invalidateDomain(DOMAIN);
    expect(spaces.isCurrent(other)).toBe(true);
  });
  test("the only number of a domain is its second stage's, as long as there is one and no PASID", () => {
    const spaces = new AddressSpaceIds(true, new Changes());
    const only = (domain = DOMAIN): number => spaces.onlyIdOf(domain);
    expect([only(), only()]).toEqual([0, 0]);
    const first = spaces.idOf(DOMAIN, NO_TAG, TABLE);
    expect([only(), only(), only(DOMAIN + 1), only()]).toEqual([first, first, 0, first]);
    const other = spaces.idOf(DOMAIN + 1, NO_TAG, TABLE);
    expect([only(), only(DOMAIN + 1)]).toEqual([first, other]);
    // A second table; then the domain forgotten and given a number again; then a PASID; then everything forgotten.
    spaces.idOf(DOMAIN, NO_TAG, TABLE + 1);
    expect(only()).toBe(0);
    spaces.invalidateDomain(DOMAIN);
    expect(only()).toBe(0);
    const again = spaces.idOf(DOMAIN, NO_TAG, TABLE);
    expect([only(), again === first]).toEqual([again, false]);
    spaces.idOf(DOMAIN, 3, TABLE);
    expect(only()).toBe(0);
    spaces.invalidateTag(DOMAIN, 3);
    expect(only()).toBe(again);
    spaces.invalidateTag(DOMAIN, NO_TAG);
    expect(only()).toBe(0);
    expect(only(DOMAIN + 1)).toBe(other);
    spaces.invalidateAll();
    expect(only(DOMAIN + 1)).toBe(0);
  });
});
