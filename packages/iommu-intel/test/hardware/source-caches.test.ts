import { Access, type CachePolicy } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { SCALABLE } from "../../src/hardware/index.ts";
import { CCMD_REG, CONTEXT_ENTRY, ROOT_ENTRY, RTADDR_REG } from "../../src/layouts/index.ts";
import { contextByRegister } from "./register-invalidation.ts";
import { BDF, DID, invalidateContext, invalidateIotlb, invalidatePasidCache, invalidatePasidIotlb, legacyRig, Rig, scalableRig } from "./rig.ts";

const PAGE = 0x12345; // arbitrary
const HOST = 0x2345; // arbitrary
const OTHER = 0x3456; // arbitrary
const CACHING = ["realistic", "adversarial"] as const;
type Scalable = ReturnType<typeof scalableRig>;

describe("context-cache (VT-d §6.2.2, §6.5.2.1)", () => {
  const forms = [
    { name: "global", fields: { CIRG: 1 }, hits: true },
    { name: "its domain", fields: { CIRG: 2, DID }, hits: true },
    { name: "another domain", fields: { CIRG: 2, DID: DID + 1 }, hits: false },
    { name: "its source", fields: { CIRG: 3, DID, SID: BDF }, hits: true },
    { name: "another function", fields: { CIRG: 3, DID, SID: BDF ^ 4 }, hits: false },
    { name: "another function, bit 2 ignored", fields: { CIRG: 3, DID, SID: BDF ^ 4, FM: 1 }, hits: true },
    { name: "another function, bit 1 not ignored", fields: { CIRG: 3, DID, SID: BDF ^ 2, FM: 1 }, hits: false },
    { name: "another function, bits 2:1 ignored", fields: { CIRG: 3, DID, SID: BDF ^ 6, FM: 2 }, hits: true },
    { name: "another function, bit 0 not ignored", fields: { CIRG: 3, DID, SID: BDF ^ 1, FM: 2 }, hits: false },
    { name: "any function", fields: { CIRG: 3, DID, SID: BDF ^ 7, FM: 3 }, hits: true },
    { name: "another device", fields: { CIRG: 3, DID, SID: BDF ^ 8, FM: 3 }, hits: false },
    { name: "its source under another domain", fields: { CIRG: 3, DID: DID + 1, SID: BDF }, hits: false },
  ];
  test.each(CACHING.flatMap((caches) => forms.map((form) => ({ caches, ...form }))))("$caches: invalidating $name", ({ caches, fields, hits }) => {
    for (const queued of [false, true]) {
      const rig = legacyRig({ caches });
      if (queued) rig.queue();
      rig.mapSecond(rig.table, PAGE, HOST);
      rig.translate(PAGE);
      rig.flip(rig.entries.context, 0);
      expect(rig.fault(PAGE)).toBe(0);
      const { CIRG, ...rest } = fields;
      if (queued) rig.submit(invalidateContext({ G: CIRG, ...rest }));
      else expect(contextByRegister(rig, fields)).toBe(CIRG);
      expect(rig.fault(PAGE)).toBe(hits ? 0x02 : 0);
    }
  });
  test("the command starts with the half that has ICC, and not without", () => {
    const rig = legacyRig();
    rig.mapSecond(rig.table, PAGE, HOST);
    rig.translate(PAGE);
    rig.flip(rig.entries.context, 0);
    rig.unit.registers.write(CCMD_REG.offset + 4, 4, 0x2000_0000);
    rig.unit.registers.write(CCMD_REG.offset, 4, DID);
    expect([rig.fault(PAGE), rig.read(CCMD_REG).CAIG]).toEqual([0, 0]);
    rig.unit.registers.write(CCMD_REG.offset + 4, 4, 0xa000_0000);
    expect([rig.fault(PAGE), rig.read(CCMD_REG)]).toMatchObject([0x02, { ICC: 0, CAIG: 1 }]);
  });
  test("a granularity of 0 does nothing and says so", () => {
    expect(contextByRegister(legacyRig(), { CIRG: 0, DID })).toBe(0);
  });
  test("more sources than the realistic cache holds, each with a domain and tables of its own", () => {
    const rig = new Rig({ iotlb: { sets: 64, ways: 8 } });
    const sources = Array.from({ length: 260 }, (_, i) => 0x100 + i);
    for (const [i, source] of sources.entries()) {
      const SSPTPTR = rig.page();
      rig.context({ SSPTPTR, AW: 1, DID: i }, source);
      rig.mapSecond(SSPTPTR, PAGE, HOST + i, { levels: 3 });
    }
    rig.start();
    for (let again = 0; again < 2; again++) expect(sources.map((requester) => rig.translate(PAGE, { requester }).page)).toEqual(sources.map((_, i) => HOST + i));
  });
  test("the realistic cache forgets the oldest source, and what it forgot is read anew", () => {
    const rig = new Rig();
    const table = rig.page();
    for (let i = 0; i < 300; i++) rig.context({ SSPTPTR: table }, 0x100 + i);
    rig.mapSecond(table, PAGE, HOST);
    rig.start();
    for (let i = 0; i < 300; i++) expect(rig.fault(PAGE, { requester: 0x100 + i })).toBe(0);
    expect(rig.unit.totals.contextMisses).toBe(300);
    rig.translate(PAGE, { requester: 0x100 + 299 });
    expect(rig.unit.totals.contextMisses).toBe(300);
    rig.translate(PAGE, { requester: 0x100 });
    expect(rig.unit.totals.contextMisses).toBe(301);
  });
});

describe("scalable-mode caches (VT-d §6.5.2.2 to §6.5.2.4)", () => {
  const first = (caches: CachePolicy, pasids: readonly number[]): Scalable & { tables: number[] } => {
    const rig = scalableRig({ caches, pasid: { PGTT: 1 } }).queue({ wide: true });
    const tables = pasids.map((pasid) => {
      const table = rig.page();
      rig.pasid(rig.at.directory - (rig.at.directory % 4096), pasid, { PGTT: 1, FSPTPTR: table, PWSNP: 1 });
      rig.mapFirst(table, PAGE, HOST);
      return table;
    });
    return Object.assign(rig, { tables });
  };
  const pages = (rig: Scalable, pasids: readonly number[]): number[] => pasids.map((pasid) => rig.translate(PAGE, { pasid }).page);
  const PASIDS = [3, 70] as const;
  const forms = [
    { name: "all of PASID 3", descriptor: invalidatePasidIotlb({ G: 2, DID, PASID: 3 }), pages: [OTHER, HOST] },
    { name: "a page of PASID 3", descriptor: invalidatePasidIotlb({ G: 3, DID, PASID: 3, ADDR: PAGE }), pages: [OTHER, HOST] },
    { name: "another page of PASID 3", descriptor: invalidatePasidIotlb({ G: 3, DID, PASID: 3, ADDR: PAGE + 1 }), pages: [HOST, HOST] },
    { name: "pages of PASID 70, AM past MAMV", descriptor: invalidatePasidIotlb({ G: 3, DID, PASID: 70, ADDR: 0, AM: 20 }), pages: [HOST, OTHER] },
    { name: "PASID 3 of another domain", descriptor: invalidatePasidIotlb({ G: 2, DID: DID + 1, PASID: 3 }), pages: [HOST, HOST] },
    { name: "the domain", descriptor: invalidateIotlb({ G: 2, DID }), pages: [OTHER, OTHER] },
    { name: "a page of the domain: first-stage translations go altogether", descriptor: invalidateIotlb({ G: 3, DID, ADDR: PAGE + 99 }), pages: [OTHER, OTHER] },
    { name: "everything", descriptor: invalidateIotlb({ G: 1 }), pages: [OTHER, OTHER] },
    { name: "the PASID-cache alone", descriptor: invalidatePasidCache({ G: 3 }), pages: [HOST, HOST] },
  ];
  test.each(CACHING.flatMap((caches) => forms.map((form) => ({ caches, ...form }))))("$caches: invalidating $name", ({ caches, descriptor, pages: expected }) => {
    const rig = first(caches, PASIDS);
    expect(pages(rig, PASIDS)).toEqual([HOST, HOST]);
    for (const table of rig.tables) rig.mapFirst(table, PAGE, OTHER);
    rig.submit(descriptor, rig.wait());
    expect([rig.waited, pages(rig, PASIDS)]).toEqual([true, expected]);
  });
  const entries = [
    { name: "global", descriptor: invalidatePasidCache({ G: 3 }), faults: [0x59, 0x59] },
    { name: "PASID 3", descriptor: invalidatePasidCache({ G: 1, DID, PASID: 3 }), faults: [0x59, 0] },
    { name: "the domain", descriptor: invalidatePasidCache({ G: 0, DID, PASID: 3 }), faults: [0x59, 0x59] },
    { name: "another domain", descriptor: invalidatePasidCache({ G: 0, DID: DID + 1 }), faults: [0, 0] },
    { name: "PASID 3 of another domain", descriptor: invalidatePasidCache({ G: 1, DID: DID + 1, PASID: 3 }), faults: [0, 0] },
    { name: "the context-cache alone", descriptor: invalidateContext({ G: 1 }), faults: [0, 0] },
  ];
  test.each(CACHING.flatMap((caches) => entries.map((form) => ({ caches, ...form }))))("$caches: PASID-cache, invalidating $name", ({ caches, descriptor, faults }) => {
    const rig = first(caches, PASIDS);
    pages(rig, PASIDS);
    for (const pasid of PASIDS) rig.pasid(rig.at.directory - (rig.at.directory % 4096), pasid, { P: 0 });
    rig.submit(descriptor);
    expect(PASIDS.map((pasid) => rig.fault(PAGE, { pasid }))).toEqual(faults);
  });
  test.each(CACHING)("%s: a scalable context entry stays until the context-cache is invalidated", (caches) => {
    const rig = first(caches, PASIDS);
    pages(rig, PASIDS);
    rig.flip(rig.at.context, 0);
    expect(rig.fault(PAGE, { pasid: 3 })).toBe(0);
    rig.submit(invalidateContext({ G: 3, DID, SID: BDF ^ 1 }));
    expect(rig.fault(PAGE, { pasid: 3 })).toBe(0);
    rig.submit(invalidateContext({ G: 3, DID: DID + 1, SID: BDF }));
    expect(rig.fault(PAGE, { pasid: 3 })).toBe(0x41);
  });
  test("the realistic context-cache holds 256 sources, and forgets the oldest", () => {
    const rig = new Rig({ base: SCALABLE });
    const directory = rig.page();
    rig.pasid(directory * 4096, 0, { PGTT: 4 });
    for (let i = 0; i < 257; i++) rig.scalableContext({ PASIDDIRPTR: directory }, i);
    rig.start(1);
    /** Sources whose context entry is looked at again: it is absent by now. */
    const ask = (...sources: number[]): number[] => sources.filter((source) => rig.fault(PAGE, { requester: source }) !== 0);
    const all = Array.from({ length: 256 }, (_, i) => i);
    expect(ask(...all)).toEqual([]);
    for (let i = 0; i < 257; i++) rig.scalableContext({ PASIDDIRPTR: directory, ...(i < 256 ? { P: 0 } : {}) }, i);
    expect(ask(...all)).toEqual([]);
    expect(ask(256, 1, 255, 256, 0)).toEqual([0]);
  });
  test.each(CACHING)("%s: a source that has never asked is looked up, whatever others had", (caches) => {
    const rig = scalableRig({ caches, pasid: { PGTT: 4 } });
    expect(rig.fault(PAGE)).toBe(0);
    for (const requester of [0, BDF ^ 1, BDF ^ 0x80, BDF ^ 0x100]) expect(rig.fault(PAGE, { requester })).toBe(requester >>> 8 === BDF >>> 8 && (requester & 0x80) === 0 ? 0x41 : 0x39);
  });
  test("what a PASID entry said is gone in legacy mode", () => {
    const rig = scalableRig({ caches: "none", pasid: { PGTT: 3, SSADE: 1, PWSNP: 0, PGSNP: 1, CD: 1, EMTE: 1 }, context: { DTE: 1 } });
    expect(rig.fault(PAGE)).toBe(0x79);
    const table = rig.page();
    const contexts = rig.page();
    const root = rig.page();
    rig.put(ROOT_ENTRY, root * 4096 + 16, { P: 1, CTP: contexts });
    rig.put(CONTEXT_ENTRY, contexts * 4096 + 16 * (BDF & 0xff), { P: 1, AW: 2, DID, SSPTPTR: table });
    const leaf = rig.mapSecond(table, PAGE, HOST).at(-1) as number;
    rig.write(RTADDR_REG, { RTA: root, TTM: 0 });
    rig.command({ SRTP: 1 });
    expect(rig.translate(PAGE, { access: Access.Write })).toMatchObject({ fault: 0, page: HOST, snoop: false, memoryType: 6, permissions: 3 });
    expect([rig.memory.read32(leaf) & 0x300, rig.fault(PAGE, { type: 1 })]).toEqual([0, 0x0d]);
  });
  test.each(CACHING)("%s: second-stage translations belong to the domain: one page-selective invalidation reaches every PASID", (caches) => {
    const rig = scalableRig({ caches }).queue({ wide: true });
    rig.pasid(rig.at.directory, 9, { PGTT: 2, AW: 2, SSPTPTR: rig.second });
    rig.mapSecond(rig.second, PAGE, HOST);
    const both = (): number[] => [rig.translate(PAGE).page, rig.translate(PAGE, { pasid: 9 }).page];
    both();
    rig.mapSecond(rig.second, PAGE, OTHER);
    rig.submit(invalidatePasidIotlb({ G: 2, DID, PASID: 9 }));
    expect(both()).toEqual([HOST, HOST]);
    rig.submit(invalidateIotlb({ G: 3, DID, ADDR: PAGE }));
    expect(both()).toEqual([OTHER, OTHER]);
  });
});
