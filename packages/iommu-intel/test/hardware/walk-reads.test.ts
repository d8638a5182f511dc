/**
 * How often a walk looks at memory: each table once when nothing has to be said or set, so that the walk that is written for
 * that is the one taken (VT-d §3.6, §3.7, §3.8 say what it reads).
 */
import { Access } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { legacyRig, scalableRig, type RequestOptions, type Rig } from "./rig.ts";

const PAGE = 2 ** 27 + 0x4_0201; // different indexes at every level
const HOST = 0x3_0000;
const { Read, Write } = Access;

/** Tables that a request's walk looks at, after the caches of its source have been filled. */
const looks = (rig: Rig, page: number, options: RequestOptions = {}): number => {
  rig.translate(0x7_0000, options);
  const wordsOf = rig.memory.wordsOf.bind(rig.memory);
  let count = 0;
  rig.memory.wordsOf = (pfn) => {
    count++;
    return wordsOf(pfn);
  };
  expect(rig.translate(page, options)).toMatchObject({ fault: 0 });
  rig.memory.wordsOf = wordsOf;
  return count;
};

describe("second stage", () => {
  for (const leafLevel of [1, 2, 3])
    for (const access of [Read, Write, Read | Write])
      test(`a leaf of level ${leafLevel}, access ${access}`, () => {
        const rig = legacyRig();
        rig.mapSecond(rig.table, PAGE, 0x4_0000, { leafLevel });
        expect(looks(rig, PAGE, { access })).toBe(5 - leafLevel);
      });
  test("a table of the last level that is known is read alone", () => {
    const rig = legacyRig();
    rig.mapSecond(rig.table, PAGE, HOST);
    rig.mapSecond(rig.table, PAGE + 1, HOST + 1);
    rig.translate(PAGE);
    expect(looks(rig, PAGE + 1)).toBe(1);
  });
  test("accessed and dirty bits that are set already", () => {
    const rig = scalableRig({ pasid: { PGTT: 2, SSADE: 1 } });
    for (const entry of rig.mapSecond(rig.second, PAGE, HOST, { leaf: { A: 1, D: 1 } }).slice(0, -1)) rig.flip(entry, 8);
    expect(looks(rig, PAGE, { access: Write })).toBe(4);
  });
});

describe("first stage", () => {
  const entries = (rig: Rig & { readonly first: number }, leafLevel: number, host = 0x4_0000): void => {
    const path = rig.mapFirst(rig.first, PAGE, host, { leafLevel, leaf: { A: 1, D: 1 } });
    for (const entry of path.slice(0, -1)) rig.flip(entry, 5);
  };
  for (const leafLevel of [1, 2, 3])
    for (const access of [Read, Write])
      test(`a leaf of level ${leafLevel}, access ${access}`, () => {
        const rig = scalableRig({ pasid: { PGTT: 1 } });
        entries(rig, leafLevel);
        expect(looks(rig, PAGE, { access })).toBe(5 - leafLevel);
      });
  for (const access of [Read, Write])
    test(`nested, access ${access}: a second-stage walk for every table and for the page`, () => {
      const rig = scalableRig({ pasid: { PGTT: 3 } });
      rig.mapSecond(rig.second, 0, 0, { leafLevel: 3 });
      entries(rig, 1, HOST);
      // The gigabyte is found in two reads, five times.
      expect(looks(rig, PAGE, { access })).toBe(4 + 5 * 2);
    });
  test("a table of the last level that is known is read alone", () => {
    const rig = scalableRig({ pasid: { PGTT: 1 } });
    entries(rig, 1);
    rig.mapFirst(rig.first, PAGE + 1, HOST, { leaf: { A: 1, D: 1 } });
    rig.translate(PAGE, { access: Write });
    expect(looks(rig, PAGE + 1, { access: Write })).toBe(1);
  });
});
