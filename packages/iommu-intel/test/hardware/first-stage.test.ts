import { Access, AddressType, Completion } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { FIRST_STAGE_ENTRY, PASID_ENTRY, SECOND_STAGE_ENTRY } from "../../src/layouts/index.ts";
import { RAM, scalableRig, type Rig } from "./rig.ts";

const PAGE = 0x12345; // arbitrary
const HOST = 0x2345; // arbitrary
const NOWHERE = RAM / 4096 + 7;
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const USER_READ = { pasid: 0 };
const SUPERVISOR = { pasid: 0, access: Access.Read | Access.Privileged };
const SUPERVISOR_WRITE = { pasid: 0, access: Access.Write | Access.Privileged };

const firstStage = (options: Parameters<typeof scalableRig>[0] = {}): ReturnType<typeof scalableRig> => scalableRig({ ...options, pasid: { PGTT: 1, SRE: 1, ...options.pasid } });
const repoint = (rig: ReturnType<typeof scalableRig>, fields: Record<string, number>): void => {
  rig.put(PASID_ENTRY, rig.at.entry, { ...PASID_ENTRY.decode(rig.words(rig.at.entry, 16)), ...fields });
};

describe("first-stage walk (VT-d §3.6, §9.7)", () => {
  test.each([
    { levels: 4, FSPM: 0 },
    { levels: 5, FSPM: 1 },
  ])("$levels levels translate canonical addresses of both halves and fault 80h between", ({ levels, FSPM }) => {
    const rig = firstStage({ pasid: { FSPM } });
    const half = 2 ** (9 * levels - 1);
    const ends = [half - 1, 2 ** 52 - half, 2 ** 52 - 1];
    for (const page of ends) rig.mapFirst(rig.first, page, HOST, { levels });
    expect(ends.map((page) => rig.translate(page).page)).toEqual([HOST, HOST, HOST]);
    expect([rig.fault(half), rig.fault(2 ** 52 - half - 1)]).toEqual([0x80, 0x80]);
  });
  test("top table unreadable 73h, lower table 70h, not present 71h", () => {
    const rig = firstStage({ caches: "none" });
    expect(rig.fault(PAGE)).toBe(0x71);
    const entries = rig.mapFirst(rig.first, PAGE, HOST);
    for (const entry of entries) {
      rig.flip(entry, 0);
      expect(rig.fault(PAGE)).toBe(0x71);
      rig.flip(entry, 0);
    }
    for (const entry of entries.slice(0, 3)) {
      const old = rig.words(entry, 2);
      rig.put(FIRST_STAGE_ENTRY, entry, { P: 1, RW: 1, US: 1, ADDR: NOWHERE });
      expect(rig.fault(PAGE)).toBe(0x70);
      rig.putWords(entry, old);
    }
    repoint(rig, { FSPTPTR: NOWHERE });
    expect(rig.fault(PAGE)).toBe(0x73);
  });
  test.each([
    { name: "level 1", leafLevel: 1, at: 3, expected: range(46, 51) },
    { name: "2 MiB page", leafLevel: 2, at: 2, expected: [...range(13, 20), ...range(46, 51)] },
    { name: "1 GiB page", leafLevel: 3, at: 1, expected: [...range(13, 29), ...range(46, 51)] },
    { name: "level 4", leafLevel: 1, at: 0, expected: [7, ...range(46, 51)] },
    { name: "level 2, table", leafLevel: 1, at: 2, expected: range(46, 51) },
  ])("exactly these bits are reserved: $name", ({ leafLevel, at, expected }) => {
    const rig = firstStage({ caches: "none", hostAddressWidth: 46 });
    const base = 0x4_0000;
    const entry = rig.mapFirst(rig.first, base, 0x4_0000, { leafLevel })[at] as number;
    const faulting = range(3, 63).filter((bit) => {
      rig.flip(entry, bit);
      const fault = rig.fault(base);
      rig.flip(entry, bit);
      return fault === 0x72;
    });
    expect(faulting.filter((bit) => bit !== 7 || expected.includes(7))).toEqual(expected);
  });
  test("1 GiB pages need FS1GP; bit 12 of a large page is its PAT bit", () => {
    const rig = firstStage({ cap: { FS1GP: 0 } });
    rig.mapFirst(rig.first, 0, 0, { leafLevel: 3 });
    expect(rig.fault(0)).toBe(0x72);
    const large = firstStage();
    large.mapFirst(large.first, 0x200, 0x401, { leafLevel: 2 });
    expect(large.translate(0x234)).toMatchObject({ page: 0x434, pageShift: 21 });
  });
  test("an output in the interrupt address range faults 87h", () => {
    const rig = firstStage();
    const hosts = [0xf_edff, 0xf_ee00, 0xf_ee44, 0xf_eeff, 0xf_ef00];
    for (const [i, host] of hosts.entries()) rig.mapFirst(rig.first, PAGE + i, host);
    expect(hosts.map((_, i) => rig.fault(PAGE + i))).toEqual([0, 0x87, 0x87, 0x87, 0]);
    const unchecked = firstStage({ policy: { checkInterruptOutput: false } });
    unchecked.mapFirst(unchecked.first, PAGE, 0xf_ee44);
    expect(unchecked.translate(PAGE).page).toBe(0xf_ee44);
  });
});

describe("first-stage rights (VT-d §3.6.1)", () => {
  test.each([0, 1, 2, 3])("a user request needs U/S at every level (%i from the top): 81h", (at) => {
    const rig = firstStage();
    rig.flip(rig.mapFirst(rig.first, PAGE, HOST)[at] as number, 2);
    expect([rig.fault(PAGE), rig.fault(PAGE, USER_READ), rig.fault(PAGE, SUPERVISOR), rig.fault(PAGE, USER_READ)]).toEqual([0x81, 0x81, 0, 0x81]);
  });
  test.each([0, 1, 2, 3])("a write needs R/W at every level (%i from the top): 85h", (at) => {
    const rig = firstStage();
    rig.flip(rig.mapFirst(rig.first, PAGE, HOST)[at] as number, 1);
    expect([rig.fault(PAGE, { access: Access.Write }), rig.fault(PAGE), rig.translate(PAGE).permissions & Access.Write, rig.fault(PAGE, { access: Access.Write })]).toEqual([0x85, 0, 0, 0x85]);
  });
  test("a supervisor write obeys R/W only with WPE", () => {
    const faults = [0, 1].map((WPE) => {
      const rig = firstStage({ pasid: { WPE } });
      rig.mapFirst(rig.first, PAGE, HOST, { leaf: { RW: 0 } });
      return [rig.fault(PAGE, SUPERVISOR_WRITE), rig.fault(PAGE, { access: Access.Write }), rig.fault(PAGE, SUPERVISOR_WRITE)];
    });
    expect(faults).toEqual([[0, 0x85, 0], [0x85, 0x85, 0x85]]);
  });
  test("requests without PASID are supervisor requests with RID_PRIV", () => {
    const rig = firstStage({ context: { RID_PRIV: 1 } });
    rig.mapFirst(rig.first, PAGE, HOST, { leaf: { US: 0 } });
    expect([rig.fault(PAGE), rig.fault(PAGE, USER_READ), rig.fault(PAGE), rig.fault(PAGE), rig.fault(PAGE, { access: Access.Write })]).toEqual([0, 0x81, 0, 0, 0]);
  });
  test("execute requests obey XD with NXE: 82h", () => {
    const access = Access.Read | Access.Execute;
    const faults = [0, 1].map((NXE) => {
      const rig = firstStage({ ecap: { ERS: 1 }, pasid: { ERE: 1, NXE } });
      rig.mapFirst(rig.first, PAGE, HOST, { leaf: { XD: 1 } });
      rig.mapFirst(rig.first, PAGE + 1, HOST);
      return [rig.fault(PAGE, { pasid: 0, access }), rig.fault(PAGE), rig.fault(PAGE, { pasid: 0, access }), rig.fault(PAGE + 1, { pasid: 0, access })];
    });
    expect(faults).toEqual([[0, 0, 0, 0], [0x82, 0, 0x82, 0]]);
  });
  test("XD of a table forbids execution below it", () => {
    const rig = firstStage({ ecap: { ERS: 1 }, pasid: { ERE: 1, NXE: 1 } });
    const entries = rig.mapFirst(rig.first, PAGE, HOST);
    rig.flip(entries[1] as number, 63);
    const access = Access.Read | Access.Execute;
    expect([rig.fault(PAGE, { pasid: 0, access }), rig.fault(PAGE + 1), rig.fault(PAGE, { pasid: 0, access })]).toEqual([0x82, 0x71, 0x82]);
  });
});

describe("first-stage accessed and dirty bits (VT-d §3.6.2)", () => {
  const bits = (rig: Rig, entries: readonly number[]): string[] => entries.map((entry) => ((rig.memory.read32(entry) >>> 5) & 0b10_0011).toString(2).padStart(6, "0"));
  test("A at every level, D in the leaf before a write, from a cached clean page too", () => {
    const rig = firstStage();
    const entries = rig.mapFirst(rig.first, PAGE, HOST);
    rig.fault(PAGE);
    expect(bits(rig, entries)).toEqual(["000001", "000001", "000001", "000001"]);
    rig.fault(PAGE, { access: Access.Write });
    expect(bits(rig, entries)).toEqual(["000001", "000001", "000001", "000011"]);
  });
  test("EAFE sets EA as well", () => {
    const rig = firstStage({ pasid: { EAFE: 1 } });
    const entries = rig.mapFirst(rig.first, PAGE, HOST);
    rig.fault(PAGE, { access: Access.Write });
    expect(bits(rig, entries)).toEqual(["100001", "100001", "100001", "100011"]);
  });
  test("a request that faults at the leaf sets neither there", () => {
    const rig = firstStage();
    const entries = rig.mapFirst(rig.first, PAGE, HOST, { leaf: { RW: 0 } });
    rig.fault(PAGE, { access: Access.Write });
    expect(bits(rig, entries)[3]).toBe("000000");
  });
  test("a walk that does not snoop cannot set them: 90h", () => {
    const rig = firstStage({ pasid: { PWSNP: 0 } });
    const entries = rig.mapFirst(rig.first, PAGE, HOST, { leaf: { A: 1 } });
    expect(rig.fault(PAGE)).toBe(0x90);
    for (const entry of entries.slice(0, 3)) rig.flip(entry, 5);
    expect([rig.fault(PAGE), rig.fault(PAGE, { access: Access.Write })]).toEqual([0, 0x90]);
    rig.flip(entries[3] as number, 6);
    expect(rig.fault(PAGE, { access: Access.Write })).toBe(0);
  });
  test("bits that are set already are not written, wherever the page is and whoever asks why", () => {
    const rig = firstStage({ caches: "none", pasid: { PWSNP: 0 } });
    // Bit 31 of the entry is set: its low word is no positive int32.
    const entries = rig.mapFirst(rig.first, PAGE, 0x8_2345, { leaf: { A: 1, D: 1 } });
    for (const entry of entries.slice(0, 3)) rig.flip(entry, 5);
    expect([rig.fault(PAGE), rig.fault(PAGE, { explain: [] }), rig.fault(PAGE, { access: Access.Write, explain: [] })]).toEqual([0, 0, 0]);
  });
});

describe("locked updates of entries that fail (VT-d §7.1.3, Table 26)", () => {
  const PAGES = new Set(range(0x10, 0x20)); // where the rig's tables are
  test("first stage 91h: only where a bit has to be set, at a table and at the leaf", () => {
    const rig = firstStage({ writeProtected: PAGES });
    const entries = rig.mapFirst(rig.first, PAGE, HOST);
    expect([rig.fault(PAGE), rig.record()]).toMatchObject([0x91, { reason: 0x91, page: PAGE }]);
    for (const entry of entries.slice(0, 3)) rig.flip(entry, 5);
    expect(rig.fault(PAGE)).toBe(0x91);
    rig.flip(entries[3] as number, 5);
    expect([rig.fault(PAGE), rig.fault(PAGE, { access: Access.Write })]).toEqual([0, 0x91]);
    rig.flip(entries[3] as number, 6);
    expect(rig.fault(PAGE, { access: Access.Write })).toBe(0);
  });
  test("second stage 7dh: likewise, and never without SSADE", () => {
    const rig = scalableRig({ writeProtected: PAGES, pasid: { SSADE: 1 } });
    const entries = rig.mapSecond(rig.second, PAGE, HOST);
    expect([rig.fault(PAGE), rig.record()]).toMatchObject([0x7d, { reason: 0x7d, page: PAGE }]);
    for (const entry of entries.slice(0, 3)) rig.flip(entry, 8);
    expect(rig.fault(PAGE)).toBe(0x7d);
    rig.flip(entries[3] as number, 8);
    expect([rig.fault(PAGE), rig.fault(PAGE, { access: Access.Write })]).toEqual([0, 0x7d]);
    const plain = scalableRig({ writeProtected: PAGES });
    plain.mapSecond(plain.second, PAGE, HOST);
    expect(plain.fault(PAGE, { access: Access.Write })).toBe(0);
  });
  test("that walks do not snoop comes first: 7ch, 90h", () => {
    const rig = scalableRig({ writeProtected: PAGES, pasid: { SSADE: 1, PWSNP: 0 } });
    rig.mapSecond(rig.second, PAGE, HOST);
    const first = firstStage({ writeProtected: PAGES, pasid: { PWSNP: 0 } });
    first.mapFirst(first.first, PAGE, HOST);
    expect([rig.fault(PAGE), first.fault(PAGE)]).toEqual([0x7c, 0x90]);
  });
  test("a translation request ends as Completer Abort", () => {
    const rig = scalableRig({ writeProtected: PAGES, context: { DTE: 1 }, pasid: { SSADE: 1 } });
    rig.mapSecond(rig.second, PAGE, HOST);
    expect(rig.translate(PAGE, { type: AddressType.TranslationRequest })).toMatchObject({ fault: 0x7d, completion: Completion.CompleterAbort });
  });
});

/** Guest-physical pages of the rig's tables and of PAGE's target are mapped one to one unless said. */
const nested = (options: Parameters<typeof scalableRig>[0] = {}): ReturnType<typeof scalableRig> & { readonly entries: number[]; guest: (page: number, leaf?: Record<string, number>, host?: number) => number } => {
  const rig = scalableRig({ ...options, pasid: { PGTT: 3, SRE: 1, ...options.pasid } });
  const entries = rig.mapFirst(rig.first, PAGE, HOST);
  const guest = (page: number, leaf: Record<string, number> = {}, host = page): number => rig.mapSecond(rig.second, page, host, { leaf }).at(-1) as number;
  for (const entry of entries) guest(Math.floor(entry / 4096));
  return Object.assign(rig, { entries, guest });
};
const tableOf = (rig: { readonly entries: readonly number[] }, level: number): number => Math.floor((rig.entries[4 - level] as number) / 4096);

describe("nested translation (VT-d §3.8)", () => {
  test("every first-stage table and the result go through the second stage", () => {
    const rig = nested();
    rig.guest(HOST, {}, 0x7777);
    expect(rig.translate(PAGE)).toMatchObject({ fault: 0, page: 0x7777, pageShift: 12 });
    expect(rig.translate(PAGE)).toMatchObject({ fault: 0, page: 0x7777 });
  });
  test("tables may lie elsewhere in host memory than in guest memory", () => {
    const rig = scalableRig({ pasid: { PGTT: 3, FSPTPTR: 0x5000 }, caches: "none" });
    rig.mapFirst(rig.first, PAGE, HOST);
    const top = rig.words(rig.first * 4096, 2);
    expect(FIRST_STAGE_ENTRY.get.P(top)).toBe(1);
    rig.mapSecond(rig.second, 0x5000, rig.first);
    const next = FIRST_STAGE_ENTRY.get.ADDR(top);
    for (const page of [next, next + 1, next + 2]) rig.mapSecond(rig.second, page, page);
    rig.mapSecond(rig.second, HOST, 0x8888);
    expect(rig.translate(PAGE).page).toBe(0x8888);
  });
  test("the smaller page of both stages is what the translation covers", () => {
    const rig = nested();
    rig.mapFirst(rig.first, 0x4_0000, 0x400, { leafLevel: 2 });
    for (const page of range(rig.page() - 3, rig.page())) rig.guest(page);
    rig.guest(Math.floor((rig.path(FIRST_STAGE_ENTRY, rig.first, 4, 0x4_0000, 2, {})[2] as number) / 4096));
    rig.mapSecond(rig.second, 0x400, 0x600, { leafLevel: 2 });
    expect(rig.translate(0x4_0005)).toMatchObject({ page: 0x605, pageShift: 21, fault: 0 });
    const small = nested();
    small.mapFirst(small.first, 0x4_0000, 0x400, { leafLevel: 2 });
    small.guest(Math.floor((small.path(FIRST_STAGE_ENTRY, small.first, 4, 0x4_0000, 2, {})[2] as number) / 4096));
    small.guest(0x405, {}, 0x999);
    expect(small.translate(0x4_0005)).toMatchObject({ page: 0x999, pageShift: 12, fault: 0 });
    expect(small.fault(0x4_0006)).toBe(0x79);
  });
  test.each([
    { name: "the top table's guest address is past the second stage", prepare: (rig: ReturnType<typeof nested>): void => { repoint(rig, { FSPTPTR: 2 ** 36 }); }, fault: 0x74 },
    { name: "a table's guest address is past the second stage", prepare: (rig: ReturnType<typeof nested>): void => { rig.put(FIRST_STAGE_ENTRY, rig.entries[1] as number, { P: 1, US: 1, RW: 1, ADDR: 2 ** 36 }); }, fault: 0x74 },
    { name: "the top table is write-only in the second stage", prepare: (rig: ReturnType<typeof nested>): void => { rig.guest(rig.first, { R: 0 }); }, fault: 0x75 },
    { name: "a table is write-only in the second stage", prepare: (rig: ReturnType<typeof nested>): void => { rig.guest(tableOf(rig, 2), { R: 0 }); }, fault: 0x76 },
    { name: "the top table is not mapped", prepare: (rig: ReturnType<typeof nested>): void => { rig.guest(rig.first, { R: 0, W: 0 }); }, fault: 0x79 },
    { name: "a table is not mapped", prepare: (rig: ReturnType<typeof nested>): void => { rig.guest(tableOf(rig, 1), { R: 0, W: 0 }); }, fault: 0x79 },
    { name: "a table's second-stage entry has reserved bits", prepare: (rig: ReturnType<typeof nested>): void => { rig.guest(tableOf(rig, 1), { TM: 1 }); }, fault: 0x7a },
    { name: "a table is read-only in the second stage and A has to be set", prepare: (rig: ReturnType<typeof nested>): void => { rig.guest(tableOf(rig, 3), { W: 0 }); }, fault: 0x77 },
    { name: "the second stage's top table is unreadable", prepare: (rig: ReturnType<typeof nested>): void => { repoint(rig, { SSPTPTR: NOWHERE }); }, fault: 0x7b },
    { name: "a second-stage table is unreadable", prepare: (rig: ReturnType<typeof nested>): void => { rig.put(SECOND_STAGE_ENTRY, rig.second * 4096, { R: 1, W: 1, ADDR: NOWHERE }); }, fault: 0x78 },
    { name: "the result is past the second stage", prepare: (rig: ReturnType<typeof nested>): void => { rig.put(FIRST_STAGE_ENTRY, rig.entries[3] as number, { P: 1, US: 1, RW: 1, ADDR: 2 ** 36 }); }, fault: 0x84 },
    { name: "the result is not mapped", prepare: (rig: ReturnType<typeof nested>): void => { rig.guest(HOST, { R: 0, W: 0 }); }, fault: 0x79 },
    { name: "the result is write-only", prepare: (rig: ReturnType<typeof nested>): void => { rig.guest(HOST, { R: 0 }); }, fault: 0x86 },
    { name: "the result ends in the interrupt range", prepare: (rig: ReturnType<typeof nested>): void => { rig.guest(HOST, {}, 0xf_ee00); }, fault: 0x87 },
    { name: "the first stage has nothing", prepare: (rig: ReturnType<typeof nested>): void => { rig.flip(rig.entries[3] as number, 0); }, fault: 0x71 },
  ])("$name: $fault", ({ prepare, fault }) => {
    for (const caches of ["none", "realistic", "adversarial"] as const) {
      const rig = nested({ caches });
      rig.guest(HOST);
      prepare(rig);
      expect([rig.fault(PAGE), rig.fault(PAGE), rig.record()?.page]).toEqual([fault, fault, PAGE]);
    }
  });
  test("a write needs the right of both stages", () => {
    const rig = nested();
    rig.guest(HOST, { W: 0 });
    expect([rig.fault(PAGE), rig.fault(PAGE, { access: Access.Write }), rig.translate(PAGE).permissions & Access.Write]).toEqual([0, 0x85, 0]);
  });
  test("setting A in a table dirties the table's page in the second stage", () => {
    const rig = nested({ pasid: { SSADE: 1 } });
    const leaf = rig.guest(HOST);
    const own = tableOf(rig, 1);
    const table = rig.guest(own);
    rig.fault(PAGE);
    const flags = (entry: number): number => (rig.memory.read32(entry) >>> 8) & 3;
    expect([flags(table), flags(leaf)]).toEqual([3, 1]);
    rig.fault(PAGE, { access: Access.Write });
    expect([flags(table), flags(leaf)]).toEqual([3, 3]);
  });
  test("reading a table, and a page, leaves D clear in the second stage", () => {
    const rig = nested({ pasid: { SSADE: 1 } });
    const leaf = rig.guest(HOST);
    for (const entry of rig.entries) rig.flip(entry, 5);
    const tables = [1, 2, 3, 4].map((level) => rig.guest(tableOf(rig, level)));
    rig.fault(PAGE);
    expect([...tables, leaf].map((entry) => (rig.memory.read32(entry) >>> 8) & 3)).toEqual([1, 1, 1, 1, 1]);
  });
  test("a page that may only be written below is written", () => {
    const rig = nested();
    rig.guest(HOST, { R: 0 });
    for (let i = 0; i < 2; i++) expect([rig.fault(PAGE, { access: Access.Write }), rig.fault(PAGE)]).toEqual([0, 0x86]);
  });
  test("a table whose bits are set already needs no write right", () => {
    const rig = nested();
    rig.guest(HOST);
    for (const entry of rig.entries) rig.flip(entry, 5);
    for (const level of [1, 2, 3, 4]) rig.guest(tableOf(rig, level), { W: 0 });
    expect([rig.fault(PAGE), rig.fault(PAGE, { access: Access.Write })]).toEqual([0, 0x77]);
  });
  test("snooping is PGSNP's or the second-stage leaf's", () => {
    const rig = nested();
    rig.guest(HOST, { SNP: 1 });
    expect(rig.translate(PAGE).snoop).toBe(true);
  });
});

describe("translation requests on first-stage and nested tables (VT-d §4.1.3, Table 26)", () => {
  const asked = { type: AddressType.TranslationRequest };
  test("rights are answered as they are; a missing page or right is no fault", () => {
    const rig = firstStage({ context: { DTE: 1 } });
    rig.mapFirst(rig.first, PAGE, HOST, { leaf: { RW: 0 } });
    rig.mapFirst(rig.first, PAGE + 1, HOST, { leaf: { US: 0 } });
    expect(rig.translate(PAGE, { ...asked, access: Access.Write })).toMatchObject({ completion: Completion.Successful, permissions: Access.Read | Access.Execute, page: HOST });
    expect(rig.translate(PAGE + 1, asked)).toMatchObject({ completion: Completion.Successful, permissions: 0 });
    expect(rig.translate(PAGE + 2, asked)).toMatchObject({ completion: Completion.Successful, permissions: 0, fault: 0 });
    expect(rig.translate(2 ** 50, asked)).toMatchObject({ completion: Completion.Successful, permissions: 0 });
    expect(rig.record()).toBeUndefined();
  });
  test("write is only granted with D set: a read request of a clean page gets none", () => {
    const rig = firstStage({ context: { DTE: 1 } });
    const leaf = rig.mapFirst(rig.first, PAGE, HOST).at(-1) as number;
    const dirty = (): number => (rig.memory.read32(leaf) >>> 6) & 1;
    expect([rig.translate(PAGE, asked).permissions & Access.Write, dirty()]).toEqual([0, 0]);
    expect([rig.translate(PAGE, asked).permissions & Access.Write, dirty()]).toEqual([0, 0]);
    expect([rig.translate(PAGE, { ...asked, access: Access.Write }).permissions & Access.Write, dirty()]).toEqual([Access.Write, 1]);
    expect(rig.translate(PAGE, asked).permissions & Access.Write).toBe(Access.Write);
  });
  test("what is wrong in the tables aborts the request and is recorded", () => {
    const rig = firstStage({ context: { DTE: 1 }, hostAddressWidth: 46 });
    rig.flip(rig.mapFirst(rig.first, PAGE, HOST).at(-1) as number, 48);
    expect(rig.translate(PAGE, asked)).toMatchObject({ completion: Completion.CompleterAbort, fault: 0x72, recorded: true });
    expect(rig.record()).toMatchObject({ reason: 0x72, addressType: 1 });
  });
});
