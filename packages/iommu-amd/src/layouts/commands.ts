import { bit, bits, layout, type Field, type Layout } from "@iommu-lab/memory/layout";

const OPCODE = bits(63, 60, "Opcode");

/** Opcodes of commands. AMD-Vi §2.4. */
export const CommandCode = { CompletionWait: 1, InvalidateDeviceEntry: 2, InvalidatePages: 3, InvalidateIotlb: 4, InvalidateInterruptTable: 5, Prefetch: 6, CompletePpr: 7, InvalidateAll: 8 } as const;

export const COMPLETION_WAIT = layout("COMPLETION_WAIT", 128, "AMD-Vi §2.4.1", {
  s: bit(0, "Store the data"),
  i: bit(1, "Interrupt"),
  f: bit(2, "Flush the queue first"),
  StoreLow: bits(31, 3, "Store address, bits 31:3"),
  StoreHigh: bits(51, 32, "Store address, bits 51:32"),
  OpCode: OPCODE,
  DataLow: bits(95, 64, "Store data, bits 31:0"),
  DataHigh: bits(127, 96, "Store data, bits 63:32"),
});
export const INVALIDATE_DEVTAB_ENTRY = layout("INVALIDATE_DEVTAB_ENTRY", 128, "AMD-Vi §2.4.2", { DeviceID: bits(15, 0, "Device"), OpCode: OPCODE });
export const INVALIDATE_IOMMU_PAGES = layout("INVALIDATE_IOMMU_PAGES", 128, "AMD-Vi §2.4.3", {
  PASID: bits(19, 0, "Process, with GN=1"),
  DomainID: bits(47, 32, "Domain"),
  OpCode: OPCODE,
  S: bit(64, "The address holds a size"),
  PDE: bit(65, "Page directory entries too"),
  GN: bit(66, "Guest addresses of one PASID"),
  Address: bits(127, 76, "Page number, with a size code for S=1"),
});
export const INVALIDATE_IOTLB_PAGES = layout("INVALIDATE_IOTLB_PAGES", 128, "AMD-Vi §2.4.4", {
  DeviceID: bits(15, 0, "Device"),
  PASIDMid: bits(23, 16, "PASID bits 15:8"),
  MaxPend: bits(31, 24, "Invalidations that the device takes at a time"),
  QueueID: bits(47, 32, "Device whose queue it counts in"),
  PASIDLow: bits(55, 48, "PASID bits 7:0"),
  PASIDHigh: bits(59, 56, "PASID bits 19:16"),
  OpCode: OPCODE,
  S: bit(64, "The address holds a size"),
  GN: bit(66, "Guest addresses of one PASID"),
  Type: bits(69, 68, "Kind of invalidation"),
  Address: bits(127, 76, "Page number, with a size code for S=1"),
});
export const INVALIDATE_INTERRUPT_TABLE = layout("INVALIDATE_INTERRUPT_TABLE", 128, "AMD-Vi §2.4.5", { DeviceID: bits(15, 0, "Device"), OpCode: OPCODE });
export const PREFETCH_IOMMU_PAGES = layout("PREFETCH_IOMMU_PAGES", 128, "AMD-Vi §2.4.6", {
  DeviceID: bits(15, 0, "Device"),
  Count: bits(31, 24, "Pages, less one"),
  PASID: bits(51, 32, "Process, with GN=1"),
  OpCode: OPCODE,
  S: bit(64, "The address holds a size"),
  GN: bit(66, "Guest addresses of one PASID"),
  Inval: bit(68, "Invalidate first"),
  Address: bits(127, 76, "First page number"),
});
export const COMPLETE_PPR_REQUEST = layout("COMPLETE_PPR_REQUEST", 128, "AMD-Vi §2.4.7", {
  DeviceID: bits(15, 0, "Device"),
  PASID: bits(51, 32, "Process, with GN=1"),
  OpCode: OPCODE,
  GN: bit(66, "The response carries a PASID"),
  Tag: bits(104, 96, "Page request group"),
  TagHigh: bits(107, 105, "Completion tag bits that PCIe has no room for"),
  Status: bits(111, 108, "Response code", { 0: "success", 1: "invalid request", 15: "response failure" }),
});
export const INVALIDATE_IOMMU_ALL = layout("INVALIDATE_IOMMU_ALL", 128, "AMD-Vi §2.4.8", { OpCode: OPCODE });

/** Layouts of commands by opcode. */
export const COMMANDS: Readonly<Record<number, Layout<Readonly<Record<string, Field>>>>> = {
  1: COMPLETION_WAIT,
  2: INVALIDATE_DEVTAB_ENTRY,
  3: INVALIDATE_IOMMU_PAGES,
  4: INVALIDATE_IOTLB_PAGES,
  5: INVALIDATE_INTERRUPT_TABLE,
  6: PREFETCH_IOMMU_PAGES,
  7: COMPLETE_PPR_REQUEST,
  8: INVALIDATE_IOMMU_ALL,
};
