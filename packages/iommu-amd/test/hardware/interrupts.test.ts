import { IRTE_32 } from "@iommu-lab/interrupt-remap/amd";
import { Access } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import * as layouts from "../../src/layouts/index.ts";
import { DEVICE, DEVICE_TABLE, DOMAIN, hostRig, INTERRUPT_TABLE, RAM, Rig, type Fields } from "./rig.ts";

const ADDRESS = 0xfee1_2004; // arbitrary
const remapping = (fields: Fields = {}, control: Fields = {}): Rig => {
  const rig = new Rig({ control });
  rig.device({ IV: 1, IntCtl: 2, IntTabLen: 4, IntTabRoot: INTERRUPT_TABLE / 128, ...fields });
  rig.put(IRTE_32, INTERRUPT_TABLE + 4, { RemapEn: 1, Vector: 0x55, Destination: 7 });
  return rig;
};
const event = (name: string, changes: object = {}): object => ({ name, DeviceID: DEVICE, I: 1, AddressLow: ADDRESS, ...changes });

describe("interrupts and the device's entry (AMD-Vi §2.2.5)", () => {
  test("a remapped interrupt; with IommuEn=0 it passes as it is", () => {
    const rig = remapping();
    expect(rig.interrupt(1, { address: ADDRESS })).toEqual({ fault: 0, recorded: false });
    expect(rig.delivered).toMatchObject([{ vector: 0x55, destination: 7 }]);
    rig.control({ IommuEn: 0 });
    expect(rig.interrupt(0x31, { address: ADDRESS })).toEqual({ fault: 0, recorded: false });
    expect(rig.delivered[1]).toMatchObject({ vector: 0x31, destination: 0x12, destinationMode: "logical" });
  });

  test("IV decides about interrupts, whatever V says", () => {
    const rig = remapping({ V: 0 });
    rig.interrupt(1);
    rig.device({ IV: 0 });
    rig.invalidateDevice();
    rig.interrupt(0x44);
    expect(rig.delivered).toMatchObject([{ vector: 0x55 }, { vector: 0x44 }]);
  });

  test.each([
    ["an entry with RemapEn=0", {}, 2, event("IO_PAGE_FAULT", { DomainIDorPASID: DOMAIN }), 2],
    ["an index past the table", { IntTabLen: 0 }, 1, event("IO_PAGE_FAULT", { DomainIDorPASID: DOMAIN }), 2],
    ["IntTabLen 12", { IntTabLen: 12 }, 1, event("ILLEGAL_DEV_TABLE_ENTRY"), 1],
    ["IntCtl 3", { IntCtl: 3 }, 1, event("ILLEGAL_DEV_TABLE_ENTRY", { RZ: 1 }), 1],
    ["a table where no memory is", { IntTabRoot: RAM / 128 }, 1, { name: "PAGE_TAB_HARDWARE_ERROR", DeviceID: DEVICE, DomainIDorPASID: DOMAIN, I: 1, Type: 2, AddressLow: RAM + 4 }, 4],
  ])("%s", (_what, fields, data, expected, fault) => {
    const rig = remapping(fields);
    expect(rig.interrupt(data, { address: ADDRESS })).toEqual({ fault, recorded: true });
    expect([rig.events(), rig.delivered]).toEqual([[expected], []]);
    expect(rig.iommu.function.config.read(0x06, 2) & 0x0800).toBe(0x0800);
  });

  test("a reserved entry: PR and RZ; address bits 63:32 are told", () => {
    const rig = remapping();
    rig.flip(INTERRUPT_TABLE + 4, 3);
    rig.interrupt(1, { address: 0xfd_f800_0003 });
    expect(rig.events()).toEqual([{ name: "IO_PAGE_FAULT", DeviceID: DEVICE, DomainIDorPASID: DOMAIN, I: 1, PR: 1, RZ: 1, AddressLow: 0xf800_0000, AddressHigh: 0xfd }]);
  });

  test.each([
    ["IG", { IG: 1 }],
    ["SA", { SA: 1 }],
  ])("%s: faults are not logged", (_name, fields) => {
    const rig = remapping(fields);
    expect(rig.interrupt(2)).toEqual({ fault: 2, recorded: false });
    expect(rig.events()).toEqual([]);
  });

  test("IntCtl 0 aborts without an event", () => {
    const rig = remapping({ IntCtl: 0 });
    expect(rig.interrupt(1)).toEqual({ fault: 0x100, recorded: false });
    expect([rig.events(), rig.iommu.function.config.read(0x06, 2) & 0x0800]).toEqual([[], 0x0800]);
  });

  test.each([
    ["INITPass", 0x500],
    ["NMIPass", 0x400],
    ["EIntPass", 0x700],
  ])("%s lets %d pass", (field, data) => {
    expect([0, 1].map((value) => remapping({ [field]: value }).interrupt(data).fault)).toEqual([0x100, 0]);
  });

  test("every interrupt field is taken from its bits", () => {
    const rig = remapping({ IntTabRoot: 2 ** 45 - 1 });
    rig.interrupt(1);
    expect(rig.events()).toMatchObject([{ AddressLow: 0xffff_ff84, AddressHigh: 0xf_ffff }]);
  });

  test("large tables, wide entries and GAMEn follow CONTROL", () => {
    const rig = remapping({ IntTabLen: 11 });
    rig.put(IRTE_32, INTERRUPT_TABLE + 4 * 0x400, { RemapEn: 1, Vector: 0x66 });
    expect(rig.interrupt(0x400).fault).toBe(0x100);
    rig.control({ NumIntRemapMode: 1 });
    expect(rig.interrupt(0x400).fault).toBe(0);
    expect(rig.interrupt(0x201).fault).toBe(2);
    rig.control({ NumIntRemapMode: 0, GAEn: 1 });
    rig.putWords(INTERRUPT_TABLE + 16, [0x0900 | 1, 0, 0x77, 0]);
    rig.submit(layouts.INVALIDATE_INTERRUPT_TABLE.encode({ OpCode: 5, DeviceID: DEVICE }));
    rig.interrupt(1);
    expect(rig.delivered.at(-1)).toMatchObject({ vector: 0x77, destination: 9 });
    rig.control({ XTEn: 1, IRTCacheDis: 1 });
    rig.putWords(INTERRUPT_TABLE + 16, [0x1234_0900 | 1, 0, 0x78, 0x5600_0000]);
    rig.interrupt(1);
    expect(rig.delivered.at(-1)).toMatchObject({ vector: 0x78, destination: 0x5612_3409 });
    rig.putWords(INTERRUPT_TABLE + 16, [0x81, 0, 0x79 + rig.page() * 4096, 0]);
    expect(rig.interrupt(1).fault).toBe(2);
    rig.control({ GAMEn: 1 });
    expect(rig.interrupt(1).fault).toBe(0);
    expect(rig.posted).toHaveLength(1);
  });

  test("a table is cached until its invalidation", () => {
    const rig = remapping();
    rig.interrupt(1);
    rig.put(IRTE_32, INTERRUPT_TABLE + 4, { RemapEn: 1, Vector: 0x56 });
    rig.interrupt(1);
    rig.submit(layouts.INVALIDATE_INTERRUPT_TABLE.encode({ OpCode: 5, DeviceID: DEVICE }));
    rig.interrupt(1);
    rig.put(IRTE_32, INTERRUPT_TABLE + 4, { RemapEn: 1, Vector: 0x57 });
    rig.submit(layouts.INVALIDATE_IOMMU_ALL.encode({ OpCode: 8 }));
    rig.interrupt(1);
    expect(rig.delivered.map(({ vector }) => vector)).toEqual([0x55, 0x55, 0x56, 0x57]);
  });
});

describe("SMIs (AMD-Vi §3.4, SMI filter)", () => {
  const [filter, second] = layouts.SMI_FILTERS as [never, never];
  test.each([
    [{ IV: 0 }, true],
    [{ IV: 1 }, false],
    [{ IV: 1, SysMgt: 1 }, true],
    [{ IV: 1, SysMgt: 3 }, false],
  ])("without the filter, %j: passes %s", (fields, passes) => {
    const rig = remapping(fields);
    expect(rig.interrupt(0x200).fault).toBe(passes ? 0 : 2);
    expect([rig.delivered.length, rig.events(), rig.iommu.totals.smis, rig.iommu.totals.blockedSmis]).toEqual([passes ? 1 : 0, [], 1, passes ? 0 : 1]);
  });
  test.each([
    [{ SmiDID: DEVICE, SmiDV: 1 }, true],
    [{ SmiDID: DEVICE, SmiDV: 0 }, false],
    [{ SmiDID: DEVICE + 1, SmiDV: 1 }, false],
  ])("with the filter, %j: passes %s", (fields, passes) => {
    for (const register of [filter, second]) {
      const rig = remapping({ SysMgt: 1 }, { SmiFEn: 1, SmiFLogEn: 1 });
      rig.write(register, fields);
      expect(rig.interrupt(0x200, { address: ADDRESS })).toEqual({ fault: passes ? 0 : 2, recorded: !passes });
      expect(rig.events()).toEqual(passes ? [] : [event("IO_PAGE_FAULT")]);
    }
  });
  test("with IV=0 the filter counts, too", () => {
    expect(remapping({ IV: 0 }, { SmiFEn: 1 }).interrupt(0x200)).toEqual({ fault: 2, recorded: false });
  });
  test("in large tables message type 2 is an index", () => {
    const rig = remapping({ IntTabLen: 11 }, { NumIntRemapMode: 1, SmiFEn: 1 });
    rig.put(IRTE_32, INTERRUPT_TABLE + 4 * 0x200, { RemapEn: 1, Vector: 0x66 });
    expect([rig.interrupt(0x200).fault, rig.iommu.totals.smis]).toEqual([0, 0]);
  });
  test("a blocked SMI is explained", () => {
    const steps: { outcome: string }[] = [];
    remapping().interrupt(0x200, { explain: steps as never });
    expect(steps.map(({ outcome }) => outcome)).toEqual(["continue", "blocked"]);
  });
});

describe("the IOMMU's own interrupts (AMD-Vi §3.4.13)", () => {
  const own = (control: Fields = {}): Rig => {
    const rig = hostRig({ control: { EventIntEn: 1, ...control } });
    rig.iommu.function.config.write(0x64, 4, 0xfee4_5000);
    rig.iommu.function.config.write(0x68, 4, 9);
    rig.iommu.function.config.write(0x6c, 2, 0x47);
    return rig;
  };
  test.each([
    [0x00, []],
    [0x01, [0x47]],
    [0x11, [0x46]],
    [0x21, [0x44]],
  ])("MSI control %d", (control, data) => {
    const rig = own();
    rig.iommu.function.config.write(0x62, 2, control);
    rig.translate(3);
    expect(rig.messages).toEqual(data.map((each) => ({ address: 0xfee4_5000, upper: 9, data: each })));
  });
  test.each([
    [{ Vector: 0x91, DestLow: 0x12_3456, DestHigh: 0x78 }, { address: 0xfee5_6000, upper: 0x7812_3400, data: 0x91 }],
    [{ Vector: 0x91, DestLow: 0xff, DestMode: 1, DeliveryMode: 1 }, { address: 0xfeef_f004, upper: 0, data: 0x191 }],
    [{ Vector: 0x20, DestLow: 0xff_ff00, DestHigh: 0xff }, { address: 0xfee0_0000, upper: 0xffff_ff00, data: 0x20 }],
  ])("IntCapXTEn: %j", (fields, message) => {
    const rig = own({ IntCapXTEn: 1 });
    rig.write(layouts.XT_GENERAL, fields);
    rig.translate(3);
    expect(rig.messages).toEqual([message]);
  });
  test("PPR and GA have registers of their own", () => {
    const rig = own({ IntCapXTEn: 1, PprEn: 1, PprLogEn: 1, PprIntEn: 1 });
    rig.write(layouts.XT_PPR, { Vector: 0x33 });
    rig.write(layouts.XT_GA, { Vector: 0x34 });
    rig.device({ PPR: 1 }, 4);
    rig.pageRequest({ requester: 4 });
    expect(rig.messages).toMatchObject([{ data: 0x33 }]);
  });
});

describe("performance counters (AMD-Vi §3.4, MMIO 40000h)", () => {
  const at = (bank: number, counter: number, fn: number): number => 0x4_0000 + bank * 0x1000 + counter * 0x100 + fn;
  const pair = new Uint32Array(2);
  const count = (rig: Rig, bank: number, counter: number): number => {
    rig.iommu.registers.read64(at(bank, counter, 0), pair);
    return (pair[1] as number) * 2 ** 32 + (pair[0] as number);
  };
  const counting = (source: number, bank = 0, counter = 0): Rig => {
    const rig = hostRig();
    rig.mapHost(rig.table, 5, 0x2_0000);
    rig.iommu.registers.write64(at(bank, counter, 8), source, 0);
    return rig;
  };

  test.each([
    ["misses", 0x07, 1],
    ["hits", 0x06, 2],
    ["lookups", 0x05, 3],
    ["entry misses", 0x0b, 1],
    ["entry hits", 0x0a, 2],
    ["table reads", 0x0c, 4],
    ["host reads", 0x0d, 4],
    ["guest reads", 0x0e, 0],
    ["aborts", 0x04, 0],
    ["nothing", 0, 0],
    ["an unknown source", 0xff, 0],
  ])("%s", (_what, source, expected) => {
    for (const [bank, counter] of [[0, 0], [1, 3]] as const) {
      const rig = counting(source, bank, counter);
      for (let i = 0; i < 3; i++) rig.translate(5);
      expect(count(rig, bank, counter)).toBe(expected);
      expect(count(rig, 1 - bank, counter)).toBe(0);
    }
  });

  test("commands and invalidations; untranslated, pretranslated and excluded requests; SMIs", () => {
    const rig = counting(0x11);
    for (const [i, source] of [0x12, 0x01, 0x03].entries()) rig.iommu.registers.write64(at(0, i + 1, 8), source, 0);
    for (const [i, source] of [0x17, 0x18, 0x02, 0x04].entries()) rig.iommu.registers.write64(at(1, i, 8), source, 0);
    rig.submit(rig.wait());
    rig.invalidateDevice();
    rig.translate(1, { device: 3 });
    rig.write(layouts.EXCL_BASE, { ExEn: 1, Allow: 1 });
    rig.translate(0);
    rig.interrupt(0x200);
    rig.device({ I: 1 }, 6);
    rig.translate(1, { device: 6, type: 2 });
    rig.translate(1);
    expect([0, 1, 2, 3].map((i) => count(rig, 0, i))).toEqual([2, 1, 1, 1]);
    expect([0, 1, 2, 3].map((i) => count(rig, 1, i))).toEqual([1, 0, 1, 1]);
  });

  test.each([
    ["PASID", 0x10, 0xffff_ffff, 0xf_ffff, 0],
    ["device", 0x20, DEVICE, 0xffff, 1],
    ["another device", 0x20, DEVICE + 1, 0xffff, 0],
    ["another device under the mask", 0x20, DEVICE + 1, 0xfffe, 1],
    ["domain", 0x18, DOMAIN, 0xffff, 1],
    ["another domain", 0x18, DOMAIN + 1, 0xffff, 0],
  ])("matching %s", (_what, fn, match, mask, expected) => {
    const rig = counting(0x07);
    rig.iommu.registers.write64(at(0, 0, fn), (match | 0x8000_0000) >>> 0, mask);
    rig.translate(5);
    expect(count(rig, 0, 0)).toBe(expected);
    rig.invalidatePages({ Address: 5 });
    rig.iommu.registers.write64(at(0, 0, fn), match & 0x7fff_ffff, mask);
    rig.translate(5);
    expect(count(rig, 0, 0)).toBe(expected + 1);
  });

  test("what no request caused matches nobody", () => {
    const rig = counting(0x11);
    rig.iommu.registers.write64(at(0, 0, 0x20), (DEVICE | 0x8000_0000) >>> 0, 0xffff);
    rig.submit(rig.wait());
    expect(count(rig, 0, 0)).toBe(0);
  });

  test.each([0, 1])("passing zero: EVENT_COUNTER_ZERO with CERE=%i", (CERE) => {
    const rig = counting(0x07);
    rig.iommu.registers.write64(at(0, 0, 0), 0xffff_ffff, 0xffff);
    rig.iommu.registers.write64(at(0, 0, 0x28), 0x89ab_cdef, (0x5_4321 | (CERE << 31)) >>> 0);
    rig.translate(5);
    expect(count(rig, 0, 0)).toBe(0);
    expect(rig.events()).toEqual(CERE ? [{ name: "EVENT_COUNTER_ZERO", CounterNoteHigh: 0x5_4321, CounterNoteLow: 0x89ab_cdef }] : []);
  });

  test("counting starts when the source is written, and stops with reset", () => {
    const rig = counting(0);
    rig.translate(5);
    rig.iommu.registers.write64(at(0, 0, 8), 0x07, 0);
    expect(count(rig, 0, 0)).toBe(0);
    rig.invalidatePages({ Address: 5 });
    rig.translate(5, { access: Access.Read });
    expect(count(rig, 0, 0)).toBe(1);
    rig.iommu.reset("warm");
    expect(count(rig, 0, 0)).toBe(0);
  });

  test("registers hold their bits, in accesses of any size; without PCSup there are none", () => {
    const rig = counting(0);
    const { registers } = rig.iommu;
    expect([0, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30].map((fn) => {
      registers.write64(at(1, 2, fn), 0xffff_ffff, 0xffff_ffff);
      registers.read64(at(1, 2, fn), pair);
      return [...pair];
    })).toEqual([[0xffff_ffff, 0xffff], [0xc000_00ff, 0], [0x800f_ffff, 0xf_ffff], [0x8000_ffff, 0xffff], [0x8000_ffff, 0xffff], [0xffff_ffff, 0x800f_ffff], [0, 0]]);
    registers.write(at(0, 0, 0), 4, 0x1234_5678);
    expect([registers.read(at(0, 0, 0), 2), registers.read(0x7_fff8, 4)]).toEqual([0x5678, 0]);
    const none = new Rig({ efr: { PCSup: 0 } }).iommu.registers;
    none.write(at(0, 0, 0), 4, 5);
    none.write64(at(0, 0, 0), 5, 5);
    none.read64(at(0, 0, 0), pair);
    expect([none.read(at(0, 0, 0), 4), ...pair]).toEqual([0, 0, 0]);
    expect(DEVICE_TABLE).toBeGreaterThan(0);
  });
});
