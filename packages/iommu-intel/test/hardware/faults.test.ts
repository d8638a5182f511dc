import { Access, NO_PASID } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { AFLOG_REG, FAULT_REASONS, FAULT_RECORD, FEADDR_REG, FECTL_REG, FEDATA_REG, FEUADDR_REG, FSTS_REG, RTADDR_REG } from "../../src/layouts/index.ts";
import { SCALABLE } from "../../src/hardware/index.ts";
import { BDF, legacyRig, Rig, scalableRig } from "./rig.ts";

const PAGE = 0x12345; // arbitrary
const HOST = 0x2345; // arbitrary

/** A rig whose fault event goes to an address and is not masked. */
const withEvent = <R extends Rig>(rig: R, mask = 0): R => {
  rig.write(FEADDR_REG, { MA: 0xfee0_1000 / 4 });
  rig.write(FEUADDR_REG, { MUA: 0x12 });
  rig.write(FEDATA_REG, { IMD: 0x41 });
  rig.write(FECTL_REG, { IM: mask });
  return rig;
};
const EVENT = { address: 0xfee0_1000, upper: 0x12, data: 0x41 };

describe("fault records (VT-d §11.4.7.6)", () => {
  test("every reason has a text, and only those of tables and entries are qualified", () => {
    const always = Object.entries(FAULT_REASONS).filter(([, { qualified }]) => !qualified).map(([code]) => Number(code));
    expect(always).toEqual([0x01, 0x08, 0x09, 0x0a, 0x20, 0x21, 0x23, 0x25, 0x30, 0x31, 0x32, 0x33, 0x38, 0x39, 0x3a, 0x40, 0x50, 0x58]);
  });
  test("the address is that of the request, without bits that no table translates", () => {
    const rig = legacyRig();
    rig.fault(2 ** 52 - 0x123);
    expect(rig.record()).toMatchObject({ page: 2 ** 36 - 0x123, reason: 0x04 });
    const wide = scalableRig({ pasid: { PGTT: 1 } });
    wide.fault(2 ** 51);
    expect(wide.record()).toMatchObject({ page: 0, reason: 0x80 });
    const narrow = legacyRig({ cap: { SAGAW: 0b0010 }, context: { AW: 1 } });
    narrow.fault(2 ** 40 + 5);
    expect(narrow.record()?.page).toBe(5);
  });
  test.each([
    { name: "39 bits", cap: { SAGAW: 0b0010, FS5LP: 0, FS1GP: 0 }, ecap: { FSTS: 0, NEST: 0 }, width: 39 },
    { name: "48 bits", cap: { SAGAW: 0b0110, FS5LP: 0, FS1GP: 0 }, ecap: { FSTS: 0, NEST: 0 }, width: 48 },
    { name: "57 bits", cap: { SAGAW: 0b1000, FS5LP: 0, FS1GP: 0 }, ecap: { FSTS: 0, NEST: 0 }, width: 57 },
    { name: "39 bits, first stage of 48", cap: { SAGAW: 0b0010, FS5LP: 0 }, ecap: {}, width: 48 },
    { name: "39 bits, first stage of 57", cap: { SAGAW: 0b0010 }, ecap: {}, width: 57 },
    { name: "57 bits, first stage of 48", cap: { SAGAW: 0b1110, FS5LP: 0 }, ecap: {}, width: 57 },
  ])("a unit of $name records the address up to its widest table's", ({ cap, ecap, width }) => {
    const limit = 2 ** (width - 12);
    for (const [asked, page] of [[limit - 1, limit - 1], [limit + 5, 5], [2 ** 51, 0]] as const) {
      const rig = new Rig({ base: SCALABLE, cap, ecap }).start(1);
      expect([rig.fault(asked), rig.record()?.page]).toEqual([0x39, page]);
      const requests = new Rig({ base: SCALABLE, cap, ecap }).start(1);
      requests.unit.pageRequest({ requester: BDF, pasid: NO_PASID, page: asked, access: Access.Read, group: 1, last: true });
      expect(requests.record()).toMatchObject({ type: "page-request", page });
    }
  });
  test("a PASID has 20 bits", () => {
    const rig = scalableRig({ context: { PASIDE: 1, PDTS: 7 } });
    rig.fault(PAGE, { pasid: 0xf_ffff });
    expect(rig.record()).toMatchObject({ pasid: 0xf_ffff, reason: 0x51 });
  });
  test("types: read, write, atomic", () => {
    const rig = legacyRig();
    for (const access of [Access.Read, Access.Write, Access.Read | Access.Write]) rig.fault(PAGE, { access });
    expect([0, 1, 2].map((i) => rig.record(i)?.type)).toEqual(["read", "write", "atomic"]);
  });
});

describe("primary fault logging (VT-d §7.2.1)", () => {
  test("records follow each other round and round; the one after the last is the first", () => {
    const rig = legacyRig({ cap: { NFR: 2 } });
    for (const page of [1, 2, 3]) rig.fault(page);
    expect([0, 1, 2].map((i) => rig.record(i)?.page)).toEqual([1, 2, 3]);
    rig.clearRecord(0);
    rig.fault(4);
    expect([0, 1, 2].map((i) => rig.record(i)?.page)).toEqual([4, 2, 3]);
  });
  test("up to 256 records", () => {
    const rig = legacyRig({ cap: { NFR: 255 } });
    for (let page = 0; page < 257; page++) rig.fault(page);
    expect([rig.record(0)?.page, rig.record(255)?.page, rig.read(FSTS_REG).PFO]).toEqual([0, 255, 1]);
  });
  test("a full set of records overflows; nothing is recorded until PFO is cleared", () => {
    const rig = legacyRig({ cap: { NFR: 1 } });
    for (const page of [1, 2, 3]) rig.fault(page);
    expect(rig.read(FSTS_REG)).toMatchObject({ PFO: 1, PPF: 1 });
    rig.clearRecord(0);
    rig.fault(4);
    expect(rig.record(0)).toBeUndefined();
    rig.write(FSTS_REG, { PFO: 1 });
    rig.fault(5);
    expect([rig.record(0)?.page, rig.read(FSTS_REG).PFO]).toEqual([5, 0]);
  });
  test("FRI names the record that made PPF", () => {
    const rig = legacyRig({ cap: { NFR: 3 } });
    rig.fault(1);
    rig.fault(2);
    expect(rig.read(FSTS_REG).FRI).toBe(0);
    rig.clearRecord(0);
    rig.clearRecord(1);
    expect(rig.read(FSTS_REG).PPF).toBe(0);
    rig.fault(3);
    rig.fault(4);
    expect(rig.read(FSTS_REG)).toMatchObject({ FRI: 2, PPF: 1 });
  });
  test("PPF is the OR of all F bits, and is not writable", () => {
    const rig = legacyRig({ cap: { NFR: 1 } });
    rig.fault(1);
    rig.fault(2);
    rig.writeRaw(FSTS_REG, [0xffff_ffff, 0]);
    expect(rig.read(FSTS_REG).PPF).toBe(1);
    rig.clearRecord(1);
    expect(rig.read(FSTS_REG).PPF).toBe(1);
    rig.clearRecord(0);
    expect(rig.read(FSTS_REG).PPF).toBe(0);
  });
  test("a record can only be cleared", () => {
    const rig = legacyRig();
    rig.fault(PAGE);
    const at = rig.recordAddress();
    const before = [0, 4, 8, 12].map((i) => rig.unit.registers.read(at + i, 4));
    for (const i of [0, 4, 8]) rig.unit.registers.write(at + i, 4, 0xffff_ffff);
    rig.unit.registers.write(at + 12, 4, 0x7fff_ffff);
    expect([0, 4, 8, 12].map((i) => rig.unit.registers.read(at + i, 4))).toEqual(before);
    rig.unit.registers.write64(at + 8, 0xffff_ffff, 0xffff_ffff);
    expect(rig.record()).toBeUndefined();
  });
  test("collapsing: a source with a pending record loses further faults without an overflow", () => {
    const rig = legacyRig({ cap: { NFR: 0 }, policy: { faultCollapse: true } });
    rig.fault(1);
    rig.fault(2);
    expect(rig.read(FSTS_REG).PFO).toBe(0);
    rig.fault(3, { requester: BDF + 1 });
    expect(rig.read(FSTS_REG).PFO).toBe(1);
    rig.clearRecord();
    rig.write(FSTS_REG, { PFO: 1 });
    rig.fault(4);
    expect(rig.record()?.page).toBe(4);
    const plain = legacyRig({ cap: { NFR: 0 } });
    plain.fault(1);
    plain.fault(2);
    expect(plain.read(FSTS_REG).PFO).toBe(1);
  });
});

describe("fault event (VT-d §7.3, §11.4.7.2)", () => {
  test("the first status bit sends one message; others and further faults none", () => {
    const rig = withEvent(legacyRig({ cap: { NFR: 0 } }));
    rig.fault(1);
    expect(rig.messages).toEqual([EVENT]);
    rig.fault(2);
    expect([rig.messages.length, rig.read(FSTS_REG).PFO, rig.read(FECTL_REG).IP]).toEqual([1, 1, 0]);
    rig.clearRecord();
    rig.write(FSTS_REG, { PFO: 1 });
    rig.fault(3);
    expect(rig.messages).toEqual([EVENT, EVENT]);
  });
  test("masked, it is pending; unmasking sends it", () => {
    const rig = withEvent(legacyRig(), 1);
    rig.fault(1);
    expect([rig.messages.length, rig.read(FECTL_REG)]).toEqual([0, { IM: 1, IP: 1 }]);
    rig.write(FECTL_REG, { IM: 0 });
    expect([rig.messages, rig.read(FECTL_REG)]).toEqual([[EVENT], { IM: 0, IP: 0 }]);
    rig.write(FECTL_REG, { IM: 0 });
    expect(rig.messages.length).toBe(1);
  });
  test("masked, it goes with the last status bit, not with one of two", () => {
    const rig = withEvent(legacyRig({ cap: { NFR: 0 } }), 1);
    rig.fault(1);
    rig.fault(2);
    rig.clearRecord();
    expect(rig.read(FECTL_REG).IP).toBe(1);
    rig.write(FSTS_REG, { PFO: 1 });
    expect(rig.read(FECTL_REG).IP).toBe(0);
    rig.write(FECTL_REG, { IM: 0 });
    expect(rig.messages).toEqual([]);
  });
  test("clearing the last record alone drops it", () => {
    const rig = withEvent(legacyRig(), 1);
    rig.fault(1);
    rig.clearRecord();
    expect(rig.read(FECTL_REG).IP).toBe(0);
  });
  test("IM is set after reset, IP is not writable, the upper address needs extended interrupt mode", () => {
    const rig = new Rig();
    expect(rig.read(FECTL_REG)).toEqual({ IM: 1, IP: 0 });
    rig.writeRaw(FECTL_REG, [0xffff_ffff, 0]);
    expect(rig.raw(FECTL_REG)[0]).toBe(0x8000_0000);
    rig.writeRaw(FEUADDR_REG, [0xffff_ffff, 0]);
    expect(rig.raw(FEUADDR_REG)[0]).toBe(0xffff_ffff);
    const narrow = new Rig({ ecap: { EIM: 0 } });
    narrow.writeRaw(FEUADDR_REG, [0xffff_ffff, 0]);
    expect(narrow.raw(FEUADDR_REG)[0]).toBe(0);
  });
});

describe("advanced fault logging (VT-d §7.2.2)", () => {
  const LOG = 0x20_0000;
  const logging = (size = 0): Rig => {
    const rig = legacyRig({ cap: { AFL: 1 } });
    rig.write(AFLOG_REG, { FLA: LOG / 4096, FLS: size });
    rig.command({ SFL: 1 });
    rig.command({ EAFL: 1 });
    return withEvent(rig);
  };
  const recordAt = (rig: Rig, index: number): Record<string, number> => FAULT_RECORD.decode(rig.words(LOG + 16 * index, 4));
  test("faults go to memory one after another, APF raises the event once", () => {
    const rig = logging();
    rig.fault(1);
    rig.fault(2, { access: Access.Write });
    expect([recordAt(rig, 0), recordAt(rig, 1)]).toMatchObject([{ F: 1, FI: 1, FR: 0x06, T1: 1, SID: BDF }, { F: 1, FI: 2, FR: 0x05, T1: 0 }]);
    expect([rig.record(), rig.read(FSTS_REG).APF, rig.messages.length]).toEqual([undefined, 1, 1]);
    rig.write(FSTS_REG, { APF: 1 });
    rig.fault(3);
    expect([rig.read(FSTS_REG).APF, rig.messages.length]).toEqual([1, 2]);
  });
  test.each([0, 1])("a log of 2^%i pages is full when its next record is not free: AFO", (size) => {
    const rig = logging(size);
    const records = 256 * 2 ** size;
    for (let i = 0; i < records; i++) rig.fault(i + 1);
    expect([recordAt(rig, records - 1).FI, rig.read(FSTS_REG).AFO]).toEqual([records, 0]);
    rig.fault(0x999);
    expect([rig.read(FSTS_REG).AFO, recordAt(rig, 0).FI]).toEqual([1, 1]);
    rig.memory.write32(LOG + 12, 0);
    rig.fault(0x998);
    expect(recordAt(rig, 0).FI).toBe(1);
    rig.write(FSTS_REG, { AFO: 1 });
    rig.fault(0x997);
    expect(recordAt(rig, 0).FI).toBe(0x997);
  });
  test.each([1, 5, 255, 256, 300])("record %i is looked at when it is the next, not before: AFO", (taken) => {
    const rig = logging(1);
    rig.memory.write32(LOG + 16 * taken + 12, 0x8000_0000);
    for (let i = 0; i < taken; i++) rig.fault(i + 1);
    expect([recordAt(rig, taken - 1).FI, rig.read(FSTS_REG).AFO]).toEqual([taken, 0]);
    rig.fault(0x999);
    expect([rig.read(FSTS_REG).AFO, recordAt(rig, taken).FI]).toEqual([1, 0]);
  });
  test("a log where no memory is loses its faults", () => {
    const rig = legacyRig({ cap: { AFL: 1 } });
    rig.write(AFLOG_REG, { FLA: 2 ** 30 });
    rig.command({ SFL: 1 });
    rig.command({ EAFL: 1 });
    expect([rig.fault(1), rig.read(FSTS_REG).APF, rig.read(FSTS_REG).AFO, rig.record()]).toEqual([0x06, 0, 0, undefined]);
  });
  test("setting the log pointer starts at its first record; without EAFL the registers are used", () => {
    const rig = logging();
    rig.fault(1);
    rig.memory.write32(LOG + 12, 0);
    rig.command({ SFL: 1 });
    rig.fault(2);
    expect(recordAt(rig, 0).FI).toBe(2);
    rig.command({ EAFL: 0 });
    rig.fault(3);
    expect(rig.record()?.page).toBe(3);
  });
  test("a unit without it has neither register nor command", () => {
    const rig = legacyRig();
    rig.write(AFLOG_REG, { FLA: 1, FLS: 1 });
    rig.command({ SFL: 1, EAFL: 1 });
    expect([...rig.raw(AFLOG_REG)]).toEqual([0, 0]);
    rig.fault(1);
    expect(rig.record()?.page).toBe(1);
  });
});

describe("what is wrong is judged in this order (VT-d §7.1.3)", () => {
  test("mode, root, context, PASID directory, PASID entry, page tables: putting right the first shows the next", () => {
    const rig = scalableRig({ caches: "none", start: false, pasid: { PGTT: 2 } });
    rig.start(2);
    const steps: readonly (readonly [number, () => void])[] = [
      [0x30, () => { rig.write(RTADDR_REG, { RTA: 0xf_ffff, TTM: 1 }); rig.command({ SRTP: 1 }); }],
      [0x38, () => { rig.write(RTADDR_REG, { RTA: 1, TTM: 1 }); rig.command({ SRTP: 1 }); rig.flip(rig.at.root, 0); rig.flip(rig.at.root, 3); }],
      [0x39, () => { rig.flip(rig.at.root, 0); }],
      [0x3a, () => { rig.flip(rig.at.root, 3); rig.flip(rig.at.context, 0); rig.flip(rig.at.context, 6); rig.flip(rig.at.context, 77); }],
      [0x41, () => { rig.flip(rig.at.context, 0); }],
      [0x42, () => { rig.flip(rig.at.context, 6); }],
      [0x43, () => { rig.flip(rig.at.context, 77); rig.flip(rig.at.directory, 0); rig.flip(rig.at.directory, 4); }],
      [0x51, () => { rig.flip(rig.at.directory, 0); }],
      [0x52, () => { rig.flip(rig.at.directory, 4); rig.flip(rig.at.entry, 0); rig.flip(rig.at.entry, 5); rig.flip(rig.at.entry, 8); }],
      [0x59, () => { rig.flip(rig.at.entry, 0); }],
      [0x5a, () => { rig.flip(rig.at.entry, 5); }],
      [0x5b, () => { rig.flip(rig.at.entry, 8); }],
      [0x79, () => { rig.mapSecond(rig.second, PAGE, 0xf_ee00, { leaf: { W: 0, TM: 1 } }); }],
      [0x7a, () => { rig.mapSecond(rig.second, PAGE, 0xf_ee00, { leaf: { W: 0 } }); }],
      [0x85, () => { rig.mapSecond(rig.second, PAGE, 0xf_ee00); }],
      [0x87, () => { rig.mapSecond(rig.second, PAGE, HOST); }],
    ];
    for (const [reason, repair] of steps) {
      expect(rig.fault(PAGE, { access: Access.Write }).toString(16)).toBe(reason.toString(16));
      repair();
    }
    expect(rig.fault(PAGE, { access: Access.Write })).toBe(0);
  });
});
