export { interpretCap, interpretEcap } from "./capabilities.ts";
export type { Decoded, DecodedStructure, Fact, FieldValue, Finding, Interpretation, Told } from "@iommu-lab/pci-bus/decode";
export { decodeDebugfs, debugfsFile, type DebugfsFile } from "./debugfs.ts";
export { decodeDescriptor } from "./descriptors.ts";
export { decodeFaultRecord } from "./fault-record.ts";
export { kernelFaultOf, kernelLine, KERNELS, type Kernel, type KernelFault } from "./kernel-line.ts";
export { decodeKernelLog } from "./kernel-log.ts";
export { decodeRegister, REGISTERS } from "./registers.ts";
export {
  decodeContextEntry,
  decodeFirstStageEntry,
  decodeIrte,
  decodePasidDirectoryEntry,
  decodePasidEntry,
  decodeRootEntry,
  decodeScalableContextEntry,
  decodeScalableRootEntry,
  decodeSecondStageEntry,
} from "./table-entries.ts";
export { parseWords, structuresOf, WordsError, type Word } from "./words.ts";
