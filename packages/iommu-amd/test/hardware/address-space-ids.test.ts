import { describe, expect, test } from "vitest";
import { AddressSpaceIds, NO_TAG } from "../../src/hardware/address-space-ids.ts";

const DOMAIN = 5; // arbitrary
const TABLE = 0x12345; // arbitrary

describe("numbers of address spaces (AMD-Vi §2.4.3)", () => {
  test("the only number of a domain is its host table's, as long as there is one and no PASID", () => {
    const spaces = new AddressSpaceIds(true);
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
