import { NO_PASID, PageResponseCode } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import {
  DESCRIPTORS,
  DEVICE_TLB_DESCRIPTOR,
  FECTL_REG,
  FSTS_REG,
  GSTS_REG,
  ICS_REG,
  IEADDR_REG,
  IECTL_REG,
  IEDATA_REG,
  INTERRUPT_ENTRY_DESCRIPTOR,
  IQA_REG,
  IQERCD_REG,
  IQH_REG,
  IQT_REG,
  PAGE_GROUP_RESPONSE_DESCRIPTOR,
  PASID_DEVICE_TLB_DESCRIPTOR,
  WAIT_DESCRIPTOR,
} from "../../src/layouts/index.ts";
import { DID, invalidateContext, invalidateIotlb, invalidatePasidCache, invalidatePasidIotlb, legacyRig, QUEUE, RAM, Rig, scalableRig, STATUS, type RigOptions } from "./rig.ts";

const queueOf = (options: RigOptions & { readonly wide?: boolean } = {}): Rig => legacyRig(options).queue({ wide: options.wide ?? false });
const scalable = (options: RigOptions = {}): Rig => scalableRig(options).queue({ wide: true });
const error = (rig: Rig): { readonly IQE: number; readonly IQEI: number; readonly head: number } => ({ IQE: rig.read(FSTS_REG).IQE, IQEI: rig.read(IQERCD_REG).IQEI, head: rig.read(IQH_REG).QH });
const FINE = invalidateIotlb({ G: 1 });
const wait = (fields: Record<string, number>): Uint32Array => WAIT_DESCRIPTOR.encode({ TYPE: 5, ...fields });

describe("invalidation queue (VT-d §6.5.2, §11.4.9)", () => {
  test("head follows the tail; both wrap at the end of the queue", () => {
    const rig = queueOf();
    for (let i = 0; i < 3; i++) {
      rig.submit(...Array.from({ length: 100 }, () => FINE), rig.wait());
      expect([rig.waited, rig.read(IQH_REG).QH, error(rig).IQE]).toEqual([true, (101 * (i + 1)) % 256, 0]);
    }
    expect(rig.unit.descriptors).toBe(303);
  });
  test("256-bit descriptors take two places; a queue of 2^QS pages has so many", () => {
    const rig = scalableRig();
    rig.queue({ wide: true, size: 1 });
    rig.submit(...Array.from({ length: 200 }, () => FINE), rig.wait());
    expect([rig.waited, rig.read(IQH_REG).QH]).toEqual([true, 402]);
    rig.submit(...Array.from({ length: 60 }, () => FINE));
    expect(rig.read(IQH_REG).QH).toBe(522 % 512);
  });
  test("nothing runs before QIE, everything pending at it; switching off puts the head to 0", () => {
    const rig = legacyRig();
    rig.write(IQA_REG, { IQA: QUEUE / 4096 });
    rig.putWords(QUEUE, rig.wait());
    rig.write(IQT_REG, { QT: 1 });
    expect([rig.waited, rig.read(GSTS_REG).QIES]).toEqual([false, 0]);
    rig.command({ QIE: 1 });
    expect([rig.waited, rig.read(GSTS_REG).QIES, rig.read(IQH_REG).QH]).toEqual([true, 1, 1]);
    rig.command({ QIE: 0 });
    expect([rig.read(GSTS_REG).QIES, rig.read(IQH_REG).QH]).toEqual([0, 0]);
  });
  test.each(Object.entries(DESCRIPTORS).map(([type, { name }]) => ({ type: Number(type), name })))("what follows a $name is done", ({ type }) => {
    const rig = scalable();
    // A granularity that each type with one has: page-selective, or all.
    rig.submit(Uint32Array.of([1, 2, 6, 7].includes(type) ? type | 0x30 : type), rig.wait());
    expect([rig.waited, rig.read(IQH_REG).QH, rig.unit.descriptors]).toEqual([true, 4, 2]);
  });
  test("other commands leave a running queue alone", () => {
    const rig = queueOf();
    rig.submit(FINE, FINE);
    rig.command({ SRTP: 1 });
    expect(rig.read(IQH_REG).QH).toBe(2);
  });
});

describe("queue errors (VT-d §6.5.2, §11.4.9.9)", () => {
  test("a descriptor outside memory: 2, and the head stays there", () => {
    const rig = legacyRig();
    rig.write(IQA_REG, { IQA: RAM / 4096 - 1, QS: 1 });
    rig.command({ QIE: 1 });
    for (let i = 0; i < 256; i++) rig.putWords(RAM - 4096 + 16 * i, FINE);
    rig.write(IQT_REG, { QT: 258 });
    expect(error(rig)).toEqual({ IQE: 1, IQEI: 2, head: 256 });
  });
  test("a tail past the queue: 1; a tail that is not a whole 256-bit descriptor: 6", () => {
    const rig = queueOf();
    rig.write(IQT_REG, { QT: 256 });
    expect(error(rig)).toEqual({ IQE: 1, IQEI: 1, head: 0 });
    const wide = scalable();
    wide.write(IQT_REG, { QT: 1 });
    expect(error(wide)).toEqual({ IQE: 1, IQEI: 6, head: 0 });
  });
  test("128-bit descriptors in scalable mode: 5; a reserved mode: 7", () => {
    const rig = scalableRig().queue();
    rig.submit(FINE);
    expect(error(rig)).toEqual({ IQE: 1, IQEI: 5, head: 0 });
    const reserved = new Rig({ ecap: { SMTS: 1, SSTS: 1 } }).start(2).queue({ wide: true });
    reserved.submit(FINE);
    expect(error(reserved).IQEI).toBe(7);
    const abort = new Rig({ ecap: { SMTS: 1, SSTS: 1 } }).start(3).queue({ wide: true });
    abort.submit(FINE);
    expect(error(abort).IQEI).toBe(7);
    const allowed = new Rig({ ecap: { ADMS: 1 } }).start(3).queue({ wide: true });
    allowed.submit(FINE, allowed.wait());
    expect([error(allowed).IQE, allowed.waited]).toEqual([0, true]);
  });
  test("a descriptor error leaves earlier work done, the head at the descriptor, later ones untouched; clearing IQE resumes", () => {
    const rig = queueOf();
    const done = rig.wait();
    rig.submit(done, new Uint32Array(4), FINE, rig.wait());
    expect([error(rig), rig.memory.read32(STATUS)]).toEqual([{ IQE: 1, IQEI: 3, head: 1 }, 1]);
    rig.write(IQT_REG, { QT: 4 });
    expect(rig.memory.read32(STATUS)).toBe(1);
    rig.putWords(QUEUE + 16, FINE);
    rig.write(FSTS_REG, { IQE: 1 });
    expect([error(rig), rig.waited]).toEqual([{ IQE: 0, IQEI: 0, head: 4 }, true]);
  });
  test("an error is a fault event", () => {
    const rig = queueOf();
    rig.write(FECTL_REG, { IM: 0 });
    rig.submit(new Uint32Array(4));
    expect(rig.messages.length).toBe(1);
    rig.write(FSTS_REG, { IQE: 1 });
    expect([rig.messages.length, error(rig).IQE]).toEqual([2, 1]);
  });
  test.each([
    { name: "type 0", words: [0, 0, 0, 0], options: {} },
    { name: "type 10", words: [0xa, 0, 0, 0], options: {} },
    { name: "a high type bit", words: [0x201, 0, 0, 0], options: {} },
    { name: "PASID-cache without scalable mode", words: [...invalidatePasidCache({ G: 3 })], options: {} },
    { name: "device-TLB without DT", words: [...DEVICE_TLB_DESCRIPTOR.encode({ TYPE: 3 })], options: { ecap: { DT: 0 } } },
    { name: "interrupt entries without IR", words: [...INTERRUPT_ENTRY_DESCRIPTOR.encode({ TYPE: 4 })], options: { ecap: { IR: 0, EIM: 0 }, cap: { PI: 0 } } },
  ])("$name is no type: 3", ({ words, options }) => {
    const rig = queueOf(options);
    rig.submit(words);
    expect(error(rig).IQEI).toBe(3);
  });
  test.each([
    { name: "PASID device-TLB without DT", descriptor: PASID_DEVICE_TLB_DESCRIPTOR.encode({ TYPE: 8 }), ecap: { DT: 0, PRS: 0, PDS: 0 } },
    { name: "page group response without PRS", descriptor: PAGE_GROUP_RESPONSE_DESCRIPTOR.encode({ TYPE: 9 }), ecap: { PRS: 0, PDS: 0 } },
  ])("$name is no type: 3", ({ descriptor, ecap }) => {
    const rig = scalable({ ecap });
    rig.submit(descriptor);
    expect(error(rig).IQEI).toBe(3);
    const supported = scalable();
    supported.submit(descriptor);
    expect(error(supported).IQE).toBe(0);
  });
  test.each([
    { name: "context granularity 0", descriptor: invalidateContext({ G: 0 }), options: {} },
    { name: "IOTLB granularity 0", descriptor: invalidateIotlb({ G: 0 }), options: {} },
    { name: "page-selective without PSI", descriptor: invalidateIotlb({ G: 3 }), options: { cap: { PSI: 0 } } },
    { name: "AM past MAMV", descriptor: invalidateIotlb({ G: 3, AM: 19 }), options: {} },
    { name: "PASID IOTLB granularity 0", descriptor: invalidatePasidIotlb({ G: 0 }), options: {} },
    { name: "PASID IOTLB granularity 1", descriptor: invalidatePasidIotlb({ G: 1 }), options: {} },
    { name: "PASID-cache granularity 2", descriptor: invalidatePasidCache({ G: 2 }), options: {} },
    { name: "page-request drain without PDS", descriptor: wait({ PD: 1 }), options: { ecap: { PDS: 0 } } },
  ])("$name: 4", ({ descriptor, options }) => {
    const rig = scalable(options);
    rig.submit(descriptor);
    expect(error(rig)).toEqual({ IQE: 1, IQEI: 4, head: 0 });
  });
  test("every AM past MAMV is refused, by queue and by register", () => {
    for (let AM = 19; AM < 64; AM++) {
      const rig = scalable();
      rig.submit(invalidateIotlb({ G: 3, DID, AM }));
      expect([AM, error(rig).IQEI]).toEqual([AM, 4]);
    }
  });
  test("the largest AM, and any AM of a PASID, are fine", () => {
    const rig = scalable();
    rig.submit(invalidateIotlb({ G: 3, AM: 18 }), invalidatePasidIotlb({ G: 3, AM: 40 }), invalidatePasidIotlb({ G: 2 }), invalidatePasidCache({ G: 0 }), invalidatePasidCache({ G: 1 }), wait({ PD: 1 }), rig.wait());
    expect(rig.waited).toBe(true);
  });
  test.each(Object.entries(DESCRIPTORS).map(([type, layout]) => ({ type: Number(type), name: layout.name, reserved: layout.reserved })))("exactly the reserved bits of a $name: 4", ({ type, reserved }) => {
    const base = new Uint32Array(8);
    base[0] = type === 1 || type === 2 || type === 6 ? type | 0x30 : type;
    const rig = scalable();
    const wrong = Array.from({ length: 256 }, (_, bit) => bit).filter((bit) => {
      if (bit < 4 || (bit >= 9 && bit <= 11)) return false;
      const words = base.slice();
      words[bit >>> 5] = ((words[bit >>> 5] as number) ^ (2 ** (bit & 31))) >>> 0;
      const { QT } = rig.read(IQT_REG);
      rig.submit(words);
      const { IQEI } = error(rig);
      rig.putWords(QUEUE + 16 * QT, Uint32Array.from({ length: 8 }, (_, i) => FINE[i] ?? 0));
      rig.write(FSTS_REG, { IQE: 1 });
      return IQEI === 4;
    });
    const expected = Array.from({ length: 256 }, (_, bit) => bit).filter((bit) => bit >= 128 || (((reserved[bit >>> 5] ?? 0) >>> (bit & 31)) & 1) === 1);
    const values = wrong.filter((bit) => !expected.includes(bit));
    expect(wrong.filter((bit) => expected.includes(bit))).toEqual(expected);
    // What remains are granularities and AM, which are judged by value.
    expect(values.every((bit) => bit === 4 || bit === 5 || (bit >= 64 && bit <= 69))).toBe(true);
  });
});

describe("invalidation wait (VT-d §6.5.2.8)", () => {
  test("status data goes to its address, 64 bits of it", () => {
    const rig = queueOf();
    rig.submit(wait({ SW: 1, DATA: 0xdead_beef, ADDR_LOW: 0x1234_5678 / 4 }));
    expect(rig.memory.read32(0x1234_5678)).toBe(0xdead_beef);
    rig.submit(wait({ SW: 0, DATA: 1, ADDR_LOW: 0x1234_5678 / 4 }), wait({ SW: 1, DATA: 2, ADDR_LOW: 0x1234_5678 / 4, ADDR_HIGH: 1 }));
    expect([rig.memory.read32(0x1234_5678), error(rig).IQE]).toEqual([0xdead_beef, 0]);
  });
  test("without IF it raises no event", () => {
    const rig = queueOf();
    rig.write(IECTL_REG, { IM: 0 });
    rig.submit(wait({ SW: 1, DATA: 3, ADDR_LOW: STATUS / 4 }), wait({ FN: 1 }));
    expect([rig.memory.read32(STATUS), rig.messages, rig.read(ICS_REG).IWC, rig.read(IECTL_REG).IP]).toEqual([3, [], 0, 0]);
  });
  test("its interrupt: once until IWC is cleared", () => {
    const rig = queueOf();
    rig.write(IEADDR_REG, { MA: 0xfee0_2000 / 4 });
    rig.write(IEDATA_REG, { IMD: 0x55 });
    rig.write(IECTL_REG, { IM: 0 });
    rig.submit(wait({ IF: 1 }), wait({ IF: 1 }));
    expect([rig.messages, rig.read(ICS_REG).IWC]).toEqual([[{ address: 0xfee0_2000, upper: 0, data: 0x55 }], 1]);
    rig.write(ICS_REG, { IWC: 1 });
    rig.submit(wait({ IF: 1, SW: 1, DATA: 9, ADDR_LOW: STATUS / 4 }));
    expect([rig.messages.length, rig.memory.read32(STATUS)]).toEqual([2, 9]);
  });
  test("masked, it is pending until unmasked, or dropped with IWC", () => {
    const rig = queueOf();
    rig.submit(wait({ IF: 1 }));
    expect(rig.read(IECTL_REG)).toEqual({ IM: 1, IP: 1 });
    rig.write(ICS_REG, { IWC: 1 });
    expect(rig.read(IECTL_REG).IP).toBe(0);
    rig.submit(wait({ IF: 1 }));
    rig.write(IECTL_REG, { IM: 0 });
    expect([rig.messages.length, rig.read(IECTL_REG).IP]).toEqual([1, 0]);
  });
});

describe("device-TLB invalidation (VT-d §6.5.2.5, §6.5.2.6)", () => {
  const deviceTlb = (fields: Record<string, number>): Uint32Array => DEVICE_TLB_DESCRIPTOR.encode({ TYPE: 3, SID: 0x0305, ...fields });
  test.each([
    { fields: { ADDR: 0x1234 }, expected: { page: 0x1234, sizeShift: 12 } },
    { fields: { ADDR: 0x1234, S: 1 }, expected: { page: 0x1234, sizeShift: 13 } },
    { fields: { ADDR: 0x1237, S: 1 }, expected: { page: 0x1230, sizeShift: 16 } },
    { fields: { ADDR: 0x12ff, S: 1 }, expected: { page: 0x1200, sizeShift: 21 } },
    { fields: { ADDR: 2 ** 51 - 1, S: 1 }, expected: { page: 0, sizeShift: 64 } },
    { fields: { ADDR: 2 ** 50 - 1, S: 1 }, expected: { page: 0, sizeShift: 63 } },
    { fields: { ADDR: 2 ** 45 + 0xf, S: 1 }, expected: { page: 2 ** 45, sizeShift: 17 } },
  ])("range of $fields", ({ fields, expected }) => {
    const rig = queueOf();
    rig.submit(deviceTlb(fields));
    expect(rig.deviceTlb.map(({ requester, invalidation }) => ({ requester, ...invalidation }))).toEqual([{ requester: 0x0305, pasid: NO_PASID, global: false, ...expected }]);
  });
  test("with PASID, and for every PASID", () => {
    const rig = scalable();
    rig.submit(PASID_DEVICE_TLB_DESCRIPTOR.encode({ TYPE: 8, SID: 0x0305, PASID: 0xabcde, ADDR: 0x1230, S: 1 }), PASID_DEVICE_TLB_DESCRIPTOR.encode({ TYPE: 8, SID: 0xf7e8, PASID: 7, G: 1, ADDR: 2 }));
    expect(rig.deviceTlb.map(({ requester, invalidation }) => ({ requester, ...invalidation }))).toEqual([
      { requester: 0x0305, pasid: 0xabcde, page: 0x1230, sizeShift: 13, global: false },
      { requester: 0xf7e8, pasid: 7, page: 2, sizeShift: 12, global: true },
    ]);
  });
  test("a wait is done only after the device answered; a fence holds back what follows, without it the queue goes on", () => {
    for (const FN of [0, 1]) {
      const rig = queueOf({ holdDeviceTlb: true });
      rig.submit(deviceTlb({}), wait({ SW: 1, FN, DATA: 1, ADDR_LOW: STATUS / 4 }), FINE, FINE);
      expect([rig.memory.read32(STATUS), rig.read(IQH_REG).QH]).toEqual([0, FN ? 2 : 4]);
      rig.deviceTlb[0]?.complete("completed");
      expect([rig.memory.read32(STATUS), rig.read(IQH_REG).QH]).toEqual([1, 4]);
    }
  });
  test("waits complete in order, each with what came before it", () => {
    const rig = queueOf({ holdDeviceTlb: true });
    const status = (i: number): Uint32Array => wait({ SW: 1, DATA: 1, ADDR_LOW: STATUS / 4 + i });
    rig.submit(deviceTlb({}), status(0), deviceTlb({ ADDR: 1 }), status(1));
    const done = (): number[] => [rig.memory.read32(STATUS), rig.memory.read32(STATUS + 4)];
    rig.deviceTlb[1]?.complete("completed");
    expect(done()).toEqual([0, 0]);
    rig.deviceTlb[0]?.complete("completed");
    expect(done()).toEqual([1, 1]);
    rig.submit(status(2));
    expect(rig.memory.read32(STATUS + 8)).toBe(1);
  });
  test("the first of two answers releases the first wait alone", () => {
    const rig = queueOf({ holdDeviceTlb: true });
    const status = (i: number): Uint32Array => wait({ SW: 1, DATA: 1, ADDR_LOW: STATUS / 4 + i });
    rig.submit(deviceTlb({}), status(0), deviceTlb({ ADDR: 1 }), status(1));
    rig.deviceTlb[0]?.complete("completed");
    expect([rig.memory.read32(STATUS), rig.memory.read32(STATUS + 4)]).toEqual([1, 0]);
  });
  test("a time-out sets ITE with the source, aborts waits, drops what is outstanding and stops fetching until cleared", () => {
    const rig = queueOf({ holdDeviceTlb: true });
    rig.write(FECTL_REG, { IM: 0 });
    rig.submit(deviceTlb({}), deviceTlb({ ADDR: 1 }), rig.wait());
    rig.deviceTlb[0]?.complete("timed-out");
    expect([rig.read(FSTS_REG).ITE, rig.read(IQERCD_REG).ITESID, rig.messages.length]).toEqual([1, 0x0305, 1]);
    rig.deviceTlb[1]?.complete("completed");
    expect(rig.waited).toBe(false);
    rig.submit(rig.wait());
    expect(rig.waited).toBe(false);
    rig.write(FSTS_REG, { ITE: 1 });
    expect([rig.waited, rig.read(IQH_REG).QH]).toEqual([true, 4]);
  });
  test("a fence that was aborted holds nothing back any more", () => {
    const rig = queueOf({ holdDeviceTlb: true });
    rig.submit(deviceTlb({}), wait({ FN: 1 }), rig.wait());
    rig.deviceTlb[0]?.complete("timed-out");
    rig.write(FSTS_REG, { ITE: 1 });
    expect(rig.waited).toBe(true);
  });
  test("that nobody is there is told after what follows was fetched, so that its wait is aborted", () => {
    const rig = queueOf({ holdDeviceTlb: true });
    rig.unit.connect({ invalidateDeviceTlb: (_r, _i, _t, complete) => { complete("timed-out"); }, respondToPage: () => undefined });
    rig.submit(deviceTlb({}), rig.wait());
    expect([rig.waited, rig.read(IQH_REG).QH, rig.read(FSTS_REG).ITE]).toEqual([false, 2, 1]);
    rig.write(FSTS_REG, { ITE: 1 });
    expect(rig.waited).toBe(false);
  });
  test("switching the queue off forgets what is outstanding", () => {
    const rig = queueOf({ holdDeviceTlb: true });
    rig.submit(deviceTlb({}), rig.wait());
    rig.command({ QIE: 0 });
    rig.queue();
    rig.deviceTlb[0]?.complete("timed-out");
    expect([rig.read(FSTS_REG).ITE, rig.waited]).toEqual([0, false]);
    rig.submit(rig.wait());
    expect(rig.waited).toBe(true);
  });
  test("an unexpected completion sets ICE with its source; the queue goes on", () => {
    const rig = queueOf();
    rig.unit.injectInvalidationCompletionError(0x0812);
    rig.submit(rig.wait());
    expect([rig.read(FSTS_REG).ICE, rig.read(IQERCD_REG).ICESID, rig.waited]).toEqual([1, 0x0812, true]);
    rig.write(FSTS_REG, { ICE: 1 });
    expect(rig.read(FSTS_REG).ICE).toBe(0);
  });
});

describe("page group response (VT-d §7.6.1)", () => {
  test.each([
    { RC: 0, code: PageResponseCode.Success },
    { RC: 1, code: PageResponseCode.InvalidRequest },
    { RC: 15, code: PageResponseCode.ResponseFailure },
    { RC: 7, code: PageResponseCode.ResponseFailure },
  ])("code $RC", ({ RC, code }) => {
    const rig = scalable();
    rig.submit(PAGE_GROUP_RESPONSE_DESCRIPTOR.encode({ TYPE: 9, RC, RID: 0x0405, PP: 1, PASID: 0xabcde, PRGI: 0x155 }), PAGE_GROUP_RESPONSE_DESCRIPTOR.encode({ TYPE: 9, RC, RID: 0x0406, PRGI: 3 }));
    expect(rig.responses).toEqual([
      { requester: 0x0405, response: { pasid: 0xabcde, group: 0x155, code } },
      { requester: 0x0406, response: { pasid: NO_PASID, group: 3, code } },
    ]);
    expect(DID).toBe(5);
  });
});
