export { coveringShift, inBlocks } from "./blocks.ts";
export { PageTable, type PageTableFormat, type PageTableOptions } from "./page-table.ts";
export { misaligned, pageCount, pageNumber, pastWidth } from "./pages.ts";
export { pageOfEntry, TableFrames, writeEntry } from "./table-frames.ts";
