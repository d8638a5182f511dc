import { Access, AddressType, Completion } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { FULL, ZEN } from "../../src/hardware/index.ts";
import { reservedInEntry } from "../../src/hardware/device-rules.ts";
import * as layouts from "../../src/layouts/index.ts";
import { DEVICE, DEVICE_TABLE, DOMAIN, hostRig, RAM, Rig } from "./rig.ts";

const { Read, Write } = Access;
const PAGE = 0x12_3456; // arbitrary
const AT = { AddressLow: (PAGE * 4096) % 2 ** 32, AddressHigh: Math.floor(PAGE / 2 ** 20) };
const addressed = AT.AddressHigh === 0 ? { AddressLow: AT.AddressLow } : AT;

describe("V, TV and Mode (AMD-Vi §2.2.2, Table 8)", () => {
  test("IommuEn=0: DMA passes with every right, whatever the tables say", () => {
    const rig = new Rig({ control: { IommuEn: 0 } });
    rig.device({ TV: 0 });
    expect(rig.translate(PAGE)).toMatchObject({ fault: 0, page: PAGE, permissions: 7, completion: Completion.Successful });
    for (const type of [AddressType.TranslationRequest, AddressType.Translated]) expect(rig.translate(PAGE, { type })).toMatchObject({ fault: 0, completion: Completion.UnsupportedRequest, permissions: 0 });
  });

  test("V=0: DMA passes, and all other bits are ignored", () => {
    const rig = new Rig();
    rig.putWords(DEVICE_TABLE + 32 * DEVICE, [0xffff_fffe, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0, 0, 0, 0]);
    expect(rig.translate(PAGE, { access: Write })).toMatchObject({ fault: 0, page: PAGE, pageShift: 12, permissions: 7, snoop: false });
    expect(rig.iommu.totals.untranslated).toBe(1);
    expect(rig.events()).toEqual([]);
  });

  test("V=1, TV=0: every DMA is a page fault, not present", () => {
    const rig = new Rig();
    rig.device({ TV: 0, Mode: 0 });
    for (const access of [Read, Write]) expect(rig.translate(PAGE, { access })).toMatchObject({ fault: 2, recorded: true, completion: Completion.CompleterAbort });
    expect(rig.events()).toEqual(Array(2).fill({ name: "IO_PAGE_FAULT", DeviceID: DEVICE, DomainIDorPASID: DOMAIN, ...addressed }));
  });

  test.each([0, 1, 2, 3])("Mode 0: the address passes under IR and IW (%i)", (rights) => {
    const rig = new Rig();
    rig.device({ Mode: 0, IR: rights & 1, IW: rights >> 1 });
    for (const access of [Read, Write]) {
      const out = rig.translate(PAGE, { access });
      const allowed = (access & rights) !== 0;
      expect([out.fault, out.page, out.permissions & 3]).toEqual(allowed ? [0, PAGE, rights] : [2, 0, 0]);
      expect(rig.events()).toEqual(allowed ? [] : [{ name: "IO_PAGE_FAULT", DeviceID: DEVICE, DomainIDorPASID: DOMAIN, PR: 1, PE: 1, ...(access === Write ? { RW: 1 } : {}), ...addressed }]);
    }
  });

  test("Mode 0: addresses end at PAsize", () => {
    const rig = new Rig({ physicalAddressWidth: 41 });
    rig.device();
    expect([rig.translate(2 ** 29 - 1).fault, rig.translate(2 ** 29).fault]).toEqual([0, 2]);
    expect(rig.events()).toMatchObject([{ PR: 1, RZ: 1, AddressHigh: 0x200 }]);
  });

  test("Mode0FC makes accesses of Mode 0 snoop", () => {
    const rig = new Rig();
    rig.device({ Mode0FC: 1 });
    expect(rig.translate(PAGE).snoop).toBe(true);
  });

  test.each([
    [0, 5],
    [0, 6],
    [1, 6],
    [2, 7],
    [3, 1],
  ])("with HATS=%i Mode %i is a bad level", (HATS, Mode) => {
    const rig = hostRig({ efr: { HATS }, device: { Mode } });
    expect(rig.translate(PAGE, { access: Write }).fault).toBe(2);
    expect(rig.events()).toEqual([{ name: "IO_PAGE_FAULT", DeviceID: DEVICE, DomainIDorPASID: DOMAIN, PR: 1, RW: 1, ...addressed }]);
  });

  test.each([
    [0, 4],
    [1, 5],
    [2, 6],
  ])("with HATS=%i Mode %i is allowed", (HATS, Mode) => {
    const rig = hostRig({ efr: { HATS }, device: { Mode } });
    rig.mapHost(rig.table, 5, 7, { steps: Array.from({ length: Mode }, (_, i) => Mode - i) });
    expect(rig.translate(5).page).toBe(7);
  });
});

describe("reserved bits of a device table entry (AMD-Vi §2.2.2, Table 7)", () => {
  const bits = (masks: Int32Array): number[] => Array.from({ length: 256 }, (_, i) => i).filter((i) => (((masks[i >>> 5] as number) >>> (i & 31)) & 1) === 1);

  test("the hand masks are what the layout leaves, and what features take away", () => {
    const declared = bits(Int32Array.from(layouts.DEVICE_TABLE_ENTRY.reserved));
    // HPTMode and the vIOMMU's fields are declared, and no IOMMU of this model has them; SATS neither.
    const absent = [106, 187, 207, ...Array.from({ length: 32 }, (_, i) => 208 + i)];
    expect(bits(reservedInEntry(FULL))).toEqual([...declared, ...absent].sort((a, b) => a - b));
  });

  test.each([
    ["cxlAttributes", { ...FULL, cxlAttributes: false }, [4, 5, 6]],
    ["PPRSup", { ...FULL, efr: { ...FULL.efr, PPRSup: 0 } }, [52, 53]],
    ["GIoSup", { ...FULL, efr: { ...FULL.efr, GIoSup: 0 } }, [54]],
    ["GTSup", { ...FULL, efr: { ...FULL.efr, GTSup: 0 } }, [...range(55, 60), ...range(80, 95), ...range(107, 127), 182, 183]],
  ] as const)("without %s more is reserved", (_name, capabilities, more) => {
    expect(bits(reservedInEntry(capabilities)).filter((bit) => !bits(reservedInEntry(FULL)).includes(bit))).toEqual(more);
  });

  test.each([
    ["SATSSup", { ...FULL, efr: { ...FULL.efr, SATSSup: 1 } }, [106]],
    ["vIommuSup", { ...FULL, efr: { ...FULL.efr, vIommuSup: 1 } }, range(207, 239)],
  ] as const)("with %s less is reserved", (_name, capabilities, fewer) => {
    expect(bits(reservedInEntry(FULL)).filter((bit) => !bits(reservedInEntry(capabilities)).includes(bit))).toEqual(fewer);
  });

  test.each([
    ["FULL", FULL],
    ["ZEN", ZEN],
  ] as const)("%s: each reserved bit of 127:0 makes DMA illegal, no other bit does, with V=1 only", (_name, base) => {
    const rig = hostRig({ base, caches: "none" });
    rig.mapHost(rig.table, PAGE, 9);
    const found: number[] = [];
    for (let bit = 1; bit < 256; bit++) {
      rig.flip(rig.dte, bit);
      if (rig.translate(PAGE, { access: Write }).fault === 1) found.push(bit);
      rig.flip(rig.dte, bit);
    }
    expect(found).toEqual(bits(reservedInEntry(base)).filter((bit) => bit < 128));
    const events = rig.events().filter(({ name }) => name === "ILLEGAL_DEV_TABLE_ENTRY");
    expect(events).toEqual(found.map(() => ({ name: "ILLEGAL_DEV_TABLE_ENTRY", DeviceID: DEVICE, RW: 1, RZ: 1, ...addressed })));
  });

  test("each reserved bit of 255:128 makes interrupts illegal with IV=1, and no DMA", () => {
    const rig = hostRig({ caches: "none", device: { IV: 1, IntCtl: 1 } });
    rig.mapHost(rig.table, PAGE, 9);
    const found: number[] = [];
    for (let bit = 0; bit < 256; bit++) {
      if (bit === 128) continue;
      rig.flip(rig.dte, bit);
      const { fault } = rig.interrupt(0x31, { address: 0xfee0_1004 });
      if (fault === 1 && (bit < 188 || bit > 189)) found.push(bit);
      rig.flip(rig.dte, bit);
    }
    expect(found).toEqual(bits(reservedInEntry(FULL)).filter((bit) => bit >= 128));
    expect(rig.events()[0]).toEqual({ name: "ILLEGAL_DEV_TABLE_ENTRY", DeviceID: DEVICE, I: 1, RZ: 1, AddressLow: 0xfee0_1004 });
    rig.flip(rig.dte, 128);
    rig.flip(rig.dte, 187);
    rig.delivered.length = 0;
    expect(rig.interrupt(0x31).fault).toBe(0);
    expect(rig.delivered).toHaveLength(1);
  });

  test.each([
    ["GLX", { GV: 1, GLX: 3 }, 1],
    ["GLX without GV", { GV: 0, GLX: 3 }, 0],
    ["GuestPagingMode", { GV: 1, GuestPagingMode: 2 }, 1],
    ["a supported GuestPagingMode", { GV: 1, GuestPagingMode: 1 }, 0],
  ] as const)("%s", (_what, fields, fault) => {
    const rig = new Rig();
    rig.device(fields);
    expect(rig.translate(PAGE).fault).toBe(fault);
    expect(rig.events()).toEqual(fault ? [{ name: "ILLEGAL_DEV_TABLE_ENTRY", DeviceID: DEVICE, ...addressed }] : []);
  });

  test.each([
    [{ GLXSup: 1 }, { GV: 1, GLX: 2 }],
    [{ GATS: 0 }, { GV: 1, GuestPagingMode: 1 }],
  ])("with %j %j is illegal", (efr, fields) => {
    const rig = new Rig({ efr });
    rig.device(fields);
    expect(rig.translate(PAGE).fault).toBe(1);
  });

  test("a translation request to an illegal entry is aborted, with TR; PASID and GN are told", () => {
    const rig = new Rig();
    rig.device();
    rig.flip(DEVICE_TABLE + 32 * DEVICE, 2);
    expect(rig.translate(PAGE, { type: AddressType.TranslationRequest, pasid: 0xa_bcde })).toMatchObject({ fault: 1, recorded: true, completion: Completion.CompleterAbort });
    expect(rig.events()).toEqual([{ name: "ILLEGAL_DEV_TABLE_ENTRY", DeviceID: DEVICE, PASIDHigh: 0xa, PASIDLow: 0xbcde, GN: 1, RZ: 1, TR: 1, ...addressed }]);
  });
});

describe("where the table is (AMD-Vi §2.2.2, MMIO 0000h, 0100h)", () => {
  test.each([0, 1, 3, 511])("a table of Size %i ends at 128 entries a page", (Size) => {
    const rig = new Rig({ caches: "none" });
    rig.write(layouts.DEV_TAB_BASE, { DevTabBase: DEVICE_TABLE / 4096, Size });
    const last = (Size + 1) * 128 - 1;
    expect(rig.translate(PAGE, { device: last }).fault).toBe(0);
    if (Size === 511) return;
    expect(rig.translate(PAGE, { device: last + 1 })).toMatchObject({ fault: 2, recorded: true, completion: Completion.CompleterAbort });
    expect(rig.events()).toEqual([{ name: "IO_PAGE_FAULT", DeviceID: last + 1 }]);
    expect(rig.translate(PAGE, { device: last + 1, type: AddressType.TranslationRequest })).toMatchObject({ fault: 2, recorded: false });
    expect(rig.interrupt(0x31, { device: last + 1 })).toEqual({ fault: 2, recorded: true });
    expect(rig.events()).toEqual([{ name: "IO_PAGE_FAULT", DeviceID: last + 1, I: 1 }]);
  });

  test("a table where no memory is: DEV_TAB_HARDWARE_ERROR with the entry's address", () => {
    const rig = new Rig();
    rig.write(layouts.DEV_TAB_BASE, { DevTabBase: 2 ** 30 + RAM / 4096, Size: 511 });
    const at = (2 ** 30 + RAM / 4096) * 4096 + 32 * DEVICE;
    const error = { name: "DEV_TAB_HARDWARE_ERROR", DeviceID: DEVICE, Type: 2, AddressLow: at % 2 ** 32, AddressHigh: Math.floor(at / 2 ** 32) };
    expect(rig.translate(PAGE, { access: Write })).toMatchObject({ fault: 3, recorded: true, completion: Completion.CompleterAbort });
    expect(rig.translate(PAGE, { type: AddressType.TranslationRequest })).toMatchObject({ fault: 3, completion: Completion.CompleterAbort });
    expect(rig.interrupt(0x31)).toEqual({ fault: 3, recorded: true });
    expect(rig.events()).toEqual([{ ...error, RW: 1 }, { ...error, TR: 1 }, { ...error, I: 1 }]);
  });

  test.each([
    [0, 0],
    [1, 1],
    [2, 2],
    [3, 3],
    [4, 3],
    [7, 3],
  ])("DevTblSegEn=%i: the upper %i bits of the DeviceID choose the table", (DevTblSegEn, bits) => {
    const rig = new Rig({ caches: "none", control: { DevTblSegEn } });
    const tables = Array.from({ length: 8 }, (_, i) => DEVICE_TABLE / 4096 + 0x200 * 8 + 16 * i);
    for (let i = 0; i < 8; i++) rig.write(i === 0 ? layouts.DEV_TAB_BASE : (layouts.DEV_TAB_SEGMENTS[i - 1] as never), { DevTabBase: tables[i] as number, Size: 3 });
    for (let segment = 0; segment < 2 ** bits; segment++) {
      const device = segment * 2 ** (16 - bits) + 0x155;
      rig.put(layouts.DEVICE_TABLE_ENTRY, (tables[segment] as number) * 4096 + 32 * 0x155, { V: 1, TV: 0, DomainID: segment + 1 });
      rig.translate(PAGE, { device });
      expect(rig.events()).toMatchObject([{ name: "IO_PAGE_FAULT", DomainIDorPASID: segment + 1 }]);
      expect(rig.translate(PAGE, { device: segment * 2 ** (16 - bits) + 512 }).fault).toBe(2);
      rig.events();
    }
  });

  test("no more segments than DevTblSegSup says", () => {
    const rig = new Rig({ efr: { DevTblSegSup: 1 }, caches: "none", control: { DevTblSegEn: 3 } });
    rig.write(layouts.DEV_TAB_SEGMENTS[0] as never, { DevTabBase: 0x800, Size: 255 });
    rig.write(layouts.DEV_TAB_SEGMENTS[1] as never, { DevTabBase: 0x900, Size: 255 });
    expect(rig.raw(layouts.DEV_TAB_SEGMENTS[1] as never)).toEqual(Uint32Array.of(0, 0));
    rig.put(layouts.DEVICE_TABLE_ENTRY, 0x80_0000 + 32 * 0x6000, { V: 1 });
    expect([rig.translate(PAGE, { device: 0xe000 }).fault, rig.translate(PAGE, { device: 0x6000 }).fault]).toEqual([2, 0]);
  });
});

describe("SA and SE (AMD-Vi §2.2.2)", () => {
  test("SA: no page fault is logged, other events are", () => {
    const rig = hostRig({ device: { SA: 1 } });
    expect(rig.translate(PAGE)).toMatchObject({ fault: 2, recorded: false });
    expect(rig.translate(PAGE, { type: AddressType.TranslationRequest })).toMatchObject({ fault: 8, recorded: true });
    expect(rig.events()).toHaveLength(1);
  });

  test.each(["none", "realistic", "adversarial"] as const)("SE: the first page fault is logged until the entry is invalidated (caches: %s)", (caches) => {
    const rig = hostRig({ caches, device: { SE: 1 } });
    const recorded = (): boolean => rig.translate(PAGE).recorded;
    expect([recorded(), recorded(), recorded()]).toEqual([true, false, false]);
    rig.invalidateDevice(DEVICE + 1);
    expect(recorded()).toBe(false);
    rig.invalidateDevice();
    expect([recorded(), recorded()]).toEqual([true, false]);
    rig.submit(layouts.INVALIDATE_IOMMU_ALL.encode({ OpCode: 8 }));
    expect(recorded()).toBe(true);
    expect(rig.events()).toHaveLength(3);
  });
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}
