import { bit, bits, layout } from "@iommu-lab/memory/layout";

/** What a performance counter counts. */
export const COUNTER_SOURCE = layout("counter source register", 64, 'AMD-Vi §3.4 "Counter Source Register", MMIO offset 4xx08h', {
  CSource: bits(7, 0, "Event that is counted"),
  CountUnits: bit(30, "Unit of the count"),
  CAC: bit(31, "Architectural or custom event"),
});

/** Which requests count: those whose identifier equals Match in the bits of Mask. */
export const COUNTER_MATCH = layout("counter match register", 64, 'AMD-Vi §3.4 "PASID, Domain and DeviceID Match Registers", MMIO offsets 4xx10h to 4xx20h', {
  Match: bits(15, 0, "Identifier"),
  MatchHigh: bits(19, 16, "Bits 19:16 of a PASID"),
  En: bit(31, "Only matching requests count"),
  Mask: bits(47, 32, "Bits that are compared"),
  MaskHigh: bits(51, 48, "Bits 19:16 of a PASID that are compared"),
});

/** What a counter reports when it passes zero. */
export const COUNTER_REPORT = layout("counter report register", 64, 'AMD-Vi §3.4 "Counter Report Register", MMIO offset 4xx28h', {
  CounterNote: bits(51, 0, "Note in the event"),
  CERE: bit(63, "An overflow is logged as EVENT_COUNTER_ZERO"),
});
