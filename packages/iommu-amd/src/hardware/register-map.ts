import { register, rw, type Register, type RegisterField } from "@iommu-lab/memory/registers";
import * as d from "../layouts/index.ts";
import type { AmdCapabilities } from "./capabilities.ts";

/** The register with some fields reserved: they read 0, and writes to them are dropped. */
const without = (from: Register, ...names: readonly string[]): Register => ({
  ...from,
  fields: Object.fromEntries(Object.entries(from.fields).map(([name, field]): [string, RegisterField] => [name, names.includes(name) ? { ...field, access: "rsvdz" } : field])),
});
const unless = (condition: number | boolean, from: Register, ...names: readonly string[]): Register => (condition ? from : without(from, ...names));
const allUnless = (condition: number | boolean, ...registers: readonly Register[]): Register[] => registers.map((each) => unless(condition, each, ...Object.keys(each.fields)));
const withReset = (from: Register, words: readonly number[]): Register => ({ ...from, reset: words });

const control = ({ efr, efr2 }: AmdCapabilities): Register => {
  const absent: readonly (readonly [condition: number | boolean, ...names: string[]])[] = [
    [efr.PPRSup, "PprLogEn", "PprIntEn", "PprEn"],
    [efr.GTSup, "GTEn", "GDUpdateDis"],
    [efr.GASup, "GAEn"],
    [efr.SmiFSup, "SmiFEn", "SmiFLogEn"],
    [efr.GAMSup, "GAMEn", "GALogEn", "GAIntEn"],
    [efr.DualPprLogSup, "DualPprLogEn"],
    [efr.DualEventLogSup, "DualEventLogEn"],
    [efr.DevTblSegSup, "DevTblSegEn"],
    [efr.PPRAutoRspSup, "PprAutoRspEn", "PprAutoRspAon"],
    [efr.MarcSup, "MarcEn"],
    [efr.BlkStopMrkSup, "BlkStopMrkEn"],
    [efr2.NumIntRemapSup, "NumIntRemapMode"],
    [efr.EPHSup, "EPHEn"],
    [efr.HASup, "HADUpdate"],
    [efr.XTSup, "XTEn", "IntCapXTEn"],
    [efr.vIommuSup, "vCmdEn", "vIommuEn"],
    [efr.GAUpdateDisSup, "GAUpdateDis"],
    [efr.GAPPISup, "GAPPIEn"],
    [efr2.GCR3TRPMode, "GCR3TRPMode"],
    [efr2.SNPAVICSup, "SNPAVICEn"],
  ];
  return without(d.CONTROL, ...absent.flatMap(([condition, ...names]) => (condition ? [] : names)));
};

/** Every register below 16 KiB that an IOMMU with these capabilities has. What it lacks reads 0. AMD-Vi §3.4. */
export const registerMap = (capabilities: AmdCapabilities): Register[] => {
  const { efr, efr2, counters, counterBanks } = capabilities;
  const guestLog = efr.GAMSup;
  return [
    d.DEV_TAB_BASE,
    d.CMD_BASE,
    d.EVT_BASE,
    control(capabilities),
    d.EXCL_BASE,
    d.EXCL_LIMIT,
    withReset(d.EFR, [...d.EFR.layout.encode(efr)]),
    ...allUnless(efr.PPRSup, d.PPR_BASE, d.PPR_HEAD, d.PPR_TAIL),
    ...allUnless(efr.HESup, d.HW_EVENT_HIGH, d.HW_EVENT_LOW, d.HW_EVENT_STATUS),
    ...d.SMI_FILTERS.flatMap((each, i) => allUnless(efr.SmiFSup && i < 2 ** efr.SmiFRC, each)),
    ...allUnless(guestLog, d.GA_BASE, d.GA_TAIL_ADDRESS, d.GA_HEAD, d.GA_TAIL),
    ...allUnless(efr.DualPprLogSup, d.PPR_B_BASE, d.PPR_B_HEAD, d.PPR_B_TAIL),
    ...allUnless(efr.DualEventLogSup, d.EVT_B_BASE, d.EVT_B_HEAD, d.EVT_B_TAIL),
    ...d.DEV_TAB_SEGMENTS.flatMap((each, i) => allUnless(i + 1 < 2 ** efr.DevTblSegSup, each)),
    d.DEV_SPECIFIC_FEATURE,
    d.DEV_SPECIFIC_CONTROL,
    d.DEV_SPECIFIC_STATUS,
    ...allUnless(efr.MsiCapMmioSup, d.MSI_VECTOR_0, d.MSI_VECTOR_1, d.MSI_HEADER, d.MSI_ADDRESS_LOW, d.MSI_ADDRESS_HIGH, d.MSI_DATA, d.MSI_MAPPING),
    ...allUnless(efr.PerfOptSup, d.PERF_OPT),
    ...allUnless(efr.XTSup, d.XT_GENERAL, d.XT_PPR, d.XT_GA),
    withReset(d.EFR2, [...d.EFR2.layout.encode(efr2)]),
    ...d.MARC_APERTURES.flatMap((aperture) => allUnless(efr.MarcSup, ...aperture)),
    d.RESERVED_1FF8,
    d.CMD_HEAD,
    d.CMD_TAIL,
    d.EVT_HEAD,
    d.EVT_TAIL,
    d.STATUS,
    ...allUnless(efr.PPRAutoRspSup, d.PPR_AUTO_RESPONSE),
    ...allUnless(efr.PprOvrflwEarlySup, d.PPR_EARLY),
    ...allUnless(efr.PprOvrflwEarlySup && efr.DualPprLogSup, d.PPR_B_EARLY),
    ...(efr.PCSup ? [withReset(d.COUNTER_CONFIG, [...d.COUNTER_CONFIG.layout.encode({ NCounter: counters, NCounterBanks: counterBanks })])] : []),
  ];
};

/** Where the counters' registers begin in the MMIO window. AMD-Vi §3.4, MMIO offset 40000h. */
export const COUNTER_OFFSET = 0x4_0000;
const BANK_BYTES = 0x1000;
const COUNTER_BYTES = 0x100;
const PASID_BITS = 20;

/** Registers of one counter, by the name of what they hold: `COUNT2_1` is of counter 1 in bank 2. */
const counterRegisters = (bank: number, counter: number): Register[] => {
  const at = bank * BANK_BYTES + counter * COUNTER_BYTES;
  const suffix = `${bank}_${counter}`;
  const spec = { spec: 'AMD-Vi §3.4 "Counter Registers", MMIO offset 40000h' };
  const source = d.COUNTER_SOURCE.fields;
  const match = (name: string, offset: number, bits: number): Register =>
    register(`${name}${suffix}`, at + offset, 64, { Match: rw(bits - 1, 0, "Identifier"), En: rw(31, "Only matching requests count"), Mask: rw(31 + bits, 32, "Bits that are compared") }, spec);
  return [
    register(`COUNT${suffix}`, at, 64, { Count: rw(47, 0, "Events counted") }, spec),
    register(`SOURCE${suffix}`, at + 0x08, 64, { CSource: rw(7, 0, source.CSource.text), CountUnits: rw(30, source.CountUnits.text), CAC: rw(31, source.CAC.text) }, spec),
    match("PASID", 0x10, PASID_BITS),
    match("DOMAIN", 0x18, 16),
    match("DEVICE", 0x20, 16),
    register(`REPORT${suffix}`, at + 0x28, 64, { CounterNote: rw(51, 0, d.COUNTER_REPORT.fields.CounterNote.text), CERE: rw(63, d.COUNTER_REPORT.fields.CERE.text) }, spec),
  ];
};

/** Registers of all counters, counted from 40000h. */
export const counterMap = ({ counters, counterBanks }: AmdCapabilities): Register[] =>
  Array.from({ length: counterBanks }, (_, bank) => Array.from({ length: counters }, (_unused, counter) => counterRegisters(bank, counter))).flat(2);
