import { Access, type CachePolicy } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FIRST_STAGE_ENTRY, SECOND_STAGE_ENTRY } from "../../src/layouts/index.ts";
import { walkFirstStage, walkSecondStage, type ReferenceResult, type ReferenceSettings } from "./reference-walk.ts";
import { RAM, scalableRig, type Rig } from "./rig.ts";

/** Pages whose indexes are small and whose tables overlap much; the last is at the end of a width. */
const PAGES = [0, 1, 0x1ff, 0x200, 0x3_ffff, 0x4_0000, 0x4_0201, 2 ** 27, 2 ** 35 + 0x201, 2 ** 36 - 1, 2 ** 36, 2 ** 44 + 1, 2 ** 45] as const;
const HALF_UP = 2 ** 52 - 2 ** 35;
const FIRST_PAGES = [...PAGES, HALF_UP, HALF_UP + 0x201, 2 ** 52 - 1] as const;
/** Where entries may point: data, tables nowhere, the interrupt range, pages past 16 TiB. */
const TARGETS = [0x3000, 0x3200, 0x4_0000, 0x8_0000, 0xf_ee01, 0xf_ef00, RAM / 4096 + 1, 2 ** 33 + 5] as const;

interface Mapping {
  readonly page: number;
  readonly target: number;
  readonly leafLevel: number;
  /** Bits to flip in one entry of the path. */
  readonly flips: readonly { readonly level: number; readonly bit: number }[];
}
const mapping = (pages: readonly number[]): fc.Arbitrary<Mapping> =>
  fc.record({
    page: fc.constantFrom(...pages),
    target: fc.constantFrom(...TARGETS),
    leafLevel: fc.constantFrom(1, 1, 1, 2, 3),
    flips: fc.array(fc.record({ level: fc.nat(4), bit: fc.constantFrom(0, 1, 2, 5, 6, 7, 8, 10, 11, 12, 13, 20, 29, 40, 45, 46, 51, 52, 61, 62, 63) }), { maxLength: 2 }),
  });

const align = (value: number, leafLevel: number): number => value - (value % 512 ** (leafLevel - 1));
/** Makes all mappings, and only then the defects: a pointer gone wrong would send later mappings anywhere. */
const apply = (rig: Rig, kind: "first" | "second", table: number, levels: number, mappings: readonly Mapping[]): void => {
  const paths = mappings.map(({ page, target, leafLevel }) => {
    const inside = page % 2 ** (9 * levels);
    return kind === "first" ? rig.mapFirst(table, inside, align(target, leafLevel), { levels, leafLevel }) : rig.mapSecond(table, inside, align(target, leafLevel), { levels, leafLevel });
  });
  for (const [i, { flips }] of mappings.entries())
    for (const { level, bit } of flips) {
      const entries = paths[i] as number[];
      // A table pointer that is off by a page would lead into other structures, which accessed bits would damage.
      rig.flip(entries[bit === 12 || bit === 13 ? entries.length - 1 : level % entries.length] as number, bit);
    }
};

const settingsOf = (rig: Rig): ReferenceSettings => {
  const { cap, ecap, hostAddressWidth } = rig.capabilities;
  return { memory: rig.memory, haw: hostAddressWidth, mgaw: cap.MGAW + 1, snoopControl: ecap.SC === 1, large: cap.SSLPS, firstStageGiB: cap.FS1GP === 1 };
};
/** The model's answer in the reference's form. */
const answer = (rig: Rig, page: number, access: Access, privileged: boolean): ReferenceResult => {
  const { fault, page: to, pageShift, permissions } = rig.translate(page, { pasid: 0, access: access | (privileged ? Access.Privileged : 0) });
  return fault === 0 ? { fault: 0, page: BigInt(to), shift: pageShift, rights: permissions } : { fault };
};
const ACCESSES = [Access.Read, Access.Write, Access.Read | Access.Write];
const POLICIES: readonly CachePolicy[] = ["none", "realistic"];
const profile = fc.record({ levels: fc.constantFrom(3, 4, 5), hostAddressWidth: fc.constantFrom(36, 46, 52), MGAW: fc.constantFrom(38, 47, 56), SC: fc.constantFrom(0, 1), SSLPS: fc.nat(3), FS1GP: fc.nat(1) });

describe("the model and an independent reading agree on random tables", () => {
  test("second stage (VT-d §3.7)", () => {
    fc.assert(
      fc.property(profile, fc.array(mapping(PAGES), { minLength: 1, maxLength: 6 }), fc.constantFrom(...POLICIES), ({ levels, hostAddressWidth, MGAW, SC, SSLPS }, mappings, caches) => {
        const rig = scalableRig({ caches, hostAddressWidth, cap: { MGAW, SSLPS }, ecap: { SC }, pasid: { PGTT: 2, AW: levels - 2 } });
        apply(rig, "second", rig.second, levels, mappings);
        const settings = settingsOf(rig);
        for (const page of PAGES) for (const access of ACCESSES) expect(answer(rig, page, access, false)).toEqual(walkSecondStage(settings, { table: BigInt(rig.second), levels }, BigInt(page), access));
      }),
      { numRuns: 150 },
    );
  });
  test("first stage (VT-d §3.6)", () => {
    fc.assert(
      fc.property(profile, fc.array(mapping(FIRST_PAGES), { minLength: 1, maxLength: 6 }), fc.constantFrom(...POLICIES), fc.boolean(), ({ levels, hostAddressWidth, FS1GP }, mappings, caches, writeProtect) => {
        const depth = levels === 5 ? 5 : 4;
        const rig = scalableRig({ caches, hostAddressWidth, cap: { FS1GP }, pasid: { PGTT: 1, SRE: 1, FSPM: depth - 4, WPE: writeProtect ? 1 : 0 } });
        apply(rig, "first", rig.first, depth, mappings);
        const settings = settingsOf(rig);
        for (const page of FIRST_PAGES) for (const access of ACCESSES) for (const privileged of [false, true]) expect(answer(rig, page, access, privileged)).toEqual(walkFirstStage(settings, { table: BigInt(rig.first), levels: depth }, undefined, BigInt(page), access, privileged, writeProtect));
      }),
      { numRuns: 100 },
    );
  });
  test("nested (VT-d §3.8)", () => {
    fc.assert(
      fc.property(profile, fc.array(mapping(FIRST_PAGES), { minLength: 1, maxLength: 4 }), fc.array(mapping([0x3000, 0x3200, 0x4_0000, 0x8_0000, 0x10, 0x12, 0x14]), { maxLength: 4 }), fc.constantFrom(...POLICIES), ({ levels, hostAddressWidth, MGAW }, mappings, seconds, caches) => {
        const rig = scalableRig({ caches, hostAddressWidth, cap: { MGAW }, pasid: { PGTT: 3, SRE: 1, AW: levels - 2 } });
        apply(rig, "first", rig.first, 4, mappings);
        // Tables lie one to one; what is random comes on top.
        for (let page = 0x10; page < 0x50; page++) rig.mapSecond(rig.second, page, page, { levels });
        apply(rig, "second", rig.second, levels, seconds);
        const settings = settingsOf(rig);
        const second = { table: BigInt(rig.second), levels };
        for (const page of FIRST_PAGES)
          for (const access of ACCESSES) {
            const expected = walkFirstStage(settings, { table: BigInt(rig.first), levels: 4 }, second, BigInt(page), access, false, false);
            expect(answer(rig, page, access, false)).toEqual(expected);
          }
      }),
      { numRuns: 100 },
    );
  });
  test("the layouts' masks are those of the walkers", () => {
    expect([SECOND_STAGE_ENTRY.reserved, FIRST_STAGE_ENTRY.reserved]).toEqual([[0, 0], [0, 0]]);
  });
});
