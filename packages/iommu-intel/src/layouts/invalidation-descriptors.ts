import { bit, bits, layout } from "@iommu-lab/memory/layout";

/** Type of a descriptor: bits 3:0, with bits 11:9 above them. */
const TYPE = bits(3, 0, "Type");
const TYPE_HIGH = bits(11, 9, "Type, high bits");

export const CONTEXT_DESCRIPTOR = layout("context-cache invalidate descriptor", 128, "VT-d §6.5.2.1", {
  TYPE,
  G: bits(5, 4, "Granularity", { 1: "global", 2: "domain", 3: "device" }),
  TYPE_HIGH,
  DID: bits(31, 16, "Domain"),
  SID: bits(47, 32, "Source-id"),
  FM: bits(49, 48, "Function mask", { 0: "none", 1: "bit 2", 2: "bits 2:1", 3: "bits 2:0" }),
});
export const IOTLB_DESCRIPTOR = layout("IOTLB invalidate descriptor", 128, "VT-d §6.5.2.3", {
  TYPE,
  G: bits(5, 4, "Granularity", { 1: "global", 2: "domain", 3: "page" }),
  DW: bit(6, "Drain writes"),
  DR: bit(7, "Drain reads"),
  TYPE_HIGH,
  DID: bits(31, 16, "Domain"),
  AM: bits(69, 64, "Address mask: 2^AM pages"),
  IH: bit(70, "Only leaf entries changed"),
  ADDR: bits(127, 76, "Page number"),
});
export const DEVICE_TLB_DESCRIPTOR = layout("device-TLB invalidate descriptor", 128, "VT-d §6.5.2.5", {
  TYPE,
  TYPE_HIGH,
  PFSID_LOW: bits(15, 12, "Physical function's source-id, bits 3:0"),
  MIP: bits(20, 16, "Maximum invalidations pending"),
  SID: bits(47, 32, "Source-id"),
  PFSID_HIGH: bits(63, 52, "Physical function's source-id, bits 15:4"),
  S: bit(64, "Size: more than one page"),
  ADDR: bits(127, 76, "Page number; with S the size is in its low ones"),
});
export const INTERRUPT_ENTRY_DESCRIPTOR = layout("interrupt entry cache invalidate descriptor", 128, "VT-d §6.5.2.7", {
  TYPE,
  G: bit(4, "Granularity", { 0: "global", 1: "index" }),
  TYPE_HIGH,
  IM: bits(31, 27, "Index mask: 2^IM entries"),
  IIDX: bits(47, 32, "Interrupt index"),
});
export const WAIT_DESCRIPTOR = layout("invalidation wait descriptor", 128, "VT-d §6.5.2.8", {
  TYPE,
  IF: bit(4, "Interrupt flag"),
  SW: bit(5, "Status write"),
  FN: bit(6, "Fence"),
  PD: bit(7, "Page-request drain"),
  TYPE_HIGH,
  DATA: bits(63, 32, "Status data"),
  ADDR_LOW: bits(95, 66, "Status address, bits 31:2"),
  ADDR_HIGH: bits(127, 96, "Status address, bits 63:32"),
});
export const PASID_IOTLB_DESCRIPTOR = layout("PASID-based IOTLB invalidate descriptor", 128, "VT-d §6.5.2.4", {
  TYPE,
  G: bits(5, 4, "Granularity", { 2: "all of the PASID", 3: "page" }),
  TYPE_HIGH,
  DID: bits(31, 16, "Domain"),
  PASID: bits(51, 32, "PASID"),
  AM: bits(69, 64, "Address mask: 2^AM pages"),
  IH: bit(70, "Only leaf entries changed"),
  ADDR: bits(127, 76, "Page number"),
});
export const PASID_CACHE_DESCRIPTOR = layout("PASID-cache invalidate descriptor", 128, "VT-d §6.5.2.2", {
  TYPE,
  G: bits(5, 4, "Granularity", { 0: "domain", 1: "PASID in the domain", 3: "global" }),
  TYPE_HIGH,
  DID: bits(31, 16, "Domain"),
  PASID: bits(51, 32, "PASID"),
});
export const PASID_DEVICE_TLB_DESCRIPTOR = layout("PASID-based device-TLB invalidate descriptor", 128, "VT-d §6.5.2.6", {
  TYPE,
  MIP: bits(8, 4, "Maximum invalidations pending"),
  TYPE_HIGH,
  PFSID_LOW: bits(15, 12, "Physical function's source-id, bits 3:0"),
  SID: bits(31, 16, "Source-id"),
  PASID: bits(51, 32, "PASID"),
  PFSID_HIGH: bits(63, 52, "Physical function's source-id, bits 15:4"),
  G: bit(64, "For every PASID"),
  S: bit(75, "Size: more than one page"),
  ADDR: bits(127, 76, "Page number; with S the size is in its low ones"),
});
export const PAGE_GROUP_RESPONSE_DESCRIPTOR = layout("page group response descriptor", 128, "VT-d §7.6.1", {
  TYPE,
  PP: bit(4, "The request had a PASID"),
  TYPE_HIGH,
  RC: bits(15, 12, "Response code", { 0: "success", 1: "invalid request", 15: "response failure" }),
  RID: bits(31, 16, "Requester ID"),
  PASID: bits(51, 32, "PASID"),
  LPIG: bit(66, "Last page in group (older revisions)"),
  PRGI: bits(75, 67, "Page request group index"),
});

/** Descriptors by type. A 256-bit descriptor is the same with 128 bits that must be zero. VT-d §6.5.2, Table 23. */
export const DESCRIPTORS = {
  1: CONTEXT_DESCRIPTOR,
  2: IOTLB_DESCRIPTOR,
  3: DEVICE_TLB_DESCRIPTOR,
  4: INTERRUPT_ENTRY_DESCRIPTOR,
  5: WAIT_DESCRIPTOR,
  6: PASID_IOTLB_DESCRIPTOR,
  7: PASID_CACHE_DESCRIPTOR,
  8: PASID_DEVICE_TLB_DESCRIPTOR,
  9: PAGE_GROUP_RESPONSE_DESCRIPTOR,
} as const;
