import type { PageTableFormat } from "@iommu-lab/pci-bus/paging";

/** IR and IW in the high word of an entry. */
const READ = 1 << 29;
const WRITE = 1 << 30;
/** Next Level, bits 11:9 of the low word. */
const NEXT_LEVEL = 7 << 9;

/** Host tables: PR, Next Level, IR and IW; pages have Next Level 0. AMD-Vi §2.2.3. */
export const HOST_FORMAT: PageTableFormat = {
  table: [0, 1, 2, 3, 4, 5].map((level) => 1 | (level << 9)),
  tableHigh: READ | WRITE,
  page: [1, 1, 1, 1],
  pageHigh: [0, READ, WRITE, READ | WRITE],
  large: 0,
  leafMask: NEXT_LEVEL,
  leafValue: 0,
};

/** Guest tables in the processor's format: P, U/S and A always, R/W and D for writing. AMD-Vi §2.2.3; AMD64 APM vol. 2 §5.3. */
export const GUEST_FORMAT: PageTableFormat = { table: [0, 0x27, 0x27, 0x27, 0x27, 0x27], tableHigh: 0, page: [0x25, 0x25, 0x67, 0x67], pageHigh: [0, 0, 0, 0], large: 1 << 7, leafMask: 1 << 7, leafValue: 1 << 7 };
