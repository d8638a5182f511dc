import type { PageTableFormat } from "@iommu-lab/pci-bus/paging";

/** PS: the entry of level 2 or 3 maps a page. */
const LARGE = 1 << 7;

/** R and W. Accessed and dirty bits are off (SSADE = 0). VT-d §9.8. */
export const SECOND_STAGE_FORMAT: PageTableFormat = { table: [3, 3, 3, 3, 3], tableHigh: 0, page: [0, 1, 2, 3], pageHigh: [0, 0, 0, 0], large: LARGE, leafMask: LARGE, leafValue: LARGE };
/** P, U/S and A always, R/W and D for writing: hardware never has to write accessed and dirty bits. VT-d §9.7. */
export const FIRST_STAGE_FORMAT: PageTableFormat = {
  table: [0x27, 0x27, 0x27, 0x27, 0x27],
  tableHigh: 0,
  page: [0x25, 0x25, 0x67, 0x67],
  pageHigh: [0, 0, 0, 0],
  large: LARGE,
  leafMask: LARGE,
  leafValue: LARGE,
};
