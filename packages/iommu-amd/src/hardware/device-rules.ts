import type { AmdCapabilities } from "./capabilities.ts";

/** Words of a device table entry. */
export const ENTRY_WORDS = 8;

/**
 * Reserved bits of a device table entry's words under given capabilities: fields of features that an IOMMU lacks are reserved.
 * AMD-Vi §2.2.2, Table 7.
 */
export const reservedInEntry = ({ efr, cxlAttributes }: AmdCapabilities): Int32Array => {
  const masks = new Int32Array(ENTRY_WORDS);
  const reserve = (msb: number, lsb: number, isReserved: boolean): void => {
    if (isReserved) for (let at = lsb; at <= msb; at++) masks[at >>> 5] = (masks[at >>> 5] as number) | (1 << (at & 31)); // at is below 256
  };
  reserve(3, 2, true);
  reserve(6, 4, !cxlAttributes);
  reserve(53, 52, !efr.PPRSup);
  reserve(54, 54, !efr.GIoSup);
  reserve(60, 55, !efr.GTSup);
  reserve(63, 63, true);
  reserve(95, 80, !efr.GTSup);
  reserve(106, 106, !efr.SATSSup);
  reserve(127, 107, !efr.GTSup);
  reserve(181, 180, true);
  reserve(183, 182, !efr.GTSup);
  reserve(187, 187, true);
  reserve(206, 192, true);
  reserve(239, 207, !efr.vIommuSup);
  reserve(245, 240, true);
  return masks;
};

/** The most levels of a host table: 4 to 6, or none. */
export const hostLevelsOf = ({ efr }: AmdCapabilities): number => (efr.HATS === 3 ? 0 : 4 + efr.HATS);
