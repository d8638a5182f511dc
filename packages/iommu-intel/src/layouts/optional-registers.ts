import { register, ro, rw, rw1c, sticky, type Register } from "@iommu-lab/memory/registers";

/** Memory-type range registers, present with ECAP.MTS. */
export const MTRRCAP_REG = register("MTRRCAP_REG", 0x100, 64, { VCNT: ro(7, 0, "Variable ranges"), FIX: ro(8, "Fixed ranges"), WC: ro(10, "Write combining") }, { spec: 'VT-d §11.4.12 "MTRR Capability Register"', reset: { VCNT: 10, FIX: 1, WC: 1 } });
export const MTRRDEF_REG = register("MTRRDEF_REG", 0x108, 64, { TYPE: rw(7, 0, "Default memory type"), FE: rw(10, "Fixed ranges count"), E: rw(11, "MTRRs count") }, { spec: 'VT-d §11.4.13 "MTRR Default Type Register"' });

const FIXED_RANGES = ["FIX64K_00000", "FIX16K_80000", "FIX16K_A0000", "FIX4K_C0000", "FIX4K_C8000", "FIX4K_D0000", "FIX4K_D8000", "FIX4K_E0000", "FIX4K_E8000", "FIX4K_F0000", "FIX4K_F8000"] as const;
/** Bytes of address space that one type of each fixed-range register covers. */
export const FIXED_RANGE_BYTES = [0x1_0000, 0x4000, 0x4000, 0x1000, 0x1000, 0x1000, 0x1000, 0x1000, 0x1000, 0x1000, 0x1000] as const;
export const MTRR_FIXED_REGS: readonly Register[] = FIXED_RANGES.map((name, i) =>
  register(`MTRR_${name}_REG`, 0x120 + 8 * i, 64, { LOW: rw(31, 0, "Types of the first four parts, a byte each"), HIGH: rw(63, 32, "Types of the last four parts, a byte each") }, { spec: 'VT-d §11.4.14 "Fixed-Range MTRRs"' }),
);
export const MTRR_VARIABLE_REGS: readonly Register[] = Array.from({ length: 10 }, (_, i) => [
  register(`MTRR_PHYSBASE${i}_REG`, 0x180 + 16 * i, 64, { TYPE: rw(7, 0, "Memory type"), PHYSBASE: rw(63, 12, "First page") }, { spec: 'VT-d §11.4.15 "Variable-Range MTRRs"' }),
  register(`MTRR_PHYSMASK${i}_REG`, 0x188 + 16 * i, 64, { V: rw(11, "The range counts"), PHYSMASK: rw(63, 12, "Bits of the page number that must match") }, { spec: 'VT-d §11.4.15 "Variable-Range MTRRs"' }),
]).flat();

/** Performance monitoring, present with ECAP.PMS. */
export const PERFCAP_REG = register(
  "PERFCAP_REG",
  0x300,
  64,
  {
    NCNTR: ro(15, 0, "Counters"),
    CW: ro(22, 16, "Counter width in bits"),
    NEG: ro(28, 24, "Event groups"),
    FC: ro(36, 32, "Filters: bit 0 requester ID, 1 domain, 2 PASID, 3 address type, 4 page table"),
    OIS: ro(50, "Interrupt on overflow"),
    STRIDE: ro(54, 52, "Bytes between the registers of two counters: 2^(10 + STRIDE)"),
  },
  { spec: 'VT-d §11.4.16 "Performance Monitoring Capability Register"' },
);
export const PERFCFGOFF_REG = register("PERFCFGOFF_REG", 0x310, 32, { OFF: ro(31, 0, "Offset of the counters' configuration registers") }, { spec: "VT-d §11.4.17" });
export const PERFFRZOFF_REG = register("PERFFRZOFF_REG", 0x314, 32, { OFF: ro(31, 0, "Offset of the freeze register") }, { spec: "VT-d §11.4.18" });
export const PERFOVFOFF_REG = register("PERFOVFOFF_REG", 0x318, 32, { OFF: ro(31, 0, "Offset of the overflow register") }, { spec: "VT-d §11.4.19" });
export const PERFCNTROFF_REG = register("PERFCNTROFF_REG", 0x31c, 32, { OFF: ro(31, 0, "Offset of the counters") }, { spec: "VT-d §11.4.20" });
export const PERFINTRSTS_REG = register("PERFINTRSTS_REG", 0x324, 32, { PIS: sticky(rw1c(0, "A counter has overflowed")) }, { spec: "VT-d §11.4.21" });
export const PERFINTRCTL_REG = register("PERFINTRCTL_REG", 0x328, 32, { IP: ro(30, "Interrupt pending"), IM: rw(31, "Interrupt mask") }, { spec: "VT-d §11.4.22", reset: { IM: 1 } });
export const PERFINTRDATA_REG = register("PERFINTRDATA_REG", 0x32c, 32, { IMD: rw(15, 0, "Interrupt message data") }, { spec: "VT-d §11.4.23" });
export const PERFINTRADDR_REG = register("PERFINTRADDR_REG", 0x330, 32, { MA: rw(31, 2, "Message address, bits 31:2") }, { spec: "VT-d §11.4.24" });
export const PERFINTRUADDR_REG = register("PERFINTRUADDR_REG", 0x334, 32, { MUA: rw(31, 0, "Message upper address") }, { spec: "VT-d §11.4.25" });

/** Enhanced commands, present with CAP.ECMDS. */
export const ECMD_REG = register("ECMD_REG", 0x400, 64, { CMD: rw(7, 0, "Command"), OA: rw(63, 16, "Operand A") }, { spec: 'VT-d §11.4.26 "Enhanced Command Register"' });
export const ECEO_REG = register("ECEO_REG", 0x408, 64, { LOW: rw(31, 0, "Operand B, bits 31:0"), HIGH: rw(63, 32, "Operand B, bits 63:32") }, { spec: 'VT-d §11.4.27 "Enhanced Command Extended Operand Register"' });
export const ECRSP_REG = register("ECRSP_REG", 0x410, 64, { IP: ro(0, "In progress"), SC: ro(7, 1, "Status code", { 0: "success" }) }, { spec: 'VT-d §11.4.28 "Enhanced Command Response Register"' });
export const ECCAP_REGS: readonly Register[] = Array.from({ length: 4 }, (_, n) =>
  register(`ECCAP${n}_REG`, 0x430 + 8 * n, 64, { LOW: ro(31, 0, "Commands supported, bits 31:0"), HIGH: ro(63, 32, "Commands supported, bits 63:32") }, { spec: 'VT-d §11.4.29 "Enhanced Command Capability Registers"', reset: n === 3 ? { HIGH: 0b11_0011 << 16 } : {} }),
);

/** Virtual commands, present with ECAP.VCS. */
export const VCCAP_REG = register("VCCAP_REG", 0xe30, 64, { PAS: ro(0, "PASID allocation") }, { spec: 'VT-d §11.4.32 "Virtual Command Capability Register"', reset: { PAS: 1 } });
export const VCMD_REG = register("VCMD_REG", 0xe00, 64, { CMD: rw(7, 0, "Command", { 1: "allocate a PASID", 2: "free a PASID" }), OP: rw(63, 16, "Operand") }, { spec: 'VT-d §11.4.30 "Virtual Command Register"' });
export const VCRSP_REG = register("VCRSP_REG", 0xe10, 64, { IP: ro(0, "In progress"), SC: ro(2, 1, "Status code"), RSLT: ro(63, 16, "Result") }, { spec: 'VT-d §11.4.31 "Virtual Command Response Register"' });
