import { Access, NO_PASID } from "@iommu-lab/pci-bus";
import { IRTE_128_GUEST } from "@iommu-lab/interrupt-remap/amd";
import { describe, expect, test } from "vitest";
import * as layouts from "../../src/layouts/index.ts";
import { DEVICE, EVENTS, EVENTS_B, GA_LOG, hostRig, INTERRUPT_TABLE, PPRS, PPRS_B, RAM, Rig, type RigOptions } from "./rig.ts";

const withMsi = (rig: Rig): Rig => {
  rig.iommu.function.config.write(0x64, 4, 0xfee0_3000);
  rig.iommu.function.config.write(0x6c, 2, 0x40);
  // Four messages, of which software gives four.
  rig.iommu.function.config.write(0x62, 2, 0x21);
  return rig;
};
/** Something for the event log: each fault has its own page. */
const faults = (rig: Rig, count: number): void => {
  for (let i = 0; i < count; i++) rig.translate(0x1000 + i);
};

describe("the event log (AMD-Vi §2.5)", () => {
  test.each([0, 1])("an event moves the tail and sets EventLogInt; EventIntEn=%i", (EventIntEn) => {
    const rig = withMsi(hostRig({ control: { EventIntEn } }));
    faults(rig, 2);
    expect([rig.read(layouts.EVT_TAIL).Ptr, rig.status.EventLogInt, rig.status.EventLogRun, rig.status.EventOverflow]).toEqual([2, 1, 1, 0]);
    expect(rig.messages).toEqual(EventIntEn ? Array(2).fill({ address: 0xfee0_3000, upper: 0, data: 0x40 }) : []);
    expect(rig.entry(EVENTS, 1)).toEqual([DEVICE, 0x2000_1234, 0x100_1000, 0]);
    rig.write(layouts.STATUS, { EventLogInt: 1 });
    expect(rig.status.EventLogInt).toBe(0);
  });

  test.each([0, 1])("one slot stays free: the event behind it overflows the log and is lost; EventIntEn=%i", (EventIntEn) => {
    const rig = withMsi(hostRig({ control: { EventIntEn } }));
    faults(rig, 255);
    expect([rig.read(layouts.EVT_TAIL).Ptr, rig.status.EventOverflow, rig.status.EventLogRun]).toEqual([255, 0, 1]);
    const before = rig.messages.length;
    faults(rig, 1);
    expect([rig.read(layouts.EVT_TAIL).Ptr, rig.status.EventOverflow, rig.status.EventLogRun]).toEqual([255, 1, 0]);
    expect(rig.messages.length - before).toBe(EventIntEn);
    expect(rig.entry(EVENTS, 255)).toEqual([0, 0, 0, 0]);
    // Room alone does not restart it.
    rig.write(layouts.EVT_HEAD, { Ptr: 10 });
    faults(rig, 1);
    expect([rig.read(layouts.EVT_TAIL).Ptr, rig.messages.length - before]).toEqual([255, EventIntEn]);
    // As Linux restarts it.
    rig.control({ EventLogEn: 0 });
    rig.write(layouts.STATUS, { EventOverflow: 1 });
    rig.control({ EventLogEn: 1 });
    faults(rig, 1);
    expect([rig.read(layouts.EVT_TAIL).Ptr, rig.status.EventLogRun, rig.status.EventOverflow]).toEqual([0, 1, 0]);
  });

  test("it does not start while EventOverflow is set", () => {
    const rig = hostRig();
    faults(rig, 256);
    rig.control({ EventLogEn: 0 });
    rig.control({ EventLogEn: 1 });
    expect(rig.status.EventLogRun).toBe(0);
  });

  test("the tail wraps", () => {
    const rig = hostRig();
    rig.control({ EventLogEn: 0 });
    rig.write(layouts.EVT_HEAD, { Ptr: 255 });
    rig.write(layouts.EVT_TAIL, { Ptr: 255 });
    rig.control({ EventLogEn: 1 });
    faults(rig, 2);
    expect([rig.read(layouts.EVT_TAIL).Ptr, rig.entry(EVENTS, 255)[0], rig.entry(EVENTS, 0)[0], rig.entry(EVENTS, 1)[0]]).toEqual([1, DEVICE, DEVICE, 0]);
  });

  test.each(["EventLogEn", "IommuEn"] as const)("without %s it does not run", (bit) => {
    const rig = hostRig({ control: { [bit]: 0 } });
    faults(rig, 1);
    expect([rig.status.EventLogRun, rig.read(layouts.EVT_TAIL).Ptr]).toEqual([0, 0]);
    rig.control({ [bit]: 1 });
    expect(rig.status.EventLogRun).toBe(1);
    faults(rig, 1);
    expect(rig.read(layouts.EVT_TAIL).Ptr).toBe(1);
    rig.control({ [bit]: 0 });
    expect(rig.status.EventLogRun).toBe(0);
  });

  test.each([0, 7])("a length of %i is reserved", (Len) => {
    const rig = hostRig({ control: { EventLogEn: 0 } });
    rig.write(layouts.EVT_BASE, { Base: 9, Len });
    rig.control({ EventLogEn: 1 });
    faults(rig, 1);
    expect([rig.status.EventLogRun, rig.read(layouts.EVT_TAIL).Ptr, rig.status.EventOverflow]).toEqual([0, 0, 0]);
  });

  test("base and tail belong to the IOMMU while it runs; a base write zeroes head and tail", () => {
    const rig = hostRig();
    faults(rig, 3);
    rig.write(layouts.EVT_HEAD, { Ptr: 2 });
    rig.write(layouts.EVT_TAIL, { Ptr: 9 });
    rig.write(layouts.EVT_BASE, { Base: 9, Len: 9 });
    const pointers = (): number[] => [rig.read(layouts.EVT_BASE).Base, rig.read(layouts.EVT_HEAD).Ptr, rig.read(layouts.EVT_TAIL).Ptr];
    expect(pointers()).toEqual([EVENTS / 4096, 2, 3]);
    rig.control({ EventLogEn: 0 });
    rig.write(layouts.EVT_BASE, { Base: 9, Len: 9 });
    expect(pointers()).toEqual([9, 0, 0]);
    rig.write(layouts.EVT_TAIL, { Ptr: 9 });
    expect(pointers()).toEqual([9, 0, 9]);
  });
});

describe("two event logs (AMD-Vi §3.4, DualEventLogEn)", () => {
  test("1 uses log B", () => {
    const rig = hostRig({ control: { DualEventLogEn: 1 } });
    faults(rig, 1);
    expect([rig.status.EventLogActive, rig.read(layouts.EVT_TAIL).Ptr, rig.read(layouts.EVT_B_TAIL).Ptr, rig.entry(EVENTS_B, 0)[0]]).toEqual([1, 0, 1, DEVICE]);
    faults(rig, 255);
    expect([rig.status.EventOverflow, rig.status.EventOverflowB, rig.status.EventLogRun]).toEqual([0, 1, 0]);
  });

  test("3 changes over when a log is full, and stops when both are", () => {
    const rig = hostRig({ control: { DualEventLogEn: 3 } });
    faults(rig, 256);
    expect([rig.status.EventLogActive, rig.status.EventOverflow, rig.status.EventLogRun, rig.read(layouts.EVT_B_TAIL).Ptr]).toEqual([1, 1, 1, 1]);
    // Software empties log A.
    rig.write(layouts.EVT_HEAD, { Ptr: 255 });
    rig.write(layouts.STATUS, { EventOverflow: 1 });
    faults(rig, 255);
    expect([rig.status.EventLogActive, rig.status.EventOverflow, rig.status.EventOverflowB, rig.status.EventLogRun, rig.read(layouts.EVT_TAIL).Ptr]).toEqual([0, 0, 1, 1, 0]);
    faults(rig, 300);
    expect([rig.status.EventOverflow, rig.status.EventOverflowB, rig.status.EventLogRun]).toEqual([1, 1, 0]);
  });

  test("2 does not change over", () => {
    const rig = hostRig({ control: { DualEventLogEn: 2 } });
    faults(rig, 256);
    expect([rig.status.EventLogActive, rig.status.EventLogRun]).toEqual([0, 0]);
  });

  test("log B that is full at the change-over, too, ends it", () => {
    const rig = hostRig({ control: { DualEventLogEn: 3 } });
    rig.control({ EventLogEn: 0 });
    rig.write(layouts.EVT_B_TAIL, { Ptr: 255 });
    rig.control({ EventLogEn: 1 });
    faults(rig, 256);
    expect([rig.status.EventLogRun, rig.read(layouts.EVT_B_TAIL).Ptr]).toEqual([0, 255]);
  });
});

describe("hardware error registers (AMD-Vi §3.4, MMIO 0040h to 0050h)", () => {
  const broken = (options: RigOptions = {}): Rig => {
    const rig = new Rig(options);
    rig.device({ Mode: 4, HostRoot: RAM / 4096 });
    return rig;
  };
  test("the first hardware error stays, HEO tells of others", () => {
    const rig = broken();
    rig.translate(0, { access: Access.Write });
    expect(rig.read(layouts.HW_EVENT_STATUS)).toEqual({ HEV: 1, HEO: 0 });
    rig.translate(0x8_0000);
    const words = rig.entry(EVENTS, 0);
    expect([...rig.raw(layouts.HW_EVENT_LOW), ...rig.raw(layouts.HW_EVENT_HIGH)]).toEqual(words);
    expect(rig.read(layouts.HW_EVENT_STATUS)).toEqual({ HEV: 1, HEO: 1 });
    rig.write(layouts.HW_EVENT_STATUS, { HEV: 1, HEO: 1 });
    rig.translate(0x8_0000);
    expect([...rig.raw(layouts.HW_EVENT_LOW), ...rig.raw(layouts.HW_EVENT_HIGH)]).toEqual(rig.entry(EVENTS, 2));
    expect(rig.read(layouts.HW_EVENT_STATUS)).toEqual({ HEV: 1, HEO: 0 });
  });
  test("other events do not go there", () => {
    const rig = hostRig();
    rig.translate(0);
    expect(rig.read(layouts.HW_EVENT_STATUS).HEV).toBe(0);
  });
  test("without HESup there are none", () => {
    const rig = broken({ efr: { HESup: 0 } });
    rig.translate(0);
    expect([...rig.raw(layouts.HW_EVENT_STATUS), ...rig.raw(layouts.HW_EVENT_LOW)]).toEqual([0, 0, 0, 0]);
  });
  test("they survive a warm reset", () => {
    const rig = broken();
    rig.translate(0);
    const before = [...rig.raw(layouts.HW_EVENT_LOW)];
    rig.iommu.reset("warm");
    expect([rig.read(layouts.HW_EVENT_STATUS).HEV, ...rig.raw(layouts.HW_EVENT_LOW)]).toEqual([1, ...before]);
    rig.iommu.reset("cold");
    expect([rig.read(layouts.HW_EVENT_STATUS).HEV, ...rig.raw(layouts.HW_EVENT_LOW)]).toEqual([0, 0, 0]);
  });
});

describe("page requests (AMD-Vi §2.6)", () => {
  const ppr = (control: Readonly<Record<string, number>> = {}, device: Readonly<Record<string, number>> = {}): Rig => {
    const rig = withMsi(new Rig({ control: { PprEn: 1, PprLogEn: 1, ...control } }));
    rig.device({ PPR: 1, ...device });
    return rig;
  };
  const entry = (rig: Rig, at = PPRS): object => Object.fromEntries(Object.entries(layouts.PPR_LOG_ENTRY.decode(Uint32Array.from(rig.entry(at, 0)))).filter(([, value]) => value !== 0));

  test.each([
    [{}, { RD: 1 }],
    [{ access: Access.Write }, { RW: 1 }],
    [{ access: Access.Read | Access.Execute }, { RD: 1 }],
    [{ last: false }, { RD: 1, Last: 0 }],
    [{ pasid: 0xa_5678, access: Access.Read | Access.Execute }, { RD: 1, NX: 1, US: 1, GN: 1, PASIDLow: 0x5678, PASIDHigh: 0xa }],
    [{ pasid: 7, access: Access.Write | Access.Privileged }, { RW: 1, GN: 1, PASIDLow: 7 }],
  ])("%j is logged", (request, fields) => {
    const rig = ppr();
    rig.pageRequest(request);
    expect(entry(rig)).toEqual(Object.fromEntries(Object.entries({ DeviceID: DEVICE, Tag: 5, Last: 1, PprCode: 1, Address: 0x1_2345, ...fields }).filter(([, value]) => value !== 0)));
    expect([rig.read(layouts.PPR_TAIL).Ptr, rig.status.PprInt, rig.status.PprLogRun, rig.messages, rig.responses]).toEqual([1, 1, 1, [], []]);
  });

  test("PprIntEn sends message MsiNumPPR", () => {
    const rig = ppr({ PprIntEn: 1 });
    rig.pageRequest();
    expect(rig.messages).toEqual([{ address: 0xfee0_3000, upper: 0, data: 0x41 }]);
  });

  test.each([
    ["PprEn", { PprEn: 0 }],
    ["IommuEn", { IommuEn: 0 }],
    ["PprLogEn", { PprLogEn: 0 }],
  ])("without %s the answer is a failure", (_name, control) => {
    const rig = ppr(control);
    rig.pageRequest();
    rig.pageRequest({ last: false });
    expect(rig.responses).toEqual([{ device: DEVICE, response: { pasid: NO_PASID, group: 5, code: 15 } }]);
    expect([rig.events(), rig.status.PprInt]).toEqual([[], 0]);
  });

  test.each([{ PPR: 0 }, { V: 0 }])("a device with %j: INVALID_PPR_REQUEST", (fields) => {
    const rig = ppr({}, fields);
    rig.pageRequest({ pasid: 0xa_5678, access: Access.Write, group: 0x1ff });
    expect(rig.events()).toEqual([{ name: "INVALID_PPR_REQUEST", DeviceID: DEVICE, PASIDLow: 0x5678, PASIDHigh: 0xa, Tag: 0x1ff, Flags: 0x160, AddressLow: 0x1234_5000 }]);
    expect(rig.responses).toEqual([{ device: DEVICE, response: { pasid: NO_PASID, group: 0x1ff, code: 1 } }]);
  });

  test("an illegal entry and one beyond the table are refused too", () => {
    const rig = ppr({}, { GV: 1, GLX: 3 });
    rig.pageRequest();
    rig.write(layouts.DEV_TAB_BASE, { DevTabBase: 1, Size: 0 });
    rig.pageRequest({ requester: 0x80 });
    expect(rig.responses.map(({ response }) => response.code)).toEqual([1, 1]);
  });

  test("a full log: PprOverflow, PprLogRun=0, and a failure with the PASID under GPRP", () => {
    const rig = ppr({}, { GPRP: 1 });
    for (let i = 0; i < 256; i++) rig.pageRequest({ pasid: 3 });
    expect([rig.status.PprOverflow, rig.status.PprLogRun]).toEqual([1, 0]);
    expect(rig.responses).toEqual([{ device: DEVICE, response: { pasid: 3, group: 5, code: 15 } }]);
  });

  test.each([
    [0, 0, 1, 3],
    [1, 0, 0, NO_PASID],
    [15, 1, 1, NO_PASID],
    [9, 0, 1, 3],
  ])("automatic response %i, MaskGN=%i, GPRP=%i", (Code, MaskGN, GPRP, pasid) => {
    const rig = ppr({ PprAutoRspEn: 1, PprLogEn: 0 }, { GPRP });
    rig.write(layouts.PPR_AUTO_RESPONSE, { Code, MaskGN });
    rig.pageRequest({ pasid: 3 });
    expect(rig.responses).toEqual([{ device: DEVICE, response: { pasid, group: 5, code: Code === 9 ? 15 : Code } }]);
  });

  test("PprAutoRspAon answers everything and logs nothing; without PprAutoRspEn it means nothing", () => {
    const rig = ppr({ PprAutoRspEn: 1, PprAutoRspAon: 1 });
    rig.pageRequest();
    expect([rig.responses.length, rig.read(layouts.PPR_TAIL).Ptr]).toEqual([1, 0]);
    rig.control({ PprAutoRspEn: 0 });
    rig.pageRequest();
    expect([rig.responses.length, rig.read(layouts.PPR_TAIL).Ptr]).toEqual([1, 1]);
    rig.control({ PprAutoRspEn: 1, PprAutoRspAon: 0 });
    rig.pageRequest();
    expect([rig.responses.length, rig.read(layouts.PPR_TAIL).Ptr]).toEqual([1, 2]);
  });

  test.each([
    [{ En: 1, IntEn: 1, Threshold: 2 }, [0, 1, 1], 1],
    [{ En: 1, IntEn: 0, Threshold: 2 }, [0, 1, 1], 0],
    [{ En: 0, IntEn: 1, Threshold: 2 }, [0, 0, 0], 0],
    [{ En: 1, IntEn: 1, Threshold: 4 }, [0, 0, 0], 0],
  ])("early warning %j", (fields, expected, messages) => {
    const rig = ppr();
    rig.write(layouts.PPR_EARLY, fields);
    expect(expected.map(() => { rig.pageRequest(); return rig.status.PprOverflowEarly; })).toEqual(expected);
    expect(rig.messages).toHaveLength(messages);
  });

  test("log B has its own early warning", () => {
    const rig = ppr({ DualPprLogEn: 1 });
    rig.write(layouts.PPR_EARLY, { En: 1, Threshold: 1 });
    rig.pageRequest();
    expect([rig.status.PprOverflowEarly, rig.status.PprOverflowEarlyB, rig.status.PprLogActive, rig.read(layouts.PPR_B_TAIL).Ptr]).toEqual([0, 0, 1, 1]);
    expect(entry(rig, PPRS_B)).toMatchObject({ DeviceID: DEVICE });
    rig.write(layouts.PPR_B_EARLY, { En: 1, Threshold: 1 });
    rig.pageRequest();
    expect([rig.status.PprOverflowEarly, rig.status.PprOverflowEarlyB]).toEqual([0, 1]);
  });

  test("what software has taken is not counted", () => {
    const rig = ppr();
    rig.write(layouts.PPR_EARLY, { En: 1, Threshold: 2 });
    for (let i = 0; i < 300; i++) {
      rig.pageRequest();
      rig.write(layouts.PPR_HEAD, { Ptr: rig.read(layouts.PPR_TAIL).Ptr });
    }
    expect([rig.status.PprOverflowEarly, rig.status.PprOverflow]).toEqual([0, 0]);
  });
});

describe("the GA log (AMD-Vi §2.7)", () => {
  const guest = (control: Readonly<Record<string, number>> = {}): Rig => {
    const rig = withMsi(new Rig({ control: { GAEn: 1, GAMEn: 1, GALogEn: 1, ...control } }));
    rig.device({ IV: 1, IntCtl: 2, IntTabLen: 4, IntTabRoot: INTERRUPT_TABLE / 128 });
    rig.put(IRTE_128_GUEST, INTERRUPT_TABLE + 16, { RemapEn: 1, GuestMode: 1, GALogIntr: 1, GATag: 0x89ab_cdef, Vector: 0x31, VApicPage: rig.page() });
    return rig;
  };

  test("an interrupt for a guest that does not run is logged", () => {
    const rig = guest();
    expect(rig.interrupt(1).fault).toBe(0);
    expect(rig.entry(GA_LOG, 0, 2)).toEqual([0x89ab_cdef, 0x1000_0000 + DEVICE]);
    expect([rig.read(layouts.GA_TAIL).Ptr, rig.status.GAInt, rig.status.GALogRun, rig.messages]).toEqual([1, 1, 1, []]);
  });

  test("GAIntEn sends message MsiNumGA", () => {
    const rig = guest({ GAIntEn: 1 });
    rig.interrupt(1);
    expect(rig.messages).toEqual([{ address: 0xfee0_3000, upper: 0, data: 0x42 }]);
  });

  test("the tail goes to memory, too", () => {
    const rig = guest();
    rig.write(layouts.GA_TAIL_ADDRESS, { AddrLow: 0x48_0000 / 8 });
    rig.putWords(0x48_0000, [0xffff, 0xffff]);
    rig.interrupt(1);
    rig.interrupt(1);
    expect([...rig.words(0x48_0000, 2)]).toEqual([16, 0]);
  });

  test("without GALogEn nothing is logged, nor the tail stored", () => {
    const rig = guest({ GALogEn: 0 });
    rig.write(layouts.GA_TAIL_ADDRESS, { AddrLow: 0x48_0000 / 8 });
    rig.putWords(0x48_0000, [7]);
    rig.interrupt(1);
    expect([rig.read(layouts.GA_TAIL).Ptr, rig.memory.read32(0x48_0000), rig.status.GAInt]).toEqual([0, 7, 0]);
    expect(rig.posted).toHaveLength(1);
  });

  test("a length of 8 means 512 entries; then it overflows", () => {
    const rig = guest();
    for (let i = 0; i < 511; i++) rig.interrupt(1);
    expect([rig.read(layouts.GA_TAIL).Ptr, rig.status.GALOverflow]).toEqual([511, 0]);
    rig.interrupt(1);
    expect([rig.status.GALOverflow, rig.status.GALogRun]).toEqual([1, 0]);
  });

  test.each([
    [12, 1],
    [13, 0],
  ])("a length of %i: runs %i, as its pointers have 16 bits", (Len, runs) => {
    const rig = guest({ GALogEn: 0 });
    rig.write(layouts.GA_BASE, { Base: GA_LOG / 4096, Len });
    rig.control({ GALogEn: 1 });
    expect(rig.status.GALogRun).toBe(runs);
  });
});
