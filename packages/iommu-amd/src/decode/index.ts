export { decodeCommand } from "./commands.ts";
export type { Decoded, DecodedStructure, Fact, FieldValue, Finding, Interpretation, Told } from "@iommu-lab/pci-bus/decode";
export { decodeDeviceTableEntry } from "./device-table-entry.ts";
export { decodeEvent, EVENT_CODES } from "./events.ts";
export { interpretEfr, interpretEfr2 } from "./features.ts";
export { decodeGaLogEntry, decodeIrte, decodePprLogEntry } from "./interrupts.ts";
export { decodeKernelLog } from "./kernel-log.ts";
export { decodeGcr3Entry, decodeGuestEntry, decodeHostEntry } from "./page-table-entries.ts";
export { decodeRegister, REGISTERS } from "./registers.ts";
