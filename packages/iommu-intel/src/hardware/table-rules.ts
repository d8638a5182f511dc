import type { VtdCapabilities } from "./capabilities.ts";
import { reservedAbove } from "./second-stage.ts";

/** Words of a PASID-table entry. */
export const PASID_ENTRY_WORDS = 16;

/**
 * Which bits of tables are reserved under given capabilities: one mask per 32-bit word. Fields of features that a unit lacks
 * are reserved. VT-d §9.1 to §9.6.
 */
export interface TableRules {
  /** Bits of a pointer's high word that are past the host address width. */
  readonly pointerHigh: number;
  readonly scalableContext: Uint32Array;
  readonly pasidEntry: Uint32Array;
  /** First page number past what a pass-through request may name. */
  readonly passThroughLimit: number;
  /** Bit n set: a second stage of n levels is supported (3, 4, 5). */
  readonly levels: number;
}

/** Bit `at` of a structure as a word index and a mask, for `free` and `reserve`. */
const put = (masks: Uint32Array, msb: number, lsb: number, reserved: boolean): void => {
  for (let at = lsb; at <= msb; at++) {
    const word = at >>> 5;
    const flag = 2 ** (at & 31);
    masks[word] = reserved ? (masks[word] as number) | flag : (masks[word] as number) & ~flag; // inside: the tables below end at 511
  }
};

const scalableContext = ({ ecap, hostAddressWidth }: VtdCapabilities, honourRidPasid: boolean): Uint32Array => {
  const masks = new Uint32Array(8).fill(0xffff_ffff);
  put(masks, 1, 0, false);
  put(masks, 2, 2, !ecap.DT);
  put(masks, 3, 3, !ecap.PASID);
  put(masks, 4, 4, !ecap.PRS);
  put(masks, 11, 9, false);
  put(masks, Math.min(63, hostAddressWidth - 1), 12, false);
  put(masks, 83, 64, !honourRidPasid);
  put(masks, 84, 84, !ecap.RPRIVS);
  return masks;
};

const pasidEntry = ({ ecap, hostAddressWidth }: VtdCapabilities): Uint32Array => {
  const masks = new Uint32Array(PASID_ENTRY_WORDS).fill(0xffff_ffff);
  const top = hostAddressWidth - 1;
  put(masks, 1, 0, false);
  // AW is ignored where no second stage is walked: Linux sets it for first-stage entries, too.
  put(masks, 4, 2, false);
  put(masks, 8, 6, false);
  put(masks, 9, 9, !ecap.SSADS);
  if (ecap.SSTS) put(masks, top, 12, false);
  put(masks, 79, 64, false);
  put(masks, 87, 87, !ecap.SMPWCS);
  put(masks, 88, 88, !ecap.SC);
  put(masks, 90, 89, !ecap.MTS);
  put(masks, 127, 96, !ecap.MTS);
  put(masks, 128, 128, !(ecap.FSTS && ecap.SRS));
  put(masks, 129, 129, !(ecap.FSTS && ecap.ERS));
  put(masks, 132, 130, !ecap.FSTS);
  // NXE and SMEP are ignored since revision 4.1. VT-d §9.6.
  put(masks, 134, 133, false);
  put(masks, 135, 135, !(ecap.FSTS && ecap.EAFS));
  if (ecap.FSTS) put(masks, 128 + top, 140, false);
  return masks;
};

/** @param honourRidPasid RID_PASID is obeyed: ECAP.RPS, or an older unit that obeys it without saying so */
export const tableRules = (capabilities: VtdCapabilities, honourRidPasid: boolean): TableRules => ({
  pointerHigh: reservedAbove(capabilities.hostAddressWidth) | 0xfff0_0000,
  scalableContext: scalableContext(capabilities, honourRidPasid),
  pasidEntry: pasidEntry(capabilities),
  passThroughLimit: 2 ** (capabilities.hostAddressWidth - 12),
  levels: (capabilities.cap.SAGAW & 0b1110) << 2,
});
