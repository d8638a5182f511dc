import { NO_PASID } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import * as layouts from "../../src/layouts/index.ts";
import { ALL_PAGES, COMMANDS, DEVICE, DOMAIN, hostRig, RAM, Rig, STORE } from "./rig.ts";

const HOST = 0x2_0000; // arbitrary
const NAMES = Object.values(layouts.COMMANDS);

describe("COMPLETION_WAIT (AMD-Vi §2.4.1)", () => {
  test("s=1 stores 8 bytes", () => {
    const rig = new Rig();
    rig.submit(rig.wait({ DataHigh: 0x89ab_cdef }));
    expect([...rig.words(STORE, 3)]).toEqual([1, 0x89ab_cdef, 0]);
    rig.submit(rig.wait({ s: 0 }));
    expect(rig.memory.read32(STORE)).toBe(1);
    expect(rig.status.ComWaitInt).toBe(0);
  });

  test("the store address has bits 51:3", () => {
    const rig = new Rig();
    rig.submit(rig.wait({ StoreLow: STORE / 8 + 1 }));
    expect(rig.memory.read32(STORE + 8)).toBe(1);
    rig.submit(rig.wait({ StoreHigh: 1 }));
    expect(rig.memory.read32(STORE)).toBe(0);
    expect(rig.status.CmdBufRun).toBe(1);
  });

  test.each([0, 1])("i=1 sets ComWaitInt; the interrupt follows with ComWaitIntEn=%i", (ComWaitIntEn) => {
    const rig = new Rig({ control: { ComWaitIntEn } });
    rig.iommu.function.config.write(0x64, 4, 0xfee0_3000);
    rig.iommu.function.config.write(0x6c, 2, 0x41);
    rig.iommu.function.config.write(0x62, 2, 1);
    rig.submit(rig.wait({ i: 1, s: 0 }));
    expect(rig.status.ComWaitInt).toBe(1);
    expect(rig.messages).toEqual(ComWaitIntEn ? [{ address: 0xfee0_3000, upper: 0, data: 0x41 }] : []);
    rig.write(layouts.STATUS, { ComWaitInt: 1 });
    expect(rig.status.ComWaitInt).toBe(0);
  });
});

describe("the buffer's pointers (AMD-Vi §2.4, MMIO 2000h)", () => {
  test("head follows tail, and wraps to 0", () => {
    const rig = new Rig();
    for (let i = 0; i < 255; i++) rig.submit(rig.wait());
    expect([rig.read(layouts.CMD_HEAD).Ptr, rig.iommu.totals.commands]).toEqual([255, 255]);
    rig.submit(rig.wait(), rig.wait());
    expect([rig.read(layouts.CMD_HEAD).Ptr, rig.waited]).toEqual([1, true]);
    expect(rig.iommu.totals.invalidations).toBe(0);
  });

  test.each([8, 9, 12, 15])("a buffer of 2^%i entries", (Len) => {
    const rig = new Rig({ control: { CmdBufEn: 0 } });
    rig.write(layouts.CMD_BASE, { Base: COMMANDS / 4096 + 0x100, Len });
    const last = 2 ** Len - 1;
    rig.putWords(COMMANDS + 0x10_0000 + 16 * last, rig.wait());
    rig.write(layouts.CMD_HEAD, { Ptr: last });
    rig.write(layouts.CMD_TAIL, { Ptr: 2 ** Len % 2 ** 15 });
    rig.control({ CmdBufEn: 1 });
    expect([rig.read(layouts.CMD_HEAD).Ptr, rig.waited]).toEqual([0, true]);
  });

  test.each([0, 1, 7])("a length of %i is reserved: it never runs", (Len) => {
    const rig = new Rig({ control: { CmdBufEn: 0 } });
    rig.write(layouts.CMD_BASE, { Base: COMMANDS / 4096, Len });
    rig.control({ CmdBufEn: 1 });
    expect(rig.status.CmdBufRun).toBe(0);
    rig.submit(rig.wait());
    expect(rig.waited).toBe(false);
  });

  test("a tail past the end counts modulo the size", () => {
    const rig = new Rig();
    rig.putWords(COMMANDS, rig.wait());
    rig.write(layouts.CMD_TAIL, { Ptr: 257 });
    expect([rig.read(layouts.CMD_HEAD).Ptr, rig.waited]).toEqual([1, true]);
  });

  test("writing the base zeroes both pointers; base and head belong to the IOMMU while it runs", () => {
    const rig = new Rig();
    rig.submit(rig.wait(), rig.wait());
    rig.write(layouts.CMD_BASE, { Base: 5, Len: 9 });
    rig.write(layouts.CMD_HEAD, { Ptr: 0 });
    expect([rig.read(layouts.CMD_BASE), rig.read(layouts.CMD_HEAD).Ptr]).toEqual([{ Base: COMMANDS / 4096, Len: 8 }, 2]);
    rig.control({ CmdBufEn: 0 });
    expect(rig.status.CmdBufRun).toBe(0);
    rig.write(layouts.CMD_HEAD, { Ptr: 1 });
    expect(rig.read(layouts.CMD_HEAD).Ptr).toBe(1);
    rig.write(layouts.CMD_BASE, { Base: 5, Len: 9 });
    expect([rig.read(layouts.CMD_BASE), rig.read(layouts.CMD_HEAD).Ptr, rig.read(layouts.CMD_TAIL).Ptr]).toEqual([{ Base: 5, Len: 9 }, 0, 0]);
  });

  test.each(["CmdBufEn", "IommuEn"] as const)("what is pending is done when %s comes on", (bit) => {
    const rig = new Rig({ control: { [bit]: 0 } });
    rig.submit(rig.wait());
    expect([rig.waited, rig.status.CmdBufRun, rig.read(layouts.CMD_HEAD).Ptr]).toEqual([false, 0, 0]);
    rig.control({ [bit]: 1 });
    expect([rig.waited, rig.status.CmdBufRun, rig.read(layouts.CMD_HEAD).Ptr]).toEqual([true, 1, 1]);
  });
});

describe("commands that are wrong (AMD-Vi §2.5.6, §2.5.7)", () => {
  test("every reserved bit of every command stops it, and no other bit does", () => {
    for (const layout of NAMES) {
      const opcode = Number(Object.keys(layouts.COMMANDS).find((key) => layouts.COMMANDS[Number(key)] === layout));
      const reserved = layout.reserved.flatMap((mask, word) => Array.from({ length: 32 }, (_, i) => i).filter((i) => ((mask >>> i) & 1) === 1).map((i) => 32 * word + i));
      const found: number[] = [];
      const rig = new Rig();
      for (let bit = 0; bit < 128; bit++) {
        if (bit >= 60 && bit < 64) continue;
        const words = layout.encode({ OpCode: opcode });
        words[bit >>> 5] = (words[bit >>> 5] as number) ^ (2 ** (bit & 31));
        rig.control({ CmdBufEn: 0 });
        rig.write(layouts.CMD_HEAD, { Ptr: 0 });
        rig.write(layouts.CMD_TAIL, { Ptr: 0 });
        rig.control({ CmdBufEn: 1 });
        rig.submit(words);
        if (rig.status.CmdBufRun === 0) found.push(bit);
      }
      expect([layout.name, found]).toEqual([layout.name, reserved]);
    }
  });

  test("an illegal command stops the buffer, with the head at it; nothing behind it is done", () => {
    const rig = new Rig();
    rig.submit(rig.wait());
    const first = rig.waited;
    rig.submit(Uint32Array.of(0, 0xf000_0000, 0, 0), rig.wait());
    expect([first, rig.waited, rig.status.CmdBufRun, rig.read(layouts.CMD_HEAD).Ptr]).toEqual([true, false, 0, 1]);
    expect(rig.events()).toEqual([{ name: "ILLEGAL_COMMAND_ERROR", AddressLow: COMMANDS + 16 }]);
    rig.submit(rig.wait());
    expect(rig.waited).toBe(false);
    // CmdBufEn alone restarts it: it finds the same command.
    rig.control({ CmdBufEn: 1 });
    expect(rig.status.CmdBufRun).toBe(0);
    rig.control({ CmdBufEn: 0 });
    rig.write(layouts.CMD_HEAD, { Ptr: 2 });
    rig.control({ CmdBufEn: 1 });
    expect([rig.waited, rig.status.CmdBufRun, rig.read(layouts.CMD_HEAD).Ptr]).toEqual([true, 1, 4]);
  });

  test.each([0, 9, 10, 11, 15])("opcode %i is illegal", (opcode) => {
    const rig = new Rig();
    rig.submit(Uint32Array.of(0, (opcode << 28) >>> 0, 0, 0));
    expect(rig.status.CmdBufRun).toBe(0);
  });

  test.each([
    [4, { iotlbSup: false }],
    [6, { efr: { PreFSup: 0 } }],
    [7, { efr: { PPRSup: 0, DualPprLogSup: 0, PprOvrflwEarlySup: 0, PPRAutoRspSup: 0 } }],
    [8, { efr: { IASup: 0 } }],
  ])("command %i needs its feature", (OpCode, changes) => {
    const runs = (options: object): number => {
      const rig = new Rig(options);
      rig.submit((layouts.COMMANDS[OpCode] as (typeof NAMES)[number]).encode({ OpCode }));
      return rig.status.CmdBufRun;
    };
    expect([runs({}), runs(changes)]).toEqual([1, 0]);
  });

  test("a buffer where no memory is: COMMAND_HARDWARE_ERROR, data error", () => {
    const rig = new Rig({ control: { CmdBufEn: 0 } });
    rig.write(layouts.CMD_BASE, { Base: 2 ** 30 + RAM / 4096, Len: 8 });
    rig.write(layouts.CMD_TAIL, { Ptr: 1 });
    rig.control({ CmdBufEn: 1 });
    expect([rig.status.CmdBufRun, rig.read(layouts.CMD_HEAD).Ptr]).toEqual([0, 0]);
    expect(rig.events()).toEqual([{ name: "COMMAND_HARDWARE_ERROR", Type: 3, AddressLow: RAM, AddressHigh: 0x400 }]);
  });
});

describe("INVALIDATE_IOTLB_PAGES (AMD-Vi §2.4.4)", () => {
  const command = (fields: Readonly<Record<string, number>> = {}): Uint32Array => layouts.INVALIDATE_IOTLB_PAGES.encode({ OpCode: 4, DeviceID: DEVICE, MaxPend: 32, QueueID: DEVICE, Address: 0x1234, ...fields });

  test.each([
    [{}, { pasid: NO_PASID, page: 0x1234, sizeShift: 12 }],
    [{ S: 1, Address: 0x1234 }, { pasid: NO_PASID, page: 0x1234, sizeShift: 13 }],
    [{ S: 1, Address: 0x1237 }, { pasid: NO_PASID, page: 0x1230, sizeShift: 16 }],
    [{ S: 1, Address: 0x7fff_ffff }, { pasid: NO_PASID, page: 0, sizeShift: 44 }],
    [{ S: 1, Address: 2 ** 38 - 1 }, { pasid: NO_PASID, page: 0, sizeShift: 51 }],
    [{ S: 1, Address: 2 ** 39 - 1 }, { pasid: NO_PASID, page: 0, sizeShift: 64 }],
    [ALL_PAGES, { pasid: NO_PASID, page: 0, sizeShift: 64 }],
    [{ GN: 1, PASIDLow: 0xab, PASIDMid: 0xcd, PASIDHigh: 0xe, Type: 3 }, { pasid: 0xe_cdab, page: 0x1234, sizeShift: 12 }],
    [{ PASIDLow: 0xab }, { pasid: NO_PASID, page: 0x1234, sizeShift: 12 }],
  ])("%j", (fields, invalidation) => {
    const rig = new Rig();
    rig.submit(command(fields));
    expect(rig.deviceTlb).toMatchObject([{ device: DEVICE, invalidation: { ...invalidation, global: false } }]);
    expect(rig.iommu.totals).toMatchObject({ commands: 1, invalidations: 1 });
  });

  test("a COMPLETION_WAIT waits for all devices; commands before it do not", () => {
    const rig = new Rig({ holdDeviceTlb: true });
    rig.submit(command(), command({ DeviceID: 7 }), rig.wait());
    expect([rig.deviceTlb.length, rig.waited, rig.read(layouts.CMD_HEAD).Ptr]).toEqual([2, false, 2]);
    rig.deviceTlb[1]?.complete("completed");
    expect(rig.waited).toBe(false);
    rig.deviceTlb[0]?.complete("completed");
    expect([rig.waited, rig.read(layouts.CMD_HEAD).Ptr]).toEqual([true, 3]);
  });

  test.each([
    [1, 1e6],
    [2, 1e7],
    [3, 1e8],
    [4, 1e9],
    [5, 1e10],
    [6, 1e11],
  ])("InvTimeOut=%i is %d ns", (InvTimeOut, timeout) => {
    const rig = new Rig({ control: { InvTimeOut } });
    rig.submit(command());
    expect(rig.deviceTlb).toMatchObject([{ timeout }]);
  });

  test("a time-out is logged, stops the buffer, and late completions change nothing", () => {
    const rig = new Rig({ holdDeviceTlb: true, control: { InvTimeOut: 4 } });
    rig.submit(command(), command(), rig.wait());
    rig.deviceTlb[1]?.complete("timed-out");
    expect([rig.status.CmdBufRun, rig.waited, rig.events()]).toEqual([0, false, [{ name: "IOTLB_INV_TIMEOUT", DeviceID: DEVICE, AddressLow: COMMANDS + 16 }]]);
    rig.deviceTlb[0]?.complete("completed");
    expect([rig.status.CmdBufRun, rig.waited]).toEqual([0, false]);
    rig.control({ CmdBufEn: 0 });
    rig.control({ CmdBufEn: 1 });
    expect([rig.status.CmdBufRun, rig.waited]).toEqual([1, true]);
  });

  test.each([0, 7])("InvTimeOut=%i: nobody gives up but software", (InvTimeOut) => {
    const rig = new Rig({ holdDeviceTlb: true, control: { InvTimeOut } });
    rig.submit(command(), rig.wait());
    rig.deviceTlb[0]?.complete("timed-out");
    expect([rig.status.CmdBufRun, rig.waited, rig.events(), rig.deviceTlb[0]?.timeout]).toEqual([1, false, [], Number.MAX_SAFE_INTEGER]);
  });

  test("a time-out while the command is being done leaves the head behind it", () => {
    const rig = new Rig({ holdDeviceTlb: true, control: { InvTimeOut: 1 } });
    rig.iommu.connect({ invalidateDeviceTlb: (_device, _invalidation, _timeout, complete) => { complete("timed-out"); }, respondToPage: () => undefined });
    rig.submit(command(), rig.wait());
    expect([rig.status.CmdBufRun, rig.read(layouts.CMD_HEAD).Ptr, rig.waited]).toEqual([0, 1, false]);
  });
});

describe("COMPLETE_PPR_REQUEST (AMD-Vi §2.4.7)", () => {
  const command = (fields: Readonly<Record<string, number>>): Uint32Array => layouts.COMPLETE_PPR_REQUEST.encode({ OpCode: 7, DeviceID: DEVICE, PASID: 0x5_4321, Tag: 0x1a5, ...fields });
  test.each([
    [{ GN: 1 }, 1, { pasid: 0x5_4321, group: 0x1a5, code: 0 }],
    [{ GN: 1 }, 0, { pasid: NO_PASID, group: 0x1a5, code: 0 }],
    [{ GN: 0 }, 1, { pasid: NO_PASID, group: 0x1a5, code: 0 }],
    [{ Status: 1 }, 0, { pasid: NO_PASID, group: 0x1a5, code: 1 }],
    [{ Status: 15 }, 0, { pasid: NO_PASID, group: 0x1a5, code: 15 }],
    [{ Status: 6 }, 0, { pasid: NO_PASID, group: 0x1a5, code: 15 }],
  ])("%j with GPRP=%i", (fields, GPRP, response) => {
    const rig = new Rig();
    rig.device({ PPR: 1, GPRP });
    rig.submit(command(fields));
    expect(rig.responses).toEqual([{ device: DEVICE, response }]);
  });
});

describe("PREFETCH_IOMMU_PAGES (AMD-Vi §2.4.6)", () => {
  const prefetch = (fields: Readonly<Record<string, number>> = {}): Uint32Array => layouts.PREFETCH_IOMMU_PAGES.encode({ OpCode: 6, DeviceID: DEVICE, Address: 0x100, ...fields });

  test("fills the IOTLB for Count + 1 pages", () => {
    const rig = hostRig({ device: { I: 1 } });
    for (let i = 0; i < 4; i++) rig.mapHost(rig.table, 0x100 + i, HOST + i);
    rig.submit(prefetch({ Count: 2 }));
    const { iotlbMisses } = rig.iommu.totals;
    expect(iotlbMisses).toBe(3);
    for (let i = 0; i < 3; i++) expect(rig.translate(0x100 + i).page).toBe(HOST + i);
    expect(rig.iommu.totals.iotlbMisses).toBe(3);
    rig.translate(0x103);
    expect(rig.iommu.totals.iotlbMisses).toBe(4);
  });

  test("nothing is logged for pages that are not there, nor done for devices without ATS", () => {
    const rig = hostRig({ device: { I: 1 } });
    rig.submit(prefetch());
    rig.device({ TV: 0 }, 9);
    rig.submit(prefetch({ DeviceID: 9 }));
    expect([rig.events(), rig.iommu.totals.aborted]).toEqual([[], 0]);
  });

  test("Inval drops the page first", () => {
    const rig = hostRig({ device: { I: 1 }, caches: "adversarial" });
    rig.mapHost(rig.table, 0x100, HOST);
    rig.translate(0x100);
    rig.mapHost(rig.table, 0x100, HOST + 9);
    rig.submit(prefetch());
    expect(rig.translate(0x100).page).toBe(HOST);
    rig.submit(prefetch({ Inval: 1 }));
    expect(rig.translate(0x100).page).toBe(HOST + 9);
  });
});

describe("INVALIDATE_INTERRUPT_TABLE (AMD-Vi §2.4.5)", () => {
  test("is an invalidation, and the domain's translations stay", () => {
    const rig = hostRig();
    rig.mapHost(rig.table, 5, HOST);
    rig.translate(5);
    rig.submit(layouts.INVALIDATE_INTERRUPT_TABLE.encode({ OpCode: 5, DeviceID: DEVICE }));
    rig.translate(5);
    expect(rig.iommu.totals).toMatchObject({ invalidations: 1, iotlbMisses: 1 });
    expect(DOMAIN).toBeGreaterThan(0);
  });
});
