import { bit, bits, layout } from "@iommu-lab/memory/layout";

/** Host (v1) page directory entry, 64 bits. */
export const HOST_PDE = layout("host page directory entry", 64, 'AMD-Vi §2.2.3 "I/O Page Tables for Host Translations"', {
  PR: bit(0, "Present"),
  IGN: bits(4, 1, "Ignored"),
  A: bit(5, "Accessed"),
  IGN2: bits(8, 6, "Ignored"),
  NextLevel: bits(11, 9, "Level of the table that follows", { 0: "a page", 7: "a page whose size is in its address" }),
  Address: bits(51, 12, "Next table, page number"),
  IR: bit(61, "Reads are allowed"),
  IW: bit(62, "Writes are allowed"),
  IGN3: bit(63, "Ignored"),
});

/** Host (v1) page table entry, 64 bits. */
export const HOST_PTE = layout("host page table entry", 64, 'AMD-Vi §2.2.3 "I/O Page Tables for Host Translations"', {
  PR: bit(0, "Present"),
  IGN: bits(4, 1, "Ignored"),
  A: bit(5, "Accessed"),
  D: bit(6, "Dirty"),
  IGN2: bits(8, 7, "Ignored"),
  NextLevel: bits(11, 9, "Kind of page", { 0: "default size of the level", 7: "size in the address" }),
  Address: bits(51, 12, "Page number, with a size code for kind 7"),
  U: bit(59, "Only untranslated requests"),
  FC: bit(60, "Force coherent"),
  IR: bit(61, "Reads are allowed"),
  IW: bit(62, "Writes are allowed"),
  IGN3: bit(63, "Ignored"),
});

/** Guest (v2) page table entry of any level, 64 bits: the processor's own format. */
export const GUEST_PTE = layout("guest page table entry", 64, 'AMD-Vi §2.2.3 "Guest Page Tables"; AMD64 APM vol. 2 §5.3', {
  P: bit(0, "Present"),
  RW: bit(1, "Writes are allowed"),
  US: bit(2, "User accesses are allowed"),
  PWT: bit(3, "Page-level write-through"),
  PCD: bit(4, "Page-level cache disable"),
  A: bit(5, "Accessed"),
  D: bit(6, "Dirty (pages)"),
  PS: bit(7, "The entry maps a page (levels 2 and 3); PAT at level 1"),
  G: bit(8, "Global (pages)"),
  AVL: bits(11, 9, "For software"),
  Address: bits(51, 12, "Next table or page, page number"),
  AVL2: bits(62, 52, "For software"),
  NX: bit(63, "No execute"),
});

/** GCR3 table entry, 64 bits, of any level. */
export const GCR3_ENTRY = layout("GCR3 table entry", 64, 'AMD-Vi §2.2.3 "Guest CR3 Table"', { V: bit(0, "Valid"), Address: bits(51, 12, "Next table or guest page table, page number") });
