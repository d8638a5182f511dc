import { Access, AddressType, Completion } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { PASID_DIRECTORY_ENTRY, PASID_ENTRY, SCALABLE_CONTEXT_ENTRY, SCALABLE_ROOT_ENTRY } from "../../src/layouts/index.ts";
import { BDF, RAM, Rig, ROOT, scalableRig, type RigOptions } from "./rig.ts";

const PAGE = 0x12345; // arbitrary
const HOST = 0x2345; // arbitrary
const NOWHERE = RAM / 4096 + 7;

const reservedBits = (reserved: readonly number[], width: number): number[] => Array.from({ length: width }, (_, bit) => bit).filter((bit) => (((reserved[bit >>> 5] ?? 0) >>> (bit & 31)) & 1) === 1);
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const sorted = (bits: readonly number[]): number[] => [...new Set(bits)].sort((a, b) => a - b);

/** Bits of a structure at `address` that make a request fault with `reason` when flipped. */
const faulting = (rig: Rig, address: number, bits: readonly number[], reason: number): number[] =>
  bits.filter((bit) => {
    rig.flip(address, bit);
    const fault = rig.fault(PAGE);
    rig.flip(address, bit);
    return fault === reason;
  });

describe("scalable mode, root entry (VT-d §9.2)", () => {
  test("only the half that the device's bit 7 selects is looked at", () => {
    const rig = scalableRig();
    rig.mapSecond(rig.second, PAGE, HOST);
    rig.put(SCALABLE_ROOT_ENTRY, ROOT + 16, { ...SCALABLE_ROOT_ENTRY.decode(rig.words(ROOT + 16, 4)), UP: 0 });
    rig.flip(ROOT + 16, 65);
    expect([rig.fault(PAGE), rig.fault(PAGE, { requester: BDF | 0x80 })]).toEqual([0, 0x39]);
    expect(rig.record()).toMatchObject({ reason: 0x39, pasid: undefined });
  });
  test("a root table outside memory faults 38h; exactly the reserved bits of each half 3ah", () => {
    expect(new Rig({ ecap: { SMTS: 1, SSTS: 1 } }).start(1, NOWHERE * 4096).fault(PAGE)).toBe(0x38);
    for (const requester of [BDF, BDF | 0x80]) {
      const rig = scalableRig({ caches: "none" });
      const { directory } = rig.scalableContext({}, requester);
      rig.pasid(directory, 0, { PGTT: 4 });
      const upper = requester === BDF ? 0 : 64;
      const hit = range(1, 127).filter((bit) => {
        rig.flip(ROOT + 16, bit);
        const fault = rig.fault(PAGE, { requester });
        rig.flip(ROOT + 16, bit);
        return fault === 0x3a;
      });
      expect(hit).toEqual(sorted([...range(upper + 1, upper + 11), ...range(upper + 52, upper + 63)]));
    }
  });
  test("pointers past the host address width are reserved", () => {
    const rig = scalableRig({ caches: "none", hostAddressWidth: 40 });
    expect(faulting(rig, ROOT + 16, range(12, 63), 0x3a)).toEqual(range(40, 63));
    expect(faulting(rig, rig.at.context, range(12, 63), 0x42)).toEqual(range(40, 63));
    expect(faulting(rig, rig.at.directory, range(12, 63), 0x52)).toEqual(range(40, 63));
    expect(faulting(rig, rig.at.entry, range(12, 63), 0x5a)).toEqual(range(40, 63));
    expect(faulting(rig, rig.at.entry, range(140, 191), 0x5a)).toEqual(range(168, 191));
  });
});

describe("scalable mode, context entry (VT-d §9.4)", () => {
  test("access error 40h, not present 41h", () => {
    const rig = scalableRig();
    rig.put(SCALABLE_ROOT_ENTRY, ROOT + 16, { LP: 1, LCTP: NOWHERE });
    expect(rig.fault(PAGE)).toBe(0x40);
    expect(scalableRig({ context: { P: 0 } }).fault(PAGE)).toBe(0x41);
  });
  test("exactly the reserved bits fault 42h", () => {
    const rig = scalableRig({ caches: "none" });
    expect(faulting(rig, rig.at.context, range(2, 255), 0x42)).toEqual(sorted([...reservedBits(SCALABLE_CONTEXT_ENTRY.reserved, 256), ...range(52, 63)]));
  });
  test.each([
    { field: "DTE", bits: [2], ecap: { DT: 0, PRS: 0, PDS: 0 } },
    { field: "PASIDE", bits: [3], ecap: { PASID: 0 } },
    { field: "PRE", bits: [4], ecap: { PRS: 0, PDS: 0 } },
    { field: "RID_PASID", bits: range(64, 83), ecap: { RPS: 0 } },
    { field: "RID_PRIV", bits: [84], ecap: { RPRIVS: 0 } },
  ])("$field is reserved without its capability", ({ bits, ecap }) => {
    const rig = scalableRig({ caches: "none", ecap, context: { PASIDE: 0 } });
    expect(faulting(rig, rig.at.context, bits, 0x42)).toEqual(bits);
    const full = scalableRig({ caches: "none", context: { PASIDE: 0 } });
    expect(faulting(full, full.at.context, bits, 0x42)).toEqual([]);
  });
  test("a RID_PASID past the directory faults 43h, after every reserved bit", () => {
    const rig = scalableRig({ context: { RID_PASID: 2 ** 13, PDTS: 0 } });
    expect(rig.fault(PAGE)).toBe(0x43);
    rig.flip(rig.at.context, 5);
    expect(rig.fault(PAGE)).toBe(0x42);
    const wider = scalableRig({ context: { RID_PASID: 2 ** 13, PDTS: 1 } });
    expect(wider.fault(PAGE)).toBe(0x51);
  });
  test("where it is a fault of its own, 48h, only requests without PASID have it, after 44h", () => {
    for (const caches of ["none", "realistic", "adversarial"] as const) {
      const rig = scalableRig({ caches, context: { RID_PASID: 2 ** 13, PDTS: 0 }, policy: { ridPasidFault: 0x48 } });
      rig.mapSecond(rig.second, PAGE, HOST);
      const ask = { type: AddressType.TranslationRequest };
      expect([rig.fault(PAGE), rig.fault(PAGE, { pasid: 0 }), rig.fault(PAGE), rig.fault(PAGE, ask)]).toEqual([0x48, 0, 0x48, 0x44]);
      expect(rig.record()).toMatchObject({ reason: 0x48, pasid: undefined });
      rig.flip(rig.at.context, 1);
      const fresh = scalableRig({ caches, context: { RID_PASID: 2 ** 13, FPD: 1, DTE: 1 }, policy: { ridPasidFault: 0x48 } });
      expect([fresh.translate(PAGE), fresh.translate(PAGE, ask)]).toMatchObject([{ fault: 0x48, recorded: false, completion: Completion.UnsupportedRequest }, { fault: 0x48, recorded: false, completion: Completion.CompleterAbort }]);
    }
  });
  test.each([
    { name: "a translation request without DTE", options: { type: AddressType.TranslationRequest }, fault: 0x44 },
    { name: "a translated request without DTE", options: { type: AddressType.Translated }, fault: 0x44 },
    { name: "a request with PASID without PASIDE", options: { pasid: 1 }, fault: 0x45 },
  ])("$name faults $fault", ({ options, fault }) => {
    const rig = scalableRig({ context: { PASIDE: 0 } });
    expect(rig.translate(PAGE, options)).toMatchObject({ fault, recorded: true, completion: Completion.UnsupportedRequest });
  });
  test("a PASID past the directory faults 46h; the last one inside is looked up", () => {
    const rig = scalableRig({ context: { PASIDE: 1, PDTS: 2 } });
    expect([rig.fault(PAGE, { pasid: 2 ** 15 - 1 }), rig.fault(PAGE, { pasid: 2 ** 15 })]).toEqual([0x51, 0x46]);
  });
  test("RID_PASID is the PASID of requests without one, and PP stays clear in their records", () => {
    const rig = scalableRig({ context: { RID_PASID: 77 }, pasidValue: 77 });
    rig.mapSecond(rig.second, PAGE, HOST);
    expect([rig.fault(PAGE), rig.fault(PAGE, { pasid: 77 }), rig.fault(PAGE, { pasid: 76 }), rig.fault(PAGE + 1)]).toEqual([0, 0, 0x59, 0x79]);
    expect(rig.record()).toMatchObject({ pasid: 76, reason: 0x59 });
    expect(rig.record(1)).toMatchObject({ pasid: undefined, reason: 0x79 });
  });
  test("every bit of RID_PASID counts", () => {
    const rig = scalableRig({ context: { RID_PASID: 0xf_ffff, PDTS: 7, PASIDDIRPTR: 0x800 } });
    rig.pasid(0x80_0000, 0xf_ffff, { PGTT: 4 });
    expect(rig.fault(PAGE)).toBe(0);
    for (let bit = 0; bit < 20; bit++) {
      const other = scalableRig({ context: { RID_PASID: 2 ** bit, PDTS: 7, PASIDDIRPTR: 0x800 } });
      other.pasid(0x80_0000, 2 ** bit, { PGTT: 4 });
      expect([bit, other.fault(PAGE), other.fault(PAGE, { pasid: 0 })]).toEqual([bit, 0, 0x79]);
    }
  });
  test("without RPS requests without PASID use PASID 0, unless the policy obeys RID_PASID", () => {
    const rig = scalableRig({ ecap: { RPS: 0 } });
    rig.mapSecond(rig.second, PAGE, HOST);
    expect(rig.fault(PAGE)).toBe(0);
    const obeying = scalableRig({ ecap: { RPS: 0 }, policy: { ridPasid: true }, context: { RID_PASID: 9 }, pasidValue: 9 });
    obeying.mapSecond(obeying.second, PAGE, HOST);
    expect(obeying.fault(PAGE)).toBe(0);
  });
});

describe("PASID directory and table (VT-d §9.5, §9.6)", () => {
  test("directory: access error 50h, not present 51h, exactly the reserved bits 52h", () => {
    expect(scalableRig({ context: { PASIDDIRPTR: NOWHERE }, start: false }).start(1).fault(PAGE)).toBe(0x50);
    const rig = scalableRig({ caches: "none" });
    expect(faulting(rig, rig.at.directory, [0], 0x51)).toEqual([0]);
    expect(faulting(rig, rig.at.directory, range(2, 63), 0x52)).toEqual(sorted([...reservedBits(PASID_DIRECTORY_ENTRY.reserved, 64), ...range(52, 63)]));
  });
  test("a directory of several pages is indexed through all of them", () => {
    const rig = scalableRig({ context: { PDTS: 6, PASIDE: 1 } });
    // Pages after the first of the directory: the rig hands out pages in order, so they are claimed before tables.
    const pasid = 512 * 64 * 3 + 64 * 5 + 7; // arbitrary: directory page 3, entry 5, table entry 7
    const fresh = scalableRig({ context: { PDTS: 6, PASIDE: 1, PASIDDIRPTR: 0x100 } });
    fresh.pasid(0x10_0000, pasid, { PGTT: 4 });
    expect([rig.fault(PAGE, { pasid }), fresh.fault(PAGE, { pasid }), fresh.fault(PAGE, { pasid: pasid + 1 }), fresh.fault(PAGE, { pasid: pasid + 64 })]).toEqual([0x51, 0, 0x59, 0x51]);
  });
  test("table: access error 58h, not present 59h", () => {
    const rig = scalableRig({ caches: "none" });
    rig.put(PASID_DIRECTORY_ENTRY, rig.at.directory, { P: 1, SMPTBLPTR: NOWHERE });
    expect(rig.fault(PAGE)).toBe(0x58);
    expect(scalableRig({ pasid: { P: 0 } }).fault(PAGE)).toBe(0x59);
    expect(scalableRig({ pasid: { P: 0, PGTT: 0 } }).fault(PAGE)).toBe(0x59);
  });
  test("exactly the reserved bits fault 5ah when everything is supported", () => {
    const rig = scalableRig({ caches: "none", ecap: { ERS: 1 } });
    expect(faulting(rig, rig.at.entry, range(2, 511), 0x5a)).toEqual(sorted([...reservedBits(PASID_ENTRY.reserved, 512), ...range(52, 63), ...range(180, 191)]));
  });
  test.each([
    { name: "second stage", ecap: { SSTS: 0, NEST: 0, SSADS: 0 }, bits: [9, ...range(12, 63)] },
    { name: "second-stage A/D", ecap: { SSADS: 0 }, bits: [9] },
    { name: "coherent walks", ecap: { SMPWCS: 0 }, bits: [87] },
    { name: "snoop control", ecap: { SC: 0 }, bits: [88] },
    { name: "memory types", ecap: { MTS: 0 }, bits: [89, 90, ...range(96, 127)] },
    { name: "first stage", ecap: { FSTS: 0, NEST: 0 }, bits: [...range(128, 132), 135, ...range(140, 191)] },
    { name: "supervisor requests", ecap: { SRS: 0 }, bits: [128, 129] },
    { name: "extended accessed flags", ecap: { EAFS: 0 }, bits: [129, 135] },
  ] satisfies { name: string; ecap: NonNullable<RigOptions["ecap"]>; bits: number[] }[])("fields of $name are reserved without it, for pass-through too", ({ ecap, bits }) => {
    const cap = "FSTS" in ecap ? { FS5LP: 0, FS1GP: 0 } : {};
    const rig = scalableRig({ caches: "none", ecap, cap, pasid: { PGTT: 4, PWSNP: 0, SSPTPTR: 0, FSPTPTR: 0, AW: 0 } });
    const always = reservedBits(PASID_ENTRY.reserved, 512);
    const expected = sorted([...always, ...range(52, 63), ...range(180, 191), ...bits, 129]);
    expect(faulting(rig, rig.at.entry, range(2, 511), 0x5a)).toEqual(expected);
  });
  test.each([
    { name: "PGTT 0", pasid: { PGTT: 0 }, ecap: {} },
    { name: "PGTT 5", pasid: { PGTT: 5 }, ecap: {} },
    { name: "PGTT 6", pasid: { PGTT: 6 }, ecap: {} },
    { name: "PGTT 7", pasid: { PGTT: 7 }, ecap: {} },
    { name: "nested without NEST", pasid: { PGTT: 3 }, ecap: { NEST: 0 } },
    { name: "pass-through without PT", pasid: { PGTT: 4 }, ecap: { PT: 0 } },
    { name: "AW 0 with second stage", pasid: { PGTT: 2, AW: 0 }, ecap: {} },
    { name: "AW 4 with nesting", pasid: { PGTT: 3, AW: 4 }, ecap: {} },
    { name: "FSPM 2", pasid: { PGTT: 1, FSPM: 2 }, ecap: {} },
    { name: "FSPM 3 with nesting", pasid: { PGTT: 3, FSPM: 3 }, ecap: {} },
  ])("$name faults 5bh", ({ pasid, ecap }) => {
    expect(scalableRig({ pasid, ecap }).fault(PAGE)).toBe(0x5b);
  });
  test("first stage without FSTS, second without SSTS fault 5bh once their fields are clear", () => {
    const clear = { PWSNP: 0, SSPTPTR: 0, FSPTPTR: 0, AW: 2 };
    expect(scalableRig({ pasid: { ...clear, PGTT: 1 }, ecap: { FSTS: 0, NEST: 0 }, cap: { FS5LP: 0, FS1GP: 0 } }).fault(PAGE)).toBe(0x5b);
    expect(scalableRig({ pasid: { ...clear, PGTT: 2 }, ecap: { SSTS: 0, NEST: 0, SSADS: 0 } }).fault(PAGE)).toBe(0x5b);
  });
  test("five first-stage levels need FS5LP", () => {
    expect(scalableRig({ pasid: { PGTT: 1, FSPM: 1 }, cap: { FS5LP: 0 } }).fault(PAGE)).toBe(0x5b);
    expect(scalableRig({ pasid: { PGTT: 1, FSPM: 1 } }).fault(PAGE)).toBe(0x71);
  });
  test("AW and FSPM of pass-through entries are not judged", () => {
    expect(scalableRig({ pasid: { PGTT: 4, AW: 7, FSPM: 3 } }).fault(PAGE)).toBe(0);
  });
  test("execute requests need ERE (5ch), supervisor requests SRE (5dh)", () => {
    const access = Access.Read | Access.Execute;
    const privileged = Access.Read | Access.Privileged;
    for (const [pasid, expected] of [[{ PGTT: 1 }, [0x5c, 0x5d]], [{ PGTT: 1, ERE: 1, SRE: 1 }, [0x71, 0x71]]] as const) {
      const rig = scalableRig({ pasid, ecap: { ERS: 1 } });
      expect([rig.fault(PAGE, { pasid: 0, access }), rig.fault(PAGE, { pasid: 0, access: privileged })]).toEqual(expected);
    }
    const rig = scalableRig({ pasid: { PGTT: 1 }, context: { RID_PRIV: 1 } });
    expect([rig.fault(PAGE), rig.record()?.privileged]).toEqual([0x5d, false]);
    // Requests with PASID say for themselves what they are.
    expect(rig.fault(PAGE, { pasid: 0 })).toBe(0x71);
    const executing = scalableRig({ pasid: { PGTT: 1, ERE: 1 }, ecap: { ERS: 1 } });
    expect([executing.fault(PAGE, { pasid: 0, access }), executing.fault(PAGE, { pasid: 0, access: access | Access.Privileged })]).toEqual([0x71, 0x5d]);
    const second = scalableRig({ ecap: { ERS: 1 } });
    expect([second.fault(PAGE, { pasid: 0, access: privileged }), second.fault(PAGE, { pasid: 0, access })]).toEqual([0x79, 0x5c]);
  });
  test("PRIV and EXE of a record show the request's", () => {
    const rig = scalableRig({ pasid: { PGTT: 1 }, ecap: { ERS: 1 } });
    rig.fault(PAGE, { pasid: 0, access: Access.Read | Access.Execute | Access.Privileged });
    expect(rig.record()).toMatchObject({ execute: true, privileged: true, pasid: 0, type: "read" });
  });
});

describe("fault processing disable in scalable mode (VT-d §7.1.3)", () => {
  const CONTEXT = 1;
  const DIRECTORY = 2;
  const ENTRY = 4;
  /** Reasons, how to get them, and from which structure's FPD on they are silent. */
  const cases = [
    { reason: 0x41, prepare: (rig: ReturnType<typeof scalableRig>): void => { rig.flip(rig.at.context, 0); }, by: CONTEXT },
    { reason: 0x42, prepare: (rig: ReturnType<typeof scalableRig>): void => { rig.flip(rig.at.context, 5); }, by: CONTEXT },
    { reason: 0x50, prepare: (rig: ReturnType<typeof scalableRig>): void => { rig.put(SCALABLE_CONTEXT_ENTRY, rig.at.context, { ...SCALABLE_CONTEXT_ENTRY.decode(rig.words(rig.at.context, 8)), PASIDDIRPTR: NOWHERE }); }, by: 0 },
    { reason: 0x51, prepare: (rig: ReturnType<typeof scalableRig>): void => { rig.flip(rig.at.directory, 0); }, by: CONTEXT | DIRECTORY },
    { reason: 0x52, prepare: (rig: ReturnType<typeof scalableRig>): void => { rig.flip(rig.at.directory, 3); }, by: CONTEXT | DIRECTORY },
    { reason: 0x58, prepare: (rig: ReturnType<typeof scalableRig>): void => { rig.put(PASID_DIRECTORY_ENTRY, rig.at.directory, { ...PASID_DIRECTORY_ENTRY.decode(rig.words(rig.at.directory, 2)), SMPTBLPTR: NOWHERE }); }, by: 0 },
    { reason: 0x59, prepare: (rig: ReturnType<typeof scalableRig>): void => { rig.flip(rig.at.entry, 0); }, by: CONTEXT | DIRECTORY | ENTRY },
    { reason: 0x5a, prepare: (rig: ReturnType<typeof scalableRig>): void => { rig.flip(rig.at.entry, 5); }, by: CONTEXT | DIRECTORY | ENTRY },
    { reason: 0x5b, prepare: (rig: ReturnType<typeof scalableRig>): void => { rig.flip(rig.at.entry, 8); rig.flip(rig.at.entry, 6); }, by: CONTEXT | DIRECTORY | ENTRY },
    { reason: 0x79, prepare: (): void => undefined, by: CONTEXT | DIRECTORY | ENTRY },
  ];
  test.each(cases)("reason $reason", ({ reason, prepare, by }) => {
    for (const set of [0, CONTEXT, DIRECTORY, ENTRY, CONTEXT | ENTRY]) {
      const rig = scalableRig();
      if (set & CONTEXT) rig.flip(rig.at.context, 1);
      if (set & DIRECTORY) rig.flip(rig.at.directory, 1);
      if (set & ENTRY) rig.flip(rig.at.entry, 1);
      prepare(rig);
      for (let i = 0; i < 2; i++) expect(rig.translate(PAGE)).toMatchObject({ fault: reason, recorded: (set & by) === 0 });
      expect(rig.record()?.reason).toBe((set & by) === 0 ? reason : undefined);
    }
  });
  test("FPD of one source silences no other's root entry", () => {
    for (const caches of ["none", "realistic", "adversarial"] as const) {
      const rig = scalableRig({ caches, context: { FPD: 1, P: 0 } });
      for (let i = 0; i < 2; i++) expect([rig.translate(PAGE), rig.translate(PAGE, { requester: BDF ^ 0x100 })]).toMatchObject([{ fault: 0x41, recorded: false }, { fault: 0x39, recorded: true }]);
      // Nor that source's own, once there is none.
      rig.put(SCALABLE_ROOT_ENTRY, rig.at.root, {});
      expect(rig.translate(PAGE)).toMatchObject({ fault: 0x39, recorded: true });
    }
  });
  test("a fault at the context entry, found for the request, is silenced by the context entry's FPD only", () => {
    const rig = scalableRig({ context: { PASIDE: 0, FPD: 1 } });
    expect(rig.translate(PAGE, { pasid: 1 })).toMatchObject({ fault: 0x45, recorded: false });
  });
});

describe("second stage in scalable mode (VT-d §3.7, §7.1.3)", () => {
  test.each([
    { name: "top table unreadable", prepare: (rig: ReturnType<typeof scalableRig>): void => { rig.put(PASID_ENTRY, rig.at.entry, { ...PASID_ENTRY.decode(rig.words(rig.at.entry, 16)), SSPTPTR: NOWHERE }); }, fault: 0x7b },
    { name: "lower table unreadable", prepare: (rig: ReturnType<typeof scalableRig>): void => { rig.mapSecond(rig.second, PAGE, HOST); rig.putWords(rig.second * 4096, [(NOWHERE * 4096 + 3) >>> 0, Math.floor((NOWHERE * 4096) / 2 ** 32)]); }, fault: 0x78 },
    { name: "not present", prepare: (): void => undefined, fault: 0x79 },
    { name: "reserved bits", prepare: (rig: ReturnType<typeof scalableRig>): void => { rig.mapSecond(rig.second, PAGE, HOST, { leaf: { TM: 1 } }); }, fault: 0x7a },
    { name: "no read right", prepare: (rig: ReturnType<typeof scalableRig>): void => { rig.mapSecond(rig.second, PAGE, HOST, { leaf: { R: 0 } }); }, fault: 0x86 },
    { name: "interrupt range", prepare: (rig: ReturnType<typeof scalableRig>): void => { rig.mapSecond(rig.second, PAGE, 0xf_ee12); }, fault: 0x87 },
  ])("$name faults $fault", ({ prepare, fault }) => {
    const rig = scalableRig();
    prepare(rig);
    expect([rig.fault(PAGE), rig.record()?.reason]).toEqual([fault, fault]);
  });
  test("no write right 85h, past the width 84h, pass-through past the host width 83h", () => {
    const rig = scalableRig();
    rig.mapSecond(rig.second, PAGE, HOST, { leaf: { W: 0 } });
    expect([rig.fault(PAGE, { access: Access.Write }), rig.fault(2 ** 36)]).toEqual([0x85, 0x84]);
    const through = scalableRig({ pasid: { PGTT: 4 }, hostAddressWidth: 40 });
    expect([through.fault(2 ** 28 - 1), through.fault(2 ** 28)]).toEqual([0, 0x83]);
  });
  test("entries not present fault 79h for reads and writes alike", () => {
    expect(scalableRig().fault(PAGE, { access: Access.Write })).toBe(0x79);
  });
  test.each([
    { ERS: 0, leaf: { R: 0, W: 0, X: 1 }, read: 0x79, write: 0x79, execute: 0x5c },
    { ERS: 1, leaf: { R: 0, W: 0, X: 1 }, read: 0x86, write: 0x85, execute: 0x86 },
    { ERS: 1, leaf: { R: 1, W: 0, X: 0 }, read: 0, write: 0x85, execute: 0x82 },
    { ERS: 1, leaf: { R: 1, W: 0, X: 1 }, read: 0, write: 0x85, execute: 0 },
    { ERS: 1, leaf: { R: 0, W: 1, X: 0 }, read: 0x86, write: 0, execute: 0x86 },
    { ERS: 1, leaf: { R: 0, W: 0, X: 0 }, read: 0x79, write: 0x79, execute: 0x79 },
  ])("X makes an entry present where execute requests are supported (§9.8): ERS=$ERS, $leaf", ({ ERS, leaf, read, write, execute }) => {
    const rig = scalableRig({ ecap: { ERS }, pasid: ERS ? { ERE: 1 } : {} });
    for (const entry of rig.mapSecond(rig.second, PAGE, HOST, { leaf }).slice(0, 3)) rig.flip(entry, 2);
    const faults = (): number[] => [Access.Read, Access.Write, Access.Read | Access.Execute].map((access) => rig.fault(PAGE, { pasid: 0, access }));
    for (let i = 0; i < 2; i++) expect(faults()).toEqual([read, write, execute]);
  });
  test("the snoop output is PGSNP or the leaf's SNP", () => {
    for (const [PGSNP, SNP] of [[0, 0], [0, 1], [1, 0]] as const) {
      const rig = scalableRig({ pasid: { PGSNP } });
      rig.mapSecond(rig.second, PAGE, HOST, { leaf: { SNP } });
      expect(rig.translate(PAGE).snoop).toBe(PGSNP + SNP > 0);
    }
  });
});

describe("second-stage accessed and dirty bits (VT-d §3.7.2)", () => {
  const bits = (rig: Rig, entries: readonly number[]): string => entries.map((entry) => `${(rig.memory.read32(entry) >>> 8) & 1}${(rig.memory.read32(entry) >>> 9) & 1}`).join(" ");
  test("a read sets A on the way, a write D in the leaf too, also after the read was cached", () => {
    const rig = scalableRig({ pasid: { SSADE: 1 } });
    const entries = rig.mapSecond(rig.second, PAGE, HOST);
    rig.fault(PAGE);
    expect(bits(rig, entries)).toBe("10 10 10 10");
    rig.fault(PAGE);
    expect(bits(rig, entries)).toBe("10 10 10 10");
    rig.fault(PAGE, { access: Access.Write });
    expect(bits(rig, entries)).toBe("10 10 10 11");
  });
  test("without SSADE nothing is written", () => {
    const rig = scalableRig();
    const entries = rig.mapSecond(rig.second, PAGE, HOST);
    rig.fault(PAGE, { access: Access.Write });
    expect(bits(rig, entries)).toBe("00 00 00 00");
  });
  test("a fault leaves D clear and A set above it only", () => {
    const rig = scalableRig({ pasid: { SSADE: 1 } });
    const entries = rig.mapSecond(rig.second, PAGE, HOST, { leaf: { W: 0 } });
    expect(rig.fault(PAGE, { access: Access.Write })).toBe(0x85);
    expect(bits(rig, entries)).toBe("10 10 10 00");
  });
  test("software's ignored bits survive", () => {
    const rig = scalableRig({ pasid: { SSADE: 1 } });
    const leaf = rig.mapSecond(rig.second, PAGE, HOST, { leaf: { IGN: 1, IGN2: 0x3ff, IGN3: 1 } }).at(-1) as number;
    const before = rig.words(leaf, 2);
    rig.fault(PAGE, { access: Access.Write });
    expect([...rig.words(leaf, 2)]).toEqual([((before[0] as number) | 0x300) >>> 0, before[1]]);
  });
  test("an update that is needed without snooping walks faults 7ch; bits already set pass", () => {
    const rig = scalableRig({ pasid: { SSADE: 1, PWSNP: 0 } });
    const entries = rig.mapSecond(rig.second, PAGE, HOST, { leaf: { A: 1, D: 1 } });
    expect(rig.fault(PAGE, { access: Access.Write })).toBe(0x7c);
    for (const entry of entries.slice(0, 3)) rig.flip(entry, 8);
    expect(rig.fault(PAGE, { access: Access.Write })).toBe(0);
    rig.flip(entries[3] as number, 9);
    rig.mapSecond(rig.second, PAGE + 1, HOST, { leaf: { A: 1 } });
    expect([rig.fault(PAGE + 1), rig.fault(PAGE + 1, { access: Access.Write })]).toEqual([0, 0x7c]);
  });
  test("large pages carry the bits in their own entry", () => {
    const rig = scalableRig({ pasid: { SSADE: 1 } });
    const entries = rig.mapSecond(rig.second, 0x4_0000, 0x8_0000, { leafLevel: 2 });
    rig.fault(0x4_0011, { access: Access.Write });
    expect(bits(rig, entries)).toBe("10 10 11");
  });
});
