export { bytesOf, halves, reservedBytes, wide, wordsAt } from "./bytes.ts";
export { DumpError, findTables, isText, type FoundTable } from "./find-tables.ts";
export { decodeMcfg, encodeMcfg, type EcamAllocation, type Mcfg } from "./mcfg.ts";
export { decodeSdt, encodeSdt, SDT_HEADER_SIZE, sdtChecksum, type DecodedSdt, type SdtHeader, type SdtIdentity, type TableProblem } from "./sdt.ts";
