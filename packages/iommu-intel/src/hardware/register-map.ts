import { register, ro, rw1c, rw, sticky, type Register, type RegisterField } from "@iommu-lab/memory/registers";
import * as declared from "../layouts/index.ts";
import type { VtdCapabilities } from "./capabilities.ts";

/** Bytes of a fault recording register. */
const RECORD_BYTES = 16;

/** The register with some fields reserved: they read 0, and writes to them are dropped. */
const without = (from: Register, ...names: readonly string[]): Register => ({
  ...from,
  fields: Object.fromEntries(Object.entries(from.fields).map(([name, field]): [string, RegisterField] => [name, names.includes(name) ? { ...field, access: "rsvdz" } : field])),
});
const unless = (condition: number | boolean, from: Register, ...names: readonly string[]): Register => (condition ? from : without(from, ...names));
const allUnless = (condition: number | boolean, ...registers: readonly Register[]): Register[] => registers.map((each) => unless(condition, each, ...Object.keys(each.fields)));
const moved = (from: Register, by: number): Register => ({ ...from, offset: from.offset + by });
const withReset = (from: Register, words: readonly number[]): Register => ({ ...from, reset: words });

/** One fault recording register, as the two 64-bit registers the bus sees. VT-d §11.4.7.6. */
const faultRecord = (base: number, i: number): Register[] => [
  register(`FRCD${i}_LOW`, base + RECORD_BYTES * i, 64, { FI: sticky(ro(63, 12, "Page number of the faulting address")) }, { spec: declared.FAULT_RECORD.spec }),
  register(
    `FRCD${i}_HIGH`,
    base + RECORD_BYTES * i + 8,
    64,
    { REST: sticky(ro(31, 0, "Source-id and flags")), REASON: sticky(ro(62, 32, "Reason, PASID, address type")), F: sticky(rw1c(63, "The record is valid")) },
    { spec: declared.FAULT_RECORD.spec },
  ),
];

/** Where the counters' registers are. */
const PERF_BLOCKS = { configuration: 0x1000, freeze: 0x1800, overflow: 0x1808, counters: 0x2000 } as const;
/** Bytes from one counter's configuration to the next's. */
const PERF_CONFIGURATION_STRIDE = 0x100;
/** PERFCAP.STRIDE: counters are 2^(10 + this) bytes apart. */
const PERF_STRIDE = 0;
/** Counters of a unit with performance monitoring. */
export const PERF_COUNTERS = 4;
/** Width of a counter in bits. */
export const PERF_COUNTER_WIDTH = 48;
/** Bit positions in a counter's event selection. Model: one group of our own choice. */
export const PERF_EVENTS = { requests: 0, iotlbLookups: 1, iotlbMisses: 2, contextMisses: 3, faults: 4, interrupts: 5 } as const;

const performance = (): Register[] => [
  withReset(declared.PERFCAP_REG, [...declared.PERFCAP_REG.layout.encode({ NCNTR: PERF_COUNTERS, CW: PERF_COUNTER_WIDTH, NEG: 1, OIS: 1, STRIDE: PERF_STRIDE })]),
  withReset(declared.PERFCFGOFF_REG, [PERF_BLOCKS.configuration]),
  withReset(declared.PERFFRZOFF_REG, [PERF_BLOCKS.freeze]),
  withReset(declared.PERFOVFOFF_REG, [PERF_BLOCKS.overflow]),
  withReset(declared.PERFCNTROFF_REG, [PERF_BLOCKS.counters]),
  declared.PERFINTRSTS_REG,
  declared.PERFINTRCTL_REG,
  declared.PERFINTRDATA_REG,
  declared.PERFINTRADDR_REG,
  declared.PERFINTRUADDR_REG,
  register("PERFEVNTCAP0_REG", 0x380, 64, { ES: ro(27, 0, "Events that can be selected") }, { spec: 'VT-d §11.4 "Performance Monitoring Event Capability Register"', reset: 2 ** Object.keys(PERF_EVENTS).length - 1 }),
  register("PERFFRZ_REG", PERF_BLOCKS.freeze, 64, { FRZ: ro(PERF_COUNTERS - 1, 0, "Counters that are frozen") }, { spec: 'VT-d §11.4 "Performance Monitoring Freeze Status"' }),
  register("PERFOVF_REG", PERF_BLOCKS.overflow, 64, { OVF: rw1c(PERF_COUNTERS - 1, 0, "Counters that have overflowed") }, { spec: 'VT-d §11.4 "Performance Monitoring Overflow Status"' }),
  ...Array.from({ length: PERF_COUNTERS }, (_, i) => [
    register(
      `PERFCNTRCFG${i}_REG`,
      PERF_BLOCKS.configuration + PERF_CONFIGURATION_STRIDE * i,
      64,
      { IE: rw(1, "Overflow raises the interrupt"), EGI: rw(11, 8, "Event group"), ES: rw(59, 32, "Events counted") },
      { spec: 'VT-d §11.4 "Performance Monitoring Counter Configuration Register"' },
    ),
    register(`PERFCNTRCAP${i}_REG`, PERF_BLOCKS.configuration + PERF_CONFIGURATION_STRIDE * i + 0x80, 32, { PCC: ro(0, "Capabilities of this counter's own follow") }, { spec: 'VT-d §11.4 "Performance Monitoring Counter Capability Register"' }),
    register(`PERFCNTR${i}_REG`, PERF_BLOCKS.counters + 2 ** (10 + PERF_STRIDE) * i, 64, { COUNT: rw(PERF_COUNTER_WIDTH - 1, 0, "Events counted") }, { spec: 'VT-d §11.4 "Performance Monitoring Counter Register"' }),
  ]).flat(),
];

/** Every register that a unit with these capabilities has. What it lacks reads 0. VT-d §11.4. */
export const registerMap = ({ version, cap, ecap }: VtdCapabilities): Register[] => {
  const d = declared;
  const queue = ecap.QI;
  const remapping = ecap.IR;
  return [
    withReset(d.VER_REG, [version]),
    withReset(d.CAP_REG, [...d.CAP_REG.layout.encode(cap)]),
    withReset(d.ECAP_REG, [...d.ECAP_REG.layout.encode(ecap)]),
    d.GCMD_REG,
    d.GSTS_REG,
    unless(ecap.SMTS || ecap.ADMS, d.RTADDR_REG, "TTM"),
    d.CCMD_REG,
    d.FSTS_REG,
    d.FECTL_REG,
    d.FEDATA_REG,
    d.FEADDR_REG,
    ...allUnless(ecap.EIM, d.FEUADDR_REG),
    ...allUnless(cap.AFL, d.AFLOG_REG),
    ...allUnless(cap.PLMR || cap.PHMR, d.PMEN_REG),
    ...allUnless(cap.PLMR, d.PLMBASE_REG, d.PLMLIMIT_REG),
    ...allUnless(cap.PHMR, d.PHMBASE_REG, d.PHMLIMIT_REG),
    ...allUnless(queue, d.IQH_REG, d.IQT_REG),
    unless(queue && (ecap.SMTS || ecap.ADMS), unless(queue, d.IQA_REG, "QS", "IQA"), "DW"),
    ...allUnless(queue, d.ICS_REG),
    ...(queue ? [d.IECTL_REG, d.IEDATA_REG, d.IEADDR_REG, ...allUnless(ecap.EIM, d.IEUADDR_REG)] : []),
    ...allUnless(queue, d.IQERCD_REG),
    unless(remapping && ecap.EIM, unless(remapping, d.IRTA_REG, "S", "IRTA"), "EIME"),
    ...(ecap.PRS ? [d.PQH_REG, d.PQT_REG, d.PQA_REG, d.PRS_REG, d.PECTL_REG, d.PEDATA_REG, d.PEADDR_REG, ...allUnless(ecap.EIM, d.PEUADDR_REG)] : []),
    ...(ecap.MTS ? [d.MTRRCAP_REG, d.MTRRDEF_REG, ...d.MTRR_FIXED_REGS, ...d.MTRR_VARIABLE_REGS] : []),
    ...(ecap.PMS ? performance() : []),
    ...(cap.ECMDS ? [d.ECMD_REG, d.ECEO_REG, d.ECRSP_REG, ...d.ECCAP_REGS] : []),
    ...(ecap.VCS ? [d.VCMD_REG, d.VCRSP_REG, d.VCCAP_REG] : []),
    moved(d.IVA_REG, 16 * ecap.IRO),
    moved(d.IOTLB_REG, 16 * ecap.IRO),
    ...Array.from({ length: cap.NFR + 1 }, (_, i) => faultRecord(16 * cap.FRO, i)).flat(),
  ];
};
