import { bit, bits, layout } from "@iommu-lab/memory/layout";

/** Second-stage paging entry, 64 bits; bit 7 says page at levels 2 and 3. */
export const SECOND_STAGE_ENTRY = layout("second-stage paging entry", 64, 'VT-d §9.8 "Second-Stage Paging Entries"', {
  R: bit(0, "Read"),
  W: bit(1, "Write"),
  X: bit(2, "Execute; ignored without execute support"),
  EMT: bits(5, 3, "Extended memory type of a page"),
  IPAT: bit(6, "Ignore the PAT of a page"),
  PS: bit(7, "The entry maps a page (levels 2 and 3)"),
  A: bit(8, "Accessed"),
  D: bit(9, "Dirty (pages)"),
  IGN: bit(10, "Ignored"),
  SNP: bit(11, "Snoop (pages)"),
  ADDR: bits(51, 12, "Next table or page, page number"),
  IGN2: bits(61, 52, "Ignored"),
  TM: bit(62, "Transient mapping; must be 0"),
  IGN3: bit(63, "Ignored"),
});

/** First-stage paging entry, 64 bits, the processor's own format. */
export const FIRST_STAGE_ENTRY = layout("first-stage paging entry", 64, 'VT-d §9.7 "First-Stage Paging Entries"', {
  P: bit(0, "Present"),
  RW: bit(1, "Writes are allowed"),
  US: bit(2, "User accesses are allowed"),
  PWT: bit(3, "Page-level write-through"),
  PCD: bit(4, "Page-level cache disable"),
  A: bit(5, "Accessed"),
  D: bit(6, "Dirty (pages)"),
  PS: bit(7, "The entry maps a page (levels 2 and 3); PAT at level 1"),
  G: bit(8, "Global (pages)"),
  IGN: bit(9, "Ignored"),
  EA: bit(10, "Extended accessed"),
  IGN2: bit(11, "Ignored"),
  ADDR: bits(51, 12, "Next table or page, page number"),
  IGN3: bits(62, 52, "Ignored"),
  XD: bit(63, "Execute disable"),
});
