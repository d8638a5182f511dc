import { register, ro, rw, rw1c, sticky, wo, type Register } from "@iommu-lab/memory/registers";

/** One-shot and level commands; software writes what it wants kept, from GSTS, plus one change. */
export const GCMD_REG = register(
  "GCMD_REG",
  0x18,
  32,
  {
    CFI: wo(23, "Compatibility-format interrupts pass"),
    SIRTP: wo(24, "Set the interrupt remap table pointer (one-shot)"),
    IRE: wo(25, "Interrupt remapping enable"),
    QIE: wo(26, "Queued invalidation enable"),
    WBF: wo(27, "Write-buffer flush (one-shot)"),
    EAFL: wo(28, "Enable advanced fault logging"),
    SFL: wo(29, "Set the fault log pointer (one-shot)"),
    SRTP: wo(30, "Set the root table pointer (one-shot)"),
    TE: wo(31, "Translation enable"),
  },
  { spec: 'VT-d §11.4.4 "Global Command Register"' },
);

export const GSTS_REG = register(
  "GSTS_REG",
  0x1c,
  32,
  {
    CFIS: ro(23, "Compatibility-format interrupts pass"),
    IRTPS: ro(24, "The interrupt remap table pointer is set"),
    IRES: ro(25, "Interrupt remapping is on"),
    QIES: ro(26, "Queued invalidation is on"),
    WBFS: ro(27, "A write-buffer flush is in progress"),
    AFLS: ro(28, "Advanced fault logging is on"),
    FLS: ro(29, "The fault log pointer is set"),
    RTPS: ro(30, "The root table pointer is set"),
    TES: ro(31, "Translation is on"),
  },
  { spec: 'VT-d §11.4.4 "Global Status Register"' },
);

export const RTADDR_REG = register(
  "RTADDR_REG",
  0x20,
  64,
  { TTM: rw(11, 10, "Translation table mode", { 0: "legacy", 1: "scalable", 2: "reserved", 3: "abort-DMA" }), RTA: rw(63, 12, "Root table, page number") },
  { spec: 'VT-d §11.4.5 "Root Table Address Register"' },
);

export const CCMD_REG = register(
  "CCMD_REG",
  0x28,
  64,
  {
    DID: rw(15, 0, "Domain to invalidate"),
    SID: wo(31, 16, "Source-id to invalidate"),
    FM: wo(33, 32, "Function mask: how many low function bits of SID are ignored", { 0: "none", 1: "bit 2", 2: "bits 2:1", 3: "bits 2:0" }),
    CAIG: ro(60, 59, "Granularity that was done", { 0: "none", 1: "global", 2: "domain", 3: "device" }),
    CIRG: rw(62, 61, "Granularity asked for", { 1: "global", 2: "domain", 3: "device" }),
    ICC: rw(63, "Invalidate the context-cache; clears itself when done"),
  },
  { spec: 'VT-d §11.4.6.1 "Context Command Register"' },
);

export const FSTS_REG = register(
  "FSTS_REG",
  0x34,
  32,
  {
    PFO: sticky(rw1c(0, "Primary fault overflow")),
    PPF: sticky(ro(1, "Primary pending fault: some recording register has F set")),
    AFO: sticky(rw1c(2, "Advanced fault overflow")),
    APF: sticky(rw1c(3, "Advanced pending fault")),
    IQE: sticky(rw1c(4, "Invalidation queue error")),
    ICE: sticky(rw1c(5, "Invalidation completion error")),
    ITE: sticky(rw1c(6, "Invalidation time-out error")),
    FRI: sticky(ro(15, 8, "Recording register of the first pending fault")),
  },
  { spec: 'VT-d §11.4.7.1 "Fault Status Register"' },
);

const eventControl = { IP: ro(30, "Interrupt pending"), IM: rw(31, "Interrupt mask") };
const eventData = { IMD: rw(15, 0, "Interrupt message data") };
const eventAddress = { MA: rw(31, 2, "Message address, bits 31:2") };
const eventUpperAddress = { MUA: rw(31, 0, "Message upper address") };
const masked = { IM: 1 };

export const FECTL_REG = register("FECTL_REG", 0x38, 32, eventControl, { spec: 'VT-d §11.4.7.2 "Fault Event Control Register"', reset: masked });
export const FEDATA_REG = register("FEDATA_REG", 0x3c, 32, eventData, { spec: 'VT-d §11.4.7.3 "Fault Event Data Register"' });
export const FEADDR_REG = register("FEADDR_REG", 0x40, 32, eventAddress, { spec: 'VT-d §11.4.7.4 "Fault Event Address Register"' });
export const FEUADDR_REG = register("FEUADDR_REG", 0x44, 32, eventUpperAddress, { spec: 'VT-d §11.4.7.5 "Fault Event Upper Address Register"' });

export const AFLOG_REG = register("AFLOG_REG", 0x58, 64, { FLS: rw(11, 9, "Fault log size: 2^FLS pages"), FLA: rw(63, 12, "Fault log, page number") }, { spec: 'VT-d §11.4.7.7 "Advanced Fault Log Register"' });

export const PMEN_REG = register("PMEN_REG", 0x64, 32, { PRS: ro(0, "Protected regions are on"), EPM: rw(31, "Enable the protected memory regions") }, { spec: 'VT-d §11.4.8.1 "Protected Memory Enable Register"' });
/** Model: protected regions have a granularity of 2 MiB; software finds it by writing ones. */
export const PLMBASE_REG = register("PLMBASE_REG", 0x68, 32, { PLMB: rw(31, 21, "Protected low-memory base, in 2 MiB") }, { spec: 'VT-d §11.4.8.2 "Protected Low-Memory Base Register"' });
export const PLMLIMIT_REG = register("PLMLIMIT_REG", 0x6c, 32, { PLML: rw(31, 21, "Protected low-memory limit, in 2 MiB, inclusive") }, { spec: 'VT-d §11.4.8.3 "Protected Low-Memory Limit Register"' });
export const PHMBASE_REG = register("PHMBASE_REG", 0x70, 64, { PHMB: rw(63, 21, "Protected high-memory base, in 2 MiB") }, { spec: 'VT-d §11.4.8.4 "Protected High-Memory Base Register"' });
export const PHMLIMIT_REG = register("PHMLIMIT_REG", 0x78, 64, { PHML: rw(63, 21, "Protected high-memory limit, in 2 MiB, inclusive") }, { spec: 'VT-d §11.4.8.5 "Protected High-Memory Limit Register"' });

export const IQH_REG = register("IQH_REG", 0x80, 64, { QH: ro(18, 4, "Queue head, in 16 bytes") }, { spec: 'VT-d §11.4.9.1 "Invalidation Queue Head Register"' });
export const IQT_REG = register("IQT_REG", 0x88, 64, { QT: rw(18, 4, "Queue tail, in 16 bytes") }, { spec: 'VT-d §11.4.9.2 "Invalidation Queue Tail Register"' });
export const IQA_REG = register(
  "IQA_REG",
  0x90,
  64,
  { QS: rw(2, 0, "Queue size: 2^QS pages"), DW: rw(11, "Descriptor width", { 0: "128-bit", 1: "256-bit" }), IQA: rw(63, 12, "Queue, page number") },
  { spec: 'VT-d §11.4.9.3 "Invalidation Queue Address Register"' },
);
export const ICS_REG = register("ICS_REG", 0x9c, 32, { IWC: sticky(rw1c(0, "A wait descriptor with its interrupt flag has completed")) }, { spec: 'VT-d §11.4.9.4 "Invalidation Completion Status Register"' });
export const IECTL_REG = register("IECTL_REG", 0xa0, 32, eventControl, { spec: 'VT-d §11.4.9.5 "Invalidation Event Control Register"', reset: masked });
export const IEDATA_REG = register("IEDATA_REG", 0xa4, 32, eventData, { spec: 'VT-d §11.4.9.6 "Invalidation Event Data Register"' });
export const IEADDR_REG = register("IEADDR_REG", 0xa8, 32, eventAddress, { spec: 'VT-d §11.4.9.7 "Invalidation Event Address Register"' });
export const IEUADDR_REG = register("IEUADDR_REG", 0xac, 32, eventUpperAddress, { spec: 'VT-d §11.4.9.8 "Invalidation Event Upper Address Register"' });
export const IQERCD_REG = register(
  "IQERCD_REG",
  0xb0,
  64,
  {
    IQEI: sticky(
      ro(3, 0, "Invalidation queue error information", {
        0: "none",
        1: "invalid tail pointer",
        2: "descriptor fetch error",
        3: "invalid descriptor type",
        4: "reserved field of a descriptor",
        5: "invalid descriptor width",
        6: "tail not aligned",
        7: "invalid translation table mode",
      }),
    ),
    ITESID: sticky(ro(47, 32, "Source-id of the invalidation time-out")),
    ICESID: sticky(ro(63, 48, "Source-id of the invalidation completion error")),
  },
  { spec: 'VT-d §11.4.9.9 "Invalidation Queue Error Record Register"' },
);

export const IRTA_REG = register(
  "IRTA_REG",
  0xb8,
  64,
  { S: rw(3, 0, "Size: 2^(S+1) entries"), EIME: rw(11, "Extended interrupt mode: 32-bit destinations"), IRTA: rw(63, 12, "Interrupt remapping table, page number") },
  { spec: 'VT-d §11.4.10 "Interrupt Remapping Table Address Register"' },
);

export const PQH_REG = register("PQH_REG", 0xc0, 64, { PQH: rw(18, 5, "Page request queue head, in 32 bytes") }, { spec: 'VT-d §11.4.11.1 "Page Request Queue Head Register"' });
export const PQT_REG = register("PQT_REG", 0xc8, 64, { PQT: ro(18, 5, "Page request queue tail, in 32 bytes") }, { spec: 'VT-d §11.4.11.2 "Page Request Queue Tail Register"' });
export const PQA_REG = register("PQA_REG", 0xd0, 64, { PQS: rw(2, 0, "Size: 2^PQS pages"), PQA: rw(63, 12, "Page request queue, page number") }, { spec: 'VT-d §11.4.11.3 "Page Request Queue Address Register"' });
export const PRS_REG = register("PRS_REG", 0xdc, 32, { PPR: sticky(rw1c(0, "Pending page request")), PRO: sticky(rw1c(1, "Page request overflow")) }, { spec: 'VT-d §11.4.11.4 "Page Request Status Register"' });
export const PECTL_REG = register("PECTL_REG", 0xe0, 32, eventControl, { spec: 'VT-d §11.4.11.5 "Page Request Event Control Register"', reset: masked });
export const PEDATA_REG = register("PEDATA_REG", 0xe4, 32, eventData, { spec: 'VT-d §11.4.11.6 "Page Request Event Data Register"' });
export const PEADDR_REG = register("PEADDR_REG", 0xe8, 32, eventAddress, { spec: 'VT-d §11.4.11.7 "Page Request Event Address Register"' });
export const PEUADDR_REG = register("PEUADDR_REG", 0xec, 32, eventUpperAddress, { spec: 'VT-d §11.4.11.8 "Page Request Event Upper Address Register"' });

/** At ECAP.IRO · 16; the offset given here is added to that. */
export const IVA_REG = register("IVA_REG", 0x0, 64, { AM: wo(5, 0, "Address mask: 2^AM pages"), IH: wo(6, "Only leaf entries changed"), ADDR: wo(63, 12, "Page number") }, { spec: 'VT-d §11.4.6.2 "Invalidate Address Register"' });
/** At ECAP.IRO · 16 + 8; the offset given here is added to ECAP.IRO · 16. */
export const IOTLB_REG = register(
  "IOTLB_REG",
  0x8,
  64,
  {
    DID: rw(47, 32, "Domain to invalidate"),
    DW: rw(48, "Drain writes"),
    DR: rw(49, "Drain reads"),
    IAIG: ro(58, 57, "Granularity that was done", { 0: "none", 1: "global", 2: "domain", 3: "page" }),
    IIRG: rw(61, 60, "Granularity asked for", { 1: "global", 2: "domain", 3: "page" }),
    IVT: rw(63, "Invalidate the IOTLB; clears itself when done"),
  },
  { spec: 'VT-d §11.4.6.3 "IOTLB Invalidate Register"' },
);

/** The registers at fixed offsets that every unit has or reads as zero, without the capability registers. */
export const FIXED_REGISTERS = [
  GCMD_REG, GSTS_REG, RTADDR_REG, CCMD_REG, FSTS_REG, FECTL_REG, FEDATA_REG, FEADDR_REG, FEUADDR_REG, AFLOG_REG, PMEN_REG, PLMBASE_REG, PLMLIMIT_REG, PHMBASE_REG, PHMLIMIT_REG,
  IQH_REG, IQT_REG, IQA_REG, ICS_REG, IECTL_REG, IEDATA_REG, IEADDR_REG, IEUADDR_REG, IQERCD_REG, IRTA_REG, PQH_REG, PQT_REG, PQA_REG, PRS_REG, PECTL_REG, PEDATA_REG, PEADDR_REG, PEUADDR_REG,
] as const satisfies readonly Register[];
