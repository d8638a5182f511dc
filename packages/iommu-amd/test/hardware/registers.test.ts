import type { Register } from "@iommu-lab/memory/registers";
import { Access, AddressType, newTranslation, NO_PASID } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { AmdIommu, capabilitiesOf, FULL, withCapabilities, ZEN, type CapabilityChanges } from "../../src/hardware/index.ts";
import { registerMap } from "../../src/hardware/register-map.ts";
import * as layouts from "../../src/layouts/index.ts";
import { DEVICE, EVENTS, hostRig, Rig } from "./rig.ts";

const OFF = { IommuEn: 0, EventLogEn: 0, CmdBufEn: 0 };
/** Bits that hold what is written, high word first, with everything switched off. */
const writable = (register: Register, changes: CapabilityChanges = {}, rig = new Rig({ ...changes, control: OFF })): string => {
  const write = (word: number): void => {
    if (register.width === 64) rig.iommu.registers.write64(register.offset, word, word);
    else rig.iommu.registers.write(register.offset, 4, word);
  };
  write(0);
  const zeros = rig.raw(register);
  write(0xffff_ffff);
  const ones = rig.raw(register);
  return [1, 0].map((i) => (((zeros[i] as number) ^ (ones[i] as number)) >>> 0).toString(16).padStart(8, "0")).join("");
};

describe("what registers hold (AMD-Vi §3.4)", () => {
  test.each([
    ["DEV_TAB_BASE", "000ffffffffff1ff"],
    ["CMD_BASE", "0f0ffffffffff000"],
    ["EVT_BASE", "0f0ffffffffff000"],
    ["PPR_BASE", "0f0ffffffffff000"],
    ["GA_BASE", "0f0ffffffffff000"],
    ["PPR_B_BASE", "0f0ffffffffff000"],
    ["EVT_B_BASE", "0f0ffffffffff000"],
    ["EXCL_BASE", "000ffffffffff003"],
    ["EXCL_LIMIT", "000ffffffffff000"],
    ["EFR", "0000000000000000"],
    ["EFR2", "0000000000000000"],
    ["GA_TAIL_ADDRESS", "000ffffffffffff8"],
    ["DEV_SPECIFIC_FEATURE", "0000000000000000"],
    ["PERF_OPT", "0000000000002000"],
    ["XT_GENERAL", "ff0001ffffffff04"],
    ["XT_PPR", "ff0001ffffffff04"],
    ["XT_GA", "ff0001ffffffff04"],
    ["RESERVED_1FF8", "ffffffffffffffff"],
    ["CMD_HEAD", "000000000007fff0"],
    ["CMD_TAIL", "000000000007fff0"],
    ["EVT_HEAD", "000000000007fff0"],
    ["EVT_TAIL", "000000000007fff0"],
    ["PPR_HEAD", "000000000007fff0"],
    ["PPR_TAIL", "000000000007fff0"],
    ["PPR_B_HEAD", "000000000007fff0"],
    ["PPR_B_TAIL", "000000000007fff0"],
    ["EVT_B_HEAD", "000000000007fff0"],
    ["EVT_B_TAIL", "000000000007fff0"],
    ["GA_HEAD", "000000000000fff8"],
    ["GA_TAIL", "000000000000fff8"],
    ["PPR_AUTO_RESPONSE", "000000000000001f"],
    ["PPR_EARLY", "00000000c0007fff"],
    ["PPR_B_EARLY", "00000000c0007fff"],
    ["COUNTER_CONFIG", "0000000000000000"],
    ["STATUS", "0000000000000000"],
  ] as const)("%s: %s", (name, mask) => {
    expect(writable(layouts[name])).toBe(mask);
  });

  test.each([
    ["segment", layouts.DEV_TAB_SEGMENTS, "000ffffffffff0ff"],
    ["MARC base", layouts.MARC_APERTURES.map(([base]) => base), "000ffffffffff000"],
    ["MARC reloc", layouts.MARC_APERTURES.map(([, reloc]) => reloc), "000ffffffffff003"],
    ["MARC length", layouts.MARC_APERTURES.map(([, , length]) => length), "000ffffffffff000"],
    ["SMI filter", layouts.SMI_FILTERS, "000000000003ffff"],
  ])("every %s register: %s", (_name, registers, mask) => {
    expect([...registers].map((register) => writable(register))).toEqual(registers.map(() => mask));
  });

  test("CONTROL has the bits of the features, and no others", () => {
    const none: CapabilityChanges = {
      efr: Object.fromEntries(Object.keys(FULL.efr).map((name) => [name, 0])),
      efr2: Object.fromEntries(Object.keys(FULL.efr2).map((name) => [name, 0])),
    };
    // BlkStopMrk, vIOMMU and SNP's AVIC are features that FULL does not have.
    expect([writable(layouts.CONTROL), writable(layouts.CONTROL, none)]).toEqual(["0ccdfdffffffffff", "0800006000bc1fff"]);
    const absent = ["PprLogEn", "PprIntEn", "PprEn", "GTEn", "GDUpdateDis", "GAEn", "SmiFEn", "SmiFLogEn", "GAMEn", "GALogEn", "GAIntEn", "DualPprLogEn", "DualEventLogEn", "DevTblSegEn", "PprAutoRspEn", "PprAutoRspAon", "MarcEn", "BlkStopMrkEn", "NumIntRemapMode", "EPHEn", "HADUpdate", "XTEn", "IntCapXTEn", "vCmdEn", "vIommuEn", "GAUpdateDis", "GAPPIEn", "GCR3TRPMode", "SNPAVICEn"];
    const rig = new Rig(none);
    rig.write(layouts.CONTROL, Object.fromEntries(Object.entries(layouts.CONTROL.fields).map(([name, { msb, lsb }]) => [name, 2 ** (msb - lsb + 1) - 1])));
    expect(Object.entries(rig.read(layouts.CONTROL)).filter(([, value]) => value === 0).map(([name]) => name)).toEqual(Object.keys(layouts.CONTROL.fields).filter((name) => absent.includes(name)));
  });

  test.each([
    [{ PPRSup: 0, DualPprLogSup: 0, PprOvrflwEarlySup: 0, PPRAutoRspSup: 0 }, ["PPR_BASE", "PPR_HEAD", "PPR_TAIL", "PPR_B_BASE", "PPR_B_HEAD", "PPR_B_TAIL", "PPR_AUTO_RESPONSE", "PPR_EARLY", "PPR_B_EARLY"]],
    [{ HESup: 0 }, ["HW_EVENT_HIGH", "HW_EVENT_LOW"]],
    [{ GAMSup: 0 }, ["GA_BASE", "GA_TAIL_ADDRESS", "GA_HEAD", "GA_TAIL"]],
    [{ DualEventLogSup: 0 }, ["EVT_B_BASE", "EVT_B_HEAD", "EVT_B_TAIL"]],
    [{ DualPprLogSup: 0 }, ["PPR_B_BASE", "PPR_B_HEAD", "PPR_B_TAIL", "PPR_B_EARLY"]],
    [{ PprOvrflwEarlySup: 0 }, ["PPR_EARLY", "PPR_B_EARLY"]],
    [{ PPRAutoRspSup: 0 }, ["PPR_AUTO_RESPONSE"]],
    [{ PerfOptSup: 0 }, ["PERF_OPT"]],
    [{ XTSup: 0 }, ["XT_GENERAL", "XT_PPR", "XT_GA"]],
    [{ DevTblSegSup: 1 }, ["DEV_TAB_SEG_2", "DEV_TAB_SEG_3", "DEV_TAB_SEG_4", "DEV_TAB_SEG_5", "DEV_TAB_SEG_6", "DEV_TAB_SEG_7"]],
    [{ DevTblSegSup: 2 }, ["DEV_TAB_SEG_4", "DEV_TAB_SEG_5", "DEV_TAB_SEG_6", "DEV_TAB_SEG_7"]],
    [{ SmiFRC: 3 }, [8, 9, 10, 11, 12, 13, 14, 15].map((i) => `SMI_FILTER_${i}`)],
    [{ SmiFSup: 0 }, Array.from({ length: 16 }, (_, i) => `SMI_FILTER_${i}`)],
    [{ MarcSup: 0 }, [0, 1, 2, 3].flatMap((i) => [`MARC_BASE_${i}`, `MARC_RELOC_${i}`, `MARC_LENGTH_${i}`])],
    [{ MsiCapMmioSup: 0 }, ["MSI_HEADER", "MSI_ADDRESS_LOW", "MSI_ADDRESS_HIGH", "MSI_DATA", "MSI_MAPPING"]],
  ] as const)("without %j registers hold nothing", (efr, names) => {
    const held = (changes: CapabilityChanges): string[] => {
      const rig = new Rig({ ...changes, control: OFF });
      // CONTROL would switch everything on.
      return registerMap(withCapabilities(FULL, changes)).filter((register) => register.name !== "CONTROL" && writable(register, changes, rig) !== "0000000000000000").map(({ name }) => name);
    };
    const full = held({});
    expect(full.filter((name) => !held({ efr }).includes(name)).sort()).toEqual([...names].sort());
  });

  test("features show as they were given", () => {
    const rig = new Rig({ efr: { SNPSup: 1 } });
    expect(rig.read(layouts.EFR)).toEqual({ ...FULL.efr, SNPSup: 1 });
    expect(rig.read(layouts.EFR2)).toEqual(FULL.efr2);
    expect(rig.read(layouts.COUNTER_CONFIG)).toEqual({ NCounter: 4, NCounterBanks: 2 });
    expect(new Rig({ efr: { PCSup: 0 } }).iommu.registers.read(0x4000, 4)).toBe(0);
  });

  test("a 4-byte write of STATUS clears no bit outside", () => {
    const rig = hostRig();
    rig.translate(1);
    rig.submit(rig.wait({ i: 1 }));
    rig.iommu.registers.write(0x2020, 4, 2);
    expect([rig.status.EventLogInt, rig.status.ComWaitInt, rig.status.CmdBufRun, rig.status.EventLogRun]).toEqual([0, 1, 1, 1]);
  });

  test("the SMI filter's lock holds until reset", () => {
    const rig = new Rig();
    const [filter] = layouts.SMI_FILTERS as [Register];
    rig.write(filter, { SmiDID: 5, SmiDV: 1, SmiFLock: 1 });
    rig.write(filter, { SmiDID: 6 });
    expect(rig.read(filter)).toEqual({ SmiDID: 5, SmiDV: 1, SmiFLock: 1 });
    rig.iommu.reset("warm");
    rig.write(filter, { SmiDID: 6 });
    expect(rig.read(filter)).toEqual({ SmiDID: 6, SmiDV: 0, SmiFLock: 0 });
  });
});

describe("an IOMMU nobody has touched", () => {
  const untouched = (): AmdIommu => new AmdIommu({ memory: new Rig().memory, capabilities: FULL });
  test("has counted nothing", () => {
    expect(Object.entries(untouched().totals).filter(([, total]) => total !== 0)).toEqual([]);
  });
  test("passes DMA and interrupts (AMD-Vi §2.1)", () => {
    const iommu = untouched();
    const out = newTranslation();
    iommu.translate({ requester: DEVICE, pasid: NO_PASID, addressType: AddressType.Untranslated, page: 0x1_2345, access: Access.Write }, out);
    expect([out.page, out.fault]).toEqual([0x1_2345, 0]);
    const verdict = { fault: -1, recorded: true };
    const delivered: number[] = [];
    iommu.remapInterrupt({ requester: DEVICE, address: 0xfee0_0000, data: 0x31 }, { deliver: ({ vector }) => delivered.push(vector), post: () => undefined }, verdict);
    expect([verdict, delivered]).toEqual([{ fault: 0, recorded: false }, [0x31]]);
  });
  test("writes no log and fetches no command", () => {
    const iommu = untouched();
    iommu.registers.write(layouts.CMD_TAIL.offset, 4, 0x20);
    iommu.pageRequest({ requester: DEVICE, pasid: NO_PASID, page: 5, access: Access.Read, group: 1, last: true });
    expect([iommu.registers.read(layouts.CMD_HEAD.offset, 4), iommu.registers.read(layouts.STATUS.offset, 4), iommu.registers.read(layouts.PPR_TAIL.offset, 4)]).toEqual([0, 0, 0]);
  });
});

describe("reset", () => {
  test.each(["cold", "warm"] as const)("%s: everything stops, and nothing cached survives", (kind) => {
    const rig = hostRig({ caches: "adversarial", control: { PprEn: 1, PprLogEn: 1, GAEn: 1, GTEn: 1, DevTblSegEn: 1, DualEventLogEn: 1 } });
    rig.mapHost(rig.table, 5, 0x2_0000);
    rig.translate(5);
    rig.iommu.function.config.write(0x62, 2, 1);
    rig.iommu.reset(kind);
    expect([rig.raw(layouts.CONTROL), rig.raw(layouts.STATUS), rig.raw(layouts.DEV_TAB_BASE), rig.raw(layouts.CMD_BASE)]).toEqual(Array(4).fill(Uint32Array.of(0, 0)));
    expect(rig.translate(5)).toMatchObject({ page: 5, permissions: 7 });
    expect(rig.iommu.function.config.read(0x62, 2) & 1).toBe(0);
    expect(rig.read(layouts.EFR)).toEqual(FULL.efr);
    rig.mapHost(rig.table, 5, 0x3_0000);
    rig.start();
    expect(rig.translate(5).page).toBe(0x3_0000);
    rig.translate(7);
    expect([rig.entry(EVENTS, 0)[0], rig.status.EventLogActive]).toEqual([DEVICE, 0]);
    rig.write(layouts.CMD_TAIL, { Ptr: 0 });
    rig.submit(rig.wait());
    expect(rig.waited).toBe(true);
  });
});

describe("the PCI function (AMD-Vi §3.1, §3.2)", () => {
  const config = (rig: Rig, offset: number): number => rig.iommu.function.config.read(offset, 4);
  test("class, capability block and its fields", () => {
    const rig = new Rig();
    expect([config(rig, 0), config(rig, 8), config(rig, 0x34) & 0xff]).toEqual([0x1451_1022, 0x0806_0000, 0x40]);
    expect([0x40, 0x44, 0x48, 0x50, 0x54].map((at) => config(rig, at) & (at === 0x40 ? 0xffff_00ff | 0 : -1)).map((word) => word >>> 0)).toEqual([0x190b_000f, 0xfeb8_0001, 0, 0x0820_3460, 2]);
    const plain = new Rig({ iotlbSup: false, npCache: true, efr: { GATS: 0 }, physicalAddressWidth: 48 });
    expect([config(plain, 0x40) >>> 16, (config(plain, 0x50) >>> 0) & 0x7fff]).toEqual([0x1c0b, 0x3040]);
    expect([rig.iommu.function.bars, rig.iommu.function.config.size, rig.iommu.deviceId, rig.iommu.segment]).toEqual([[], 256, 2, 0]);
    rig.iommu.function.connect();
  });
  test("Enable locks the base registers", () => {
    const rig = new Rig();
    for (const at of [0x44, 0x48]) {
      const before = config(rig, at);
      rig.iommu.function.config.write(at, 4, 0x1234_0000);
      expect(config(rig, at)).toBe(before);
    }
    expect(rig.iommu.registerBase).toBe(0xfeb8_0000);
    rig.iommu.function.config.write(0x4c, 4, 0xffff_ffff);
    expect(config(rig, 0x4c)).toBe(0);
  });
  test.each([
    [0x12_3456_8000, 1, 0x12_3450_0000],
    [0x12_3456_8000, 0, 0x12_3456_8000],
  ])("a window at %d, PCSup=%i, is at %d", (registerBase, PCSup, seen) => {
    const rig = new Rig();
    const iommu = new AmdIommu({ memory: rig.memory, capabilities: withCapabilities(FULL, { efr: { PCSup } }), registerBase, deviceId: 0x10, segment: 3, pciDevice: 0x1419 });
    expect([iommu.registerBase, iommu.deviceId, iommu.segment, iommu.function.config.read(0, 4)]).toEqual([seen, 0x10, 3, 0x1419_1022]);
  });
  test("MSI is mirrored in MMIO, both ways", () => {
    const rig = new Rig();
    rig.write(layouts.MSI_ADDRESS_LOW, { Value: 0xfee1_2004 });
    rig.write(layouts.MSI_ADDRESS_HIGH, { Value: 7 });
    rig.write(layouts.MSI_DATA, { Value: 0x1_0033 });
    rig.write(layouts.MSI_HEADER, { Value: 0x0001_0000 });
    expect([0x60, 0x64, 0x68, 0x6c].map((at) => config(rig, at))).toEqual([0x0085_5805 & 0xffff_00ff | (config(rig, 0x60) & 0xff00), 0xfee1_2004, 7, 0x33]);
    rig.iommu.function.config.write(0x6c, 2, 0x44);
    expect([rig.read(layouts.MSI_DATA).Value, rig.read(layouts.MSI_VECTOR_0).Value, rig.read(layouts.MSI_VECTOR_1).Value, rig.read(layouts.MSI_MAPPING).Value & 0xffff_00ff]).toEqual([0x44, config(rig, 0x50), 2, (0xa803_0008 | 0) & 0xffff_00ff]);
    rig.write(layouts.MSI_VECTOR_0, { Value: 0 });
    expect(config(rig, 0x50)).toBe(0x0820_3460);
  });
  test("without MsiCapMmioSup the mirror changes nothing", () => {
    const rig = new Rig({ efr: { MsiCapMmioSup: 0 } });
    rig.iommu.function.config.write(0x64, 4, 0xfee0_3000);
    rig.write(layouts.MSI_ADDRESS_LOW, { Value: 0 });
    expect([config(rig, 0x64), rig.read(layouts.MSI_ADDRESS_LOW).Value]).toEqual([0xfee0_3000, 0]);
  });
});

describe("capabilities", () => {
  test.each([
    [{ physicalAddressWidth: 31 }, /31 bits/],
    [{ physicalAddressWidth: 53 }, /53 bits/],
    [{ physicalAddressWidth: 40.5 }, /40.5 bits/],
    [{ efr: { GATS: 2 } }, /GATS is 2/],
    [{ efr: { GLXSup: 3 } }, /GLXSup is 3/],
    [{ efr: { PASMax: 20 } }, /PASMax is 20/],
    [{ efr: { SmiFRC: 5 } }, /SmiFRC is 5/],
    [{ efr2: { NumIntRemapSup: 2 } }, /NumIntRemapSup is 2/],
    [{ efr: { HATS: 3, GTSup: 0, GIoSup: 0 } }, /HATS is 3/],
    [{ counterBanks: 0 }, /0 of 4/],
    [{ counterBanks: 64 }, /64 of 4/],
    [{ counters: 0 }, /2 of 0/],
    [{ counters: 16 }, /2 of 16/],
    [{ messageNumbers: { general: 32, ppr: 0, ga: 0 } }, /0 to 31/],
    [{ messageNumbers: { general: 0, ppr: -1, ga: 0 } }, /0 to 31/],
    [{ efr: { HASup: 0 } }, /HDSup needs EFR.HASup/],
    [{ efr: { GTSup: 0 } }, /GIoSup needs EFR.GTSup/],
    [{ efr: { GASup: 0, GAMSup: 0 } }, /XTSup needs EFR.GASup/],
    [{ efr: { GASup: 0, XTSup: 0 } }, /GAMSup needs EFR.GASup/],
    [{ efr: { PPRSup: 0 } }, /DualPprLogSup needs EFR.PPRSup/],
    [{ efr: { PPRSup: 0, DualPprLogSup: 0 } }, /PprOvrflwEarlySup needs EFR.PPRSup/],
    [{ efr: { PPRSup: 0, DualPprLogSup: 0, PprOvrflwEarlySup: 0 } }, /PPRAutoRspSup needs EFR.PPRSup/],
  ])("%j are impossible", (changes, message) => {
    expect(() => withCapabilities(FULL, changes)).toThrow(message);
    expect(() => withCapabilities(FULL, changes)).toThrow(RangeError);
  });
  test.each([{ counterBanks: 63, counters: 15 }, { efr: { PCSup: 0 }, counterBanks: 0 }, { efr: { GLXSup: 2, GATS: 1, PASMax: 19, SmiFRC: 4 } }, { physicalAddressWidth: 32 }, { messageNumbers: { general: 31, ppr: 31, ga: 0 } }])("%j are possible", (changes) => {
    expect(withCapabilities(ZEN, changes)).toMatchObject(changes);
  });
  test.each([
    { name: "ZEN", base: ZEN, efr: 0x0017_402f_0020_4aden, efr2: 0n, rest: { physicalAddressWidth: 48, npCache: false, iotlbSup: true, cxlAttributes: false, counterBanks: 2, counters: 4, messageNumbers: { general: 0, ppr: 0, ga: 0 } } },
    { name: "FULL", base: FULL, efr: 0x2057_67f3_2231_9bffn, efr2: 0x108n, rest: { physicalAddressWidth: 52, npCache: false, iotlbSup: true, cxlAttributes: true, counterBanks: 2, counters: 4, messageNumbers: { general: 0, ppr: 1, ga: 2 } } },
  ])("$name in a kernel's log", ({ base, efr, efr2, rest }) => {
    const rig = new Rig({ base });
    const whole = ([low = 0, high = 0]: Uint32Array): bigint => BigInt(low) + BigInt(high) * 2n ** 32n;
    expect([whole(rig.raw(layouts.EFR)), whole(rig.raw(layouts.EFR2))]).toEqual([efr, efr2]);
    expect(base).toMatchObject(rest);
  });
  test("raw registers, as QEMU has them", () => {
    const capabilities = capabilitiesOf({ efr: [0x29d3, 0], physicalAddressWidth: 40, npCache: true });
    expect(Object.entries(capabilities.efr).filter(([, value]) => value !== 0)).toEqual([["PreFSup", 1], ["PPRSup", 1], ["GTSup", 1], ["IASup", 1], ["GASup", 1], ["HESup", 1], ["HATS", 2], ["GATS", 2]]);
    expect([capabilities.npCache, capabilities.iotlbSup, capabilities.physicalAddressWidth, capabilities.efr2.HTRangeIgnore]).toEqual([true, true, 40, 0]);
    expect(capabilitiesOf({ efr: [0, 0x8000_0000], efr2: [0x800, 0] })).toMatchObject({ efr: { SNPSup: 1 }, efr2: { HTRangeIgnore: 1 } });
    expect(() => capabilitiesOf({ efr: [0, 0], physicalAddressWidth: 60 })).toThrow(RangeError);
  });
});
