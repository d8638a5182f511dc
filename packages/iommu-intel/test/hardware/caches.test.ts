import { Access, type CachePolicy } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SCALABLE } from "../../src/hardware/index.ts";
import { IOTLB_REG, RTADDR_REG } from "../../src/layouts/index.ts";
import { contextByRegister, iotlbByRegister } from "./register-invalidation.ts";
import { BDF, DID, invalidateContext, invalidateIotlb, legacyRig, Rig, ROOT, scalableRig } from "./rig.ts";

const PAGE = 0x12345; // arbitrary
const HOST = 0x2345; // arbitrary
const OTHER = 0x3456; // arbitrary
const CACHING = ["realistic", "adversarial"] as const;
type Legacy = ReturnType<typeof legacyRig>;

/** Points a mapped page elsewhere, so that a stale translation shows. */
const remap = (rig: Legacy, page = PAGE, host = OTHER): void => {
  rig.mapSecond(rig.table, page, host);
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
    { name: "two pages, by the other's address", fields: { IIRG: 3, DID }, address: { ADDR: PAGE ^ 1, AM: 1 }, hits: true },
    { name: "the two pages beside it", fields: { IIRG: 3, DID }, address: { ADDR: PAGE ^ 2, AM: 1 }, hits: false },
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
