import { Access } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ALL_PAGES, hostRig, RAM, type Rig } from "./rig.ts";
import { walkHost } from "./reference-walk.ts";

const WIDTH = 45;
const TABLES = 4;

/** An entry of a random table, as its two words: mostly right, sometimes not. */
const entry = fc.record({
  present: fc.integer({ min: 0, max: 9 }),
  next: fc.oneof({ weight: 5, arbitrary: fc.constantFrom(1, 2, 3, 4, 5) }, { weight: 3, arbitrary: fc.constantFrom(0, 7) }, fc.constant(6)),
  table: fc.integer({ min: 0, max: TABLES - 1 }),
  ones: fc.integer({ min: 0, max: 39 }),
  far: fc.integer({ min: 0, max: 30 }),
  rights: fc.oneof({ weight: 6, arbitrary: fc.constant(3) }, fc.integer({ min: 0, max: 3 })),
  reserved: fc.integer({ min: 0, max: 150 }),
});
type Entry = typeof entry extends fc.Arbitrary<infer T> ? T : never;

const words = (first: number, { present, next, table, ones, far, rights, reserved }: Entry): readonly [number, number] => {
  const leaf = next === 0 || next === 7;
  let page = leaf ? (next === 7 ? BigInt(table) * 2n ** BigInt(ones + 1) + 2n ** BigInt(ones) - 1n : BigInt(table) * 512n + 7n) : BigInt(first + table);
  if (far === 0) page = BigInt(RAM) / 4096n + 2n ** 30n;
  let value = (present === 0 ? 0n : 1n) | (BigInt(next) << 9n) | ((page % 2n ** 40n) << 12n) | (BigInt(rights) << 61n);
  if (reserved < 10) value |= 1n << BigInt(51 + reserved);
  return [Number(value & 0xffff_ffffn), Number(value >> 32n)];
};

/** Few indexes, so that walks meet entries; tables are all over each other. */
const INDEXES = [0, 0, 1, 511] as const;
const page = fc.tuple(...Array.from({ length: 6 }, () => fc.integer({ min: 0, max: 3 }))).map((choices) => choices.reduce((sum, choice, i) => sum + (i === 5 ? (INDEXES[choice] as number) % 128 : (INDEXES[choice] as number)) * 2 ** (9 * i), 0));
const tables = fc.array(fc.array(entry, { minLength: 3, maxLength: 3 }), { minLength: TABLES, maxLength: TABLES });
const accesses = fc.array(fc.tuple(page, fc.constantFrom(Access.Read, Access.Write, Access.Read | Access.Write)), { minLength: 1, maxLength: 12 });

const build = (rig: Rig & { readonly table: number }, contents: readonly (readonly Entry[])[]): void => {
  for (const [i, entries] of contents.entries()) for (const [j, each] of entries.entries()) rig.putWords((rig.table + i) * 4096 + 8 * ([0, 1, 511][j] as number), words(rig.table, each));
};

/** What a request came to, in the oracle's words. */
const seen = (rig: Rig, at: number, access: Access): object => {
  const out = rig.translate(at, { access });
  const [event] = rig.events();
  if (out.fault === 4) return { kind: "unreadable" };
  if (out.fault !== 0) return { kind: "fault", flags: ["PR", "PE", "RZ"].filter((flag) => event?.[flag] === 1).join(" ") };
  return { kind: "page", page: BigInt(out.page), shift: out.pageShift, rights: out.permissions };
};
/** Pages that HyperTransport and interrupts take are no matter of tables. */
const ordinary = (at: number): boolean => at < 0xf_ee00 || at > 0xfff_ffff;

describe("random host tables against the reference (AMD-Vi §2.2.3)", () => {
  test.each(["none", "realistic"] as const)("caches %s", (caches) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), tables, accesses, (levels, contents, requests) => {
        const rig = hostRig({ caches, physicalAddressWidth: WIDTH, device: { Mode: levels } });
        build(rig, contents);
        /** Pages that a translation before covers: one larger than its slot must stand in every slot it covers (§2.2.3), and a cache may take it at its word. */
        const covered: ((other: number) => boolean)[] = [];
        for (const [at, access] of requests) {
          if (!ordinary(at)) continue;
          const expected = walkHost(rig.memory, WIDTH, BigInt(rig.table), levels, BigInt(at), access);
          const answer = seen(rig, at, access);
          if (covered.some((covers) => covers(at))) continue;
          expect([at, access, answer]).toEqual([at, access, expected]);
          if (caches !== "none" && expected.kind === "page") covered.push((other) => other !== at && Math.floor(other / 2 ** (expected.shift - 12)) === Math.floor(at / 2 ** (expected.shift - 12)));
        }
      }),
      { numRuns: 150 },
    );
  });

  test("after proper invalidation all cache policies agree, whatever was there before", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), tables, tables, accesses, fc.boolean(), (levels, before, after, requests, npCache) => {
        const results = (["none", "realistic", "adversarial"] as const).map((caches) => {
          const rig = hostRig({ caches, npCache, physicalAddressWidth: WIDTH, device: { Mode: levels } });
          build(rig, before);
          for (const [at, access] of requests) rig.translate(at, { access });
          build(rig, after);
          rig.invalidatePages(ALL_PAGES);
          rig.events();
          return requests.map(([at, access]) => {
            const { fault, page: to, pageShift } = rig.translate(at, { access });
            return { fault, to, pageShift, events: rig.events() };
          });
        });
        // Not where a page before, larger than its slot, covers this one.
        const [without = []] = results;
        const alone = requests.map(([at], i) => without.slice(0, i).every(({ fault, pageShift }, j) => fault !== 0 || at === requests[j]?.[0] || Math.floor(at / 2 ** (pageShift - 12)) !== Math.floor((requests[j]?.[0] ?? 0) / 2 ** (pageShift - 12))));
        const only = <T>(list: readonly T[] | undefined): T[] => (list ?? []).filter((_, i) => alone[i]);
        expect(only(results[1])).toEqual(only(without));
        // The adversarial cache may insist on what it learnt meanwhile, but on nothing from before.
        expect(only(results[2]).map(({ fault }) => fault)).toEqual(only(without).map(({ fault }) => fault));
      }),
      { numRuns: 40 },
    );
  });
});
