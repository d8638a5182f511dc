/** What the differential fuzzer makes its programs of ends, whatever its random numbers are. */
import { expect, test } from "vitest";
import { HostTable } from "../../../../scripts/fuzz-qemu/amd/host-table.ts";
import { programOf } from "../../../../scripts/fuzz-qemu/families.ts";
import { Pages } from "../../../../scripts/fuzz-qemu/pages.ts";
import { Random } from "../../../../scripts/fuzz-qemu/random.ts";

/** Addresses are bigints, which JSON has not. */
const plain = (_: string, value: unknown): unknown => (typeof value === "bigint" ? String(value) : value);

test("a host table that many targets fill still has an answer where nothing is mapped, or none", () => {
  let none = 0;
  for (let seed = 0; seed < 100; seed++) {
    const random = new Random(seed);
    const space = new HostTable(random, new Pages(random)).build(1, 400);
    if (space.stray() === undefined) none++;
  }
  expect(none).toBeGreaterThan(0);
});

test("seeds make programs, the same ones each time", () => {
  for (let seed = 0; seed < 500; seed++) expect(programOf(seed).blocks.length).toBeGreaterThan(0);
  expect(JSON.stringify(programOf(7), plain)).toBe(JSON.stringify(programOf(7), plain));
});
