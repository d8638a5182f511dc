import { Access, AddressType, Completion, NO_PASID } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { CONTEXT_ENTRY, ROOT_ENTRY, RTADDR_REG, SECOND_STAGE_ENTRY } from "../../src/layouts/index.ts";
import { BDF, legacyRig, RAM, Rig, ROOT } from "./rig.ts";

const PAGE = 0x12345; // arbitrary
const HOST = 0x2345; // arbitrary
/** A page number where no memory is. */
const NOWHERE = RAM / 4096 + 7;

const reservedBits = (reserved: readonly number[], width: number): number[] => Array.from({ length: width }, (_, bit) => bit).filter((bit) => (((reserved[bit >>> 5] ?? 0) >>> (bit & 31)) & 1) === 1);
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe("legacy mode, root entry (VT-d §9.1, §7.1.3)", () => {
  test("a root entry that is not there faults 01h and is recorded", () => {
    const rig = new Rig().start();
    expect(rig.translate(PAGE)).toMatchObject({ fault: 0x01, recorded: true, completion: Completion.UnsupportedRequest });
    expect(rig.record()).toEqual({ page: PAGE, sid: BDF, reason: 0x01, type: "read", pasid: undefined, privileged: false, execute: false, addressType: 0 });
  });
  test("a root table outside memory faults 08h", () => {
    expect(new Rig().start(0, NOWHERE * 4096).fault(PAGE)).toBe(0x08);
  });
  test("exactly the reserved bits of a present entry fault 0ah", () => {
    const rig = legacyRig({ caches: "none" });
    rig.mapSecond(rig.table, PAGE, HOST);
    const faulting = range(1, 127).filter((bit) => {
      rig.flip(rig.entries.root, bit);
      const fault = rig.fault(PAGE);
      rig.flip(rig.entries.root, bit);
      return fault === 0x0a;
    });
    expect(faulting).toEqual([...reservedBits(ROOT_ENTRY.reserved, 128), ...range(46, 63)].sort((a, b) => a - b));
  });
});

describe("legacy mode, context entry (VT-d §9.3, §7.1.3)", () => {
  test("a context entry that is not present faults 02h", () => {
    const rig = legacyRig({ context: { P: 0 } });
    expect([rig.fault(PAGE), rig.record()?.reason]).toEqual([0x02, 0x02]);
  });
  test("a context table outside memory faults 09h, whatever FPD of nothing would say", () => {
    const rig = new Rig();
    rig.put(ROOT_ENTRY, ROOT + 16, { P: 1, CTP: NOWHERE });
    expect(rig.start().translate(PAGE)).toMatchObject({ fault: 0x09, recorded: true });
  });
  test("exactly the reserved bits fault 0bh; 70:67 are ignored", () => {
    const rig = legacyRig({ caches: "none" });
    rig.mapSecond(rig.table, PAGE, HOST);
    const faulting = range(2, 127).filter((bit) => {
      rig.flip(rig.entries.context, bit);
      const fault = rig.fault(PAGE);
      rig.flip(rig.entries.context, bit);
      return fault === 0x0b;
    });
    expect(faulting).toEqual([...reservedBits(CONTEXT_ENTRY.reserved, 128), ...range(46, 63)].sort((a, b) => a - b));
  });
  test.each([
    { name: "TT = 3", fields: { TT: 3 }, changes: {} },
    { name: "TT = 1 without device-TLBs", fields: { TT: 1 }, changes: { ecap: { DT: 0 } } },
    { name: "TT = 2 without pass-through", fields: { TT: 2 }, changes: { ecap: { PT: 0 } } },
    { name: "AW = 0", fields: { AW: 0 }, changes: {} },
    { name: "AW = 3 without 57 bits", fields: { AW: 3 }, changes: {} },
    { name: "AW = 1 without 39 bits", fields: { AW: 1 }, changes: { cap: { SAGAW: 0b0100 } } },
    { name: "AW = 7", fields: { AW: 7 }, changes: {} },
    { name: "a top table outside memory", fields: { SSPTPTR: NOWHERE }, changes: {} },
  ])("$name faults 03h", ({ fields, changes }) => {
    expect(legacyRig({ context: fields, ...changes }).fault(PAGE)).toBe(0x03);
  });
  test("a pass-through entry's pointer is ignored, bits past the host address width too", () => {
    const rig = legacyRig({ context: { TT: 2, SSPTPTR: 2 ** 52 - 1 } });
    expect(rig.translate(PAGE)).toMatchObject({ fault: 0, page: PAGE, permissions: Access.Read | Access.Write | Access.Execute });
  });
  test("device and function choose the entry, the bus its table", () => {
    const rig = legacyRig();
    rig.mapSecond(rig.table, PAGE, HOST);
    expect([rig.fault(PAGE), rig.fault(PAGE, { requester: BDF ^ 1 }), rig.fault(PAGE, { requester: BDF ^ 0x80 }), rig.fault(PAGE, { requester: BDF ^ 0x100 })]).toEqual([0, 0x02, 0x02, 0x01]);
  });
  test("a request with PASID faults 31h", () => {
    const rig = legacyRig();
    rig.mapSecond(rig.table, PAGE, HOST);
    expect([rig.fault(PAGE, { pasid: 3 }), rig.record()?.pasid]).toEqual([0x31, 3]);
  });
});

describe("second-stage walk (VT-d §3.7, §9.8)", () => {
  test.each([
    { levels: 3, AW: 1, page: 2 ** 27 - 1 },
    { levels: 4, AW: 2, page: 2 ** 36 - 1 },
    { levels: 5, AW: 3, page: 2 ** 45 - 1 },
  ])("$levels levels translate to the last page of the width and fault 04h past it", ({ levels, AW, page }) => {
    const rig = legacyRig({ cap: { SAGAW: 0b1110, MGAW: 56 }, context: { AW } });
    rig.mapSecond(rig.table, page, HOST, { levels });
    expect(rig.translate(page)).toMatchObject({ fault: 0, page: HOST, pageShift: 12, permissions: 3, completion: Completion.Successful });
    expect(rig.fault(page + 1)).toBe(0x04);
  });
  test("MGAW bounds the address where it is less than the table's width", () => {
    const rig = legacyRig({ cap: { MGAW: 39 } });
    rig.mapSecond(rig.table, 2 ** 28 - 1, HOST);
    expect([rig.fault(2 ** 28 - 1), rig.fault(2 ** 28)]).toEqual([0, 0x04]);
  });
  test.each([
    { leafLevel: 2, inside: 0x1ff, shift: 21 },
    { leafLevel: 3, inside: 0x3_ffff, shift: 30 },
  ])("a page of level $leafLevel covers all that is below it", ({ leafLevel, inside, shift }) => {
    const rig = legacyRig();
    const base = 4 * (inside + 1);
    rig.mapSecond(rig.table, base, 8 * (inside + 1), { leafLevel });
    for (const page of [base, base + inside, base + 0x123]) expect(rig.translate(page)).toMatchObject({ fault: 0, page: 8 * (inside + 1) + page - base, pageShift: shift });
    expect([rig.fault(base - 1), rig.fault(base + inside + 1)]).toEqual([0x06, 0x06]);
  });
  test("a page far above 16 TiB keeps all its bits, from the table and from the cache", () => {
    const rig = legacyRig({ hostAddressWidth: 52 });
    const far = 2 ** 40 - 0x3;
    rig.mapSecond(rig.table, PAGE, far);
    rig.mapSecond(rig.table, 0x20_0000, 2 ** 40 - 512, { leafLevel: 2 });
    for (let i = 0; i < 2; i++) expect([rig.translate(PAGE).page, rig.translate(0x20_0000 + 77).page]).toEqual([far, 2 ** 40 - 512 + 77]);
  });
  test.each([
    { leaf: { R: 0, W: 1 }, read: 0x06, write: 0 },
    { leaf: { R: 1, W: 0 }, read: 0, write: 0x05 },
    { leaf: { R: 0, W: 0 }, read: 0x06, write: 0x05 },
    { leaf: { R: 0, W: 0, X: 1 }, read: 0x06, write: 0x05 },
  ])("a leaf with $leaf: reads $read, writes $write", ({ leaf, read, write }) => {
    const rig = legacyRig();
    rig.mapSecond(rig.table, PAGE, HOST, { leaf });
    expect([rig.fault(PAGE), rig.fault(PAGE, { access: Access.Write }), rig.fault(PAGE), rig.fault(PAGE, { access: Access.Write })]).toEqual([read, write, read, write]);
  });
  test.each([0, 1, 2])("rights are those of every level: level %i from the top without W", (at) => {
    const rig = legacyRig();
    const entries = rig.mapSecond(rig.table, PAGE, HOST);
    rig.flip(entries[at] as number, 1);
    expect([rig.fault(PAGE), rig.fault(PAGE, { access: Access.Write }), rig.translate(PAGE).permissions]).toEqual([0, 0x05, Access.Read]);
  });
  test("an atomic access needs both rights; without either it is a write that is missed first", () => {
    const rig = legacyRig();
    rig.mapSecond(rig.table, PAGE, HOST, { leaf: { W: 0 } });
    rig.mapSecond(rig.table, PAGE + 1, HOST, { leaf: { R: 0 } });
    const access = Access.Read | Access.Write;
    expect([rig.fault(PAGE, { access }), rig.record()?.type, rig.fault(PAGE + 1, { access }), rig.fault(PAGE + 2, { access })]).toEqual([0x05, "atomic", 0x06, 0x05]);
  });
  test("a zero-length read needs no read right with ZLR, and needs it without", () => {
    const faults = [1, 0].map((ZLR) => {
      const rig = legacyRig({ cap: { ZLR } });
      rig.mapSecond(rig.table, PAGE, HOST, { leaf: { R: 0, W: 1 } });
      return [rig.fault(PAGE, { access: 0 }), rig.fault(PAGE + 1, { access: 0 })];
    });
    expect(faults).toEqual([[0, 0x06], [0x06, 0x06]]);
  });
  test("a table below the top outside memory faults 07h", () => {
    const rig = legacyRig();
    const entries = rig.mapSecond(rig.table, PAGE, HOST);
    for (const entry of entries.slice(0, 3)) {
      const old = rig.words(entry, 2);
      rig.put(SECOND_STAGE_ENTRY, entry, { R: 1, W: 1, ADDR: NOWHERE });
      expect(rig.fault(PAGE)).toBe(0x07);
      rig.putWords(entry, old);
    }
  });
  test("an entry without any right is not present, whatever its reserved bits", () => {
    const rig = legacyRig();
    const entry = rig.mapSecond(rig.table, PAGE, HOST, { leaf: { R: 0, W: 0, SNP: 1, TM: 1 } }).at(-1) as number;
    expect(rig.fault(PAGE)).toBe(0x06);
    rig.flip(entry, 0);
    expect(rig.fault(PAGE)).toBe(0x0c);
  });
  test("reserved bits come before a right that is missing", () => {
    const rig = legacyRig();
    rig.mapSecond(rig.table, PAGE, HOST, { leaf: { W: 0, TM: 1 } });
    expect(rig.fault(PAGE, { access: Access.Write })).toBe(0x0c);
  });

  const HAW_BITS = range(46, 51);
  test.each([
    { name: "leaf of level 1, SC", leafLevel: 1, at: 3, SC: 1, expected: [...HAW_BITS, 62] },
    { name: "leaf of level 1, no SC", leafLevel: 1, at: 3, SC: 0, expected: [11, ...HAW_BITS, 62] },
    { name: "leaf of level 2", leafLevel: 2, at: 2, SC: 1, expected: [...range(12, 20), ...HAW_BITS, 62] },
    { name: "leaf of level 3", leafLevel: 3, at: 1, SC: 1, expected: [...range(12, 29), ...HAW_BITS, 62] },
    { name: "leaf of level 3, no SC", leafLevel: 3, at: 1, SC: 0, expected: [11, ...range(12, 29), ...HAW_BITS, 62] },
    { name: "level 4", leafLevel: 1, at: 0, SC: 1, expected: [7, 11, ...HAW_BITS, 62] },
    { name: "level 3, non-leaf", leafLevel: 1, at: 1, SC: 1, expected: [11, ...HAW_BITS, 62] },
    { name: "level 2, non-leaf", leafLevel: 1, at: 2, SC: 1, expected: [11, ...HAW_BITS, 62] },
  ])("exactly these bits are reserved: $name", ({ leafLevel, at, SC, expected }) => {
    const rig = legacyRig({ caches: "none", ecap: { SC } });
    const base = 0x4_0000;
    const entry = rig.mapSecond(rig.table, base, 0x4_0000, { leafLevel })[at] as number;
    const faulting = range(3, 63).filter((bit) => {
      rig.flip(entry, bit);
      const fault = rig.fault(base);
      rig.flip(entry, bit);
      return fault === 0x0c;
    });
    expect(faulting.filter((bit) => bit !== 7 || expected.includes(7))).toEqual(expected);
  });
  test.each([32, 33, 45, 51, 52])("address bits from a host address width of %i up are reserved, in every table", (hostAddressWidth) => {
    const rig = legacyRig({ caches: "none", hostAddressWidth });
    const entries = rig.mapSecond(rig.table, PAGE, HOST);
    const reserved = (address: number, bits: readonly number[], reason: number): number[] =>
      bits.filter((bit) => {
        rig.flip(address, bit);
        const fault = rig.fault(PAGE);
        rig.flip(address, bit);
        return fault === reason;
      });
    for (const entry of entries) expect(reserved(entry, range(30, 51), 0x0c)).toEqual(range(hostAddressWidth, 51));
    expect(reserved(rig.entries.root, range(30, 63), 0x0a)).toEqual(range(hostAddressWidth, 63));
    expect(reserved(rig.entries.context, range(30, 63), 0x0b)).toEqual(range(hostAddressWidth, 63));
  });
  test.each([
    { leafLevel: 2, SSLPS: 0b10 },
    { leafLevel: 3, SSLPS: 0b01 },
    { leafLevel: 4, SSLPS: 0b11 },
  ])("a page of level $leafLevel with SSLPS = $SSLPS faults 0ch", ({ leafLevel, SSLPS }) => {
    const rig = legacyRig({ cap: { SSLPS } });
    rig.mapSecond(rig.table, 0, 0, { leafLevel });
    expect(rig.fault(0)).toBe(0x0c);
  });
  test("a page in the interrupt address range faults 0eh, its neighbours in one large page do not", () => {
    const rig = legacyRig();
    rig.mapSecond(rig.table, 0, 0xf_ee00, { leafLevel: 2 });
    expect([rig.fault(0), rig.fault(0xff), rig.fault(0x100)]).toEqual([0x0e, 0x0e, 0]);
    rig.mapSecond(rig.table, 0x400, 0xf_edff);
    rig.mapSecond(rig.table, 0x401, 0xf_eeff);
    rig.mapSecond(rig.table, 0x402, 0xf_ef00);
    expect([rig.fault(0x400), rig.fault(0x401), rig.fault(0x402)]).toEqual([0, 0x0e, 0]);
  });
  test("the snoop output is the leaf's SNP, where snoop control is supported", () => {
    const rig = legacyRig();
    rig.mapSecond(rig.table, PAGE, HOST, { leaf: { SNP: 1 } });
    rig.mapSecond(rig.table, PAGE + 1, HOST);
    expect([rig.translate(PAGE).snoop, rig.translate(PAGE).snoop, rig.translate(PAGE + 1).snoop]).toEqual([true, true, false]);
  });
});

describe("pass-through and translation off (VT-d §3.9, §3.1)", () => {
  test("pass-through goes up to the host address width, and not to the interrupt range", () => {
    const rig = legacyRig({ context: { TT: 2 } });
    expect([rig.fault(2 ** 34 - 1), rig.fault(2 ** 34)]).toEqual([0, 0x04]);
  });
  test("with TE clear every address passes and no table is read", () => {
    const rig = new Rig();
    expect(rig.translate(2 ** 52 - 1, { access: Access.Write })).toMatchObject({ fault: 0, page: 2 ** 52 - 1, completion: Completion.Successful });
    expect(rig.translate(5, { type: AddressType.TranslationRequest }).completion).toBe(Completion.UnsupportedRequest);
    expect(rig.translate(5, { type: AddressType.Translated }).completion).toBe(Completion.UnsupportedRequest);
    expect(rig.record()).toBeUndefined();
  });
  test("TE acts at once, on the requester of the last request too", () => {
    const rig = legacyRig();
    rig.mapSecond(rig.table, PAGE, HOST);
    const pages: number[] = [];
    for (const TE of [1, 0, 1, 0] as const) {
      rig.command({ TE });
      for (let i = 0; i < 2; i++) pages.push(rig.translate(PAGE).page);
    }
    expect(pages).toEqual([HOST, HOST, PAGE, PAGE, HOST, HOST, PAGE, PAGE]);
  });
  test("RTADDR acts when SRTP is set, not when it is written", () => {
    const rig = legacyRig();
    rig.mapSecond(rig.table, PAGE, HOST);
    rig.write(RTADDR_REG, { RTA: NOWHERE });
    expect(rig.fault(PAGE)).toBe(0);
    rig.command({ SRTP: 1 });
    expect(rig.fault(PAGE)).toBe(0x08);
  });
});

describe("translation table mode (VT-d §11.4.5, §7.1.3)", () => {
  test.each([
    { name: "reserved", mode: 2, changes: { ecap: { SMTS: 1, SSTS: 1 } } },
    { name: "abort-DMA without ADMS", mode: 3, changes: { ecap: { SMTS: 1, SSTS: 1 } } },
  ] as const)("$name faults 30h", ({ mode, changes }) => {
    const rig = new Rig(changes).start(mode);
    expect([rig.fault(PAGE), rig.record()?.reason]).toEqual([0x30, 0x30]);
  });
  test("without scalable and abort-DMA mode TTM is not there", () => {
    const rig = legacyRig();
    rig.write(RTADDR_REG, { RTA: 1, TTM: 3 });
    expect(rig.read(RTADDR_REG)).toEqual({ RTA: 1, TTM: 0 });
  });
  test("abort-DMA mode aborts and records nothing", () => {
    const rig = new Rig({ ecap: { ADMS: 1 } }).start(3);
    expect(rig.translate(PAGE)).toMatchObject({ completion: Completion.UnsupportedRequest, fault: 0, recorded: false });
    expect(rig.record()).toBeUndefined();
  });
});

describe("fault processing disable in legacy mode (VT-d §7.1.3)", () => {
  test.each([
    { reason: 0x02, silenced: true, prepare: (rig: ReturnType<typeof legacyRig>) => { rig.flip(rig.entries.context, 0); } },
    { reason: 0x03, silenced: true, prepare: (rig: ReturnType<typeof legacyRig>) => { rig.flip(rig.entries.context, 2); rig.flip(rig.entries.context, 3); } },
    { reason: 0x0b, silenced: true, prepare: (rig: ReturnType<typeof legacyRig>) => { rig.flip(rig.entries.context, 4); } },
    { reason: 0x06, silenced: true, prepare: () => undefined },
    { reason: 0x0a, silenced: false, prepare: (rig: ReturnType<typeof legacyRig>) => { rig.flip(rig.entries.root, 1); } },
    { reason: 0x01, silenced: false, prepare: (rig: ReturnType<typeof legacyRig>) => { rig.flip(rig.entries.root, 0); } },
  ])("FPD and reason $reason", ({ reason, silenced, prepare }) => {
    const rig = legacyRig({ context: { FPD: 1 } });
    prepare(rig);
    for (let i = 0; i < 2; i++) expect(rig.translate(PAGE)).toMatchObject({ fault: reason, recorded: !silenced, completion: Completion.UnsupportedRequest });
    expect(rig.record()?.reason).toBe(silenced ? undefined : reason);
  });
});

describe("the interrupt address range (VT-d §3.14)", () => {
  test("a read there is no DMA: 29h, whatever the tables map", () => {
    const rig = legacyRig();
    for (const page of [0xf_edff, 0xf_ee00, 0xf_eeff, 0xf_ef00]) rig.mapSecond(rig.table, page, HOST);
    expect([0xf_edff, 0xf_ee00, 0xf_eeff, 0xf_ef00].map((page) => rig.fault(page))).toEqual([0, 0x29, 0x29, 0]);
    expect(rig.fault(0xf_ee00 + 2 ** 32)).toBe(0x06);
    expect(rig.record()?.pasid).toBe(undefined);
    expect(NO_PASID).toBe(-1);
  });
});
