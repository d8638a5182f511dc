import { bit, bits, layout } from "@iommu-lab/memory/layout";

/** Fault recording register, 128 bits. */
export const FAULT_RECORD = layout("fault record", 128, 'VT-d §11.4.7.6 "Fault Recording Registers"', {
  FI: bits(63, 12, "Page number of the faulting address; for interrupts, bits 63:48 are the interrupt index"),
  SID: bits(79, 64, "Source-id of the request"),
  T2: bit(92, "Type, second bit"),
  PRIV: bit(93, "The request was privileged"),
  EXE: bit(94, "The request was an instruction fetch"),
  PP: bit(95, "The request had a PASID"),
  FR: bits(103, 96, "Fault reason"),
  PV: bits(123, 104, "PASID of the request"),
  AT: bits(125, 124, "Address type", { 0: "untranslated", 1: "translation request", 2: "translated" }),
  T1: bit(126, "Type, first bit: with T2 00 write, 10 read, 01 page request, 11 atomic"),
  F: bit(127, "Fault: the record is valid"),
});

/** Page request descriptor, 256 bits, as the unit writes it into the page request queue. */
export const PAGE_REQUEST_DESCRIPTOR = layout("page request descriptor", 256, 'VT-d §7.4.1 "Page Request Descriptor"', {
  TYPE: bits(7, 0, "Type", { 1: "page request" }),
  PP: bit(8, "The request had a PASID"),
  RID: bits(31, 16, "Requester ID"),
  PASID: bits(51, 32, "PASID"),
  EXE: bit(52, "Execute access asked for"),
  PRIV: bit(53, "Privileged access asked for"),
  R: bit(64, "Read access asked for"),
  W: bit(65, "Write access asked for"),
  LPIG: bit(66, "Last request of its group"),
  PRGI: bits(75, 67, "Page request group index"),
  ADDR: bits(127, 76, "Page number"),
});
