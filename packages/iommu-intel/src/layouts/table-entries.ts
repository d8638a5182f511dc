import { bit, bits, layout } from "@iommu-lab/memory/layout";

/** Legacy-mode root entry, 128 bits, indexed by bus. */
export const ROOT_ENTRY = layout("root entry", 128, 'VT-d §9.1 "Root Entry"', {
  P: bit(0, "Present"),
  CTP: bits(63, 12, "Context table, page number"),
});

/** Scalable-mode root entry, 128 bits, indexed by bus. */
export const SCALABLE_ROOT_ENTRY = layout("scalable-mode root entry", 128, 'VT-d §9.2 "Scalable-Mode Root Entry"', {
  LP: bit(0, "Lower present: devices 0 to 15"),
  LCTP: bits(63, 12, "Lower context table, page number"),
  UP: bit(64, "Upper present: devices 16 to 31"),
  UCTP: bits(127, 76, "Upper context table, page number"),
});

/** Legacy-mode context entry, 128 bits, indexed by device and function. */
export const CONTEXT_ENTRY = layout("context entry", 128, 'VT-d §9.3 "Context Entry"', {
  P: bit(0, "Present"),
  FPD: bit(1, "Fault processing disable: faults are not recorded"),
  TT: bits(3, 2, "Translation type", { 0: "second-stage, no device-TLB", 1: "second-stage, device-TLB allowed", 2: "pass-through", 3: "reserved" }),
  SSPTPTR: bits(63, 12, "Second-stage page table, page number"),
  AW: bits(66, 64, "Address width", { 1: "39-bit, 3 levels", 2: "48-bit, 4 levels", 3: "57-bit, 5 levels" }),
  IGN: bits(70, 67, "Ignored"),
  DID: bits(87, 72, "Domain identifier"),
});

/** Scalable-mode context entry, 256 bits, indexed by device and function modulo 128. */
export const SCALABLE_CONTEXT_ENTRY = layout("scalable-mode context entry", 256, 'VT-d §9.4 "Scalable-Mode Context Entry"', {
  P: bit(0, "Present"),
  FPD: bit(1, "Fault processing disable"),
  DTE: bit(2, "Device-TLB enable"),
  PASIDE: bit(3, "PASID enable: requests with PASID are allowed"),
  PRE: bit(4, "Page request enable"),
  PDTS: bits(11, 9, "PASID directory size: 2^(PDTS+7) entries"),
  PASIDDIRPTR: bits(63, 12, "PASID directory, page number"),
  RID_PASID: bits(83, 64, "PASID of requests without PASID"),
  RID_PRIV: bit(84, "Requests without PASID are privileged"),
});

/** Scalable-mode PASID directory entry, 64 bits, indexed by PASID bits 19:6. */
export const PASID_DIRECTORY_ENTRY = layout("PASID directory entry", 64, 'VT-d §9.5 "Scalable-Mode PASID Directory Entry"', {
  P: bit(0, "Present"),
  FPD: bit(1, "Fault processing disable"),
  SMPTBLPTR: bits(63, 12, "PASID table, page number"),
});

/** Scalable-mode PASID table entry, 512 bits, indexed by PASID bits 5:0. */
export const PASID_ENTRY = layout("PASID table entry", 512, 'VT-d §9.6 "Scalable-Mode PASID Table Entry"', {
  P: bit(0, "Present"),
  FPD: bit(1, "Fault processing disable"),
  AW: bits(4, 2, "Second-stage address width", { 1: "39-bit, 3 levels", 2: "48-bit, 4 levels", 3: "57-bit, 5 levels" }),
  PGTT: bits(8, 6, "Translation type", { 1: "first-stage", 2: "second-stage", 3: "nested", 4: "pass-through" }),
  SSADE: bit(9, "Second-stage accessed and dirty bits enable"),
  SSPTPTR: bits(63, 12, "Second-stage page table, page number"),
  DID: bits(79, 64, "Domain identifier"),
  PWSNP: bit(87, "Page walks snoop"),
  PGSNP: bit(88, "Accesses snoop"),
  CD: bit(89, "Cache disable"),
  EMTE: bit(90, "Extended memory types enable"),
  PAT: bits(127, 96, "Page attribute table, four bits a type"),
  SRE: bit(128, "Supervisor requests enable"),
  ERE: bit(129, "Execute requests enable (must be 0 since revision 4.1)"),
  FSPM: bits(131, 130, "First-stage paging mode", { 0: "4 levels", 1: "5 levels" }),
  WPE: bit(132, "Write protect enable: supervisor writes obey R/W"),
  NXE: bit(133, "No-execute enable (ignored since revision 4.1)"),
  SMEP: bit(134, "Supervisor-mode execute prevention (ignored since revision 4.1)"),
  EAFE: bit(135, "Extended accessed flag enable"),
  FSPTPTR: bits(191, 140, "First-stage page table, page number"),
});
