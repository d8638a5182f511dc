export { decodeIvrs, IvrsError } from "./decode.ts";
export { DIAGNOSES, type Diagnosis, type DiagnosisId } from "./diagnosis.ts";
export { diagnoseIvrs } from "./diagnose.ts";
export { encodeIvrs } from "./encode.ts";
export { DTE_SETTING, IVHD_ATTRIBUTES, IVHD_FEATURES, IVHD_FLAGS, IVMD_FLAGS, structureName } from "./layouts.ts";
export { countingBlocks, rangesOf, type IvhdRange } from "./ranges.ts";
export type {
  AcpiEntry,
  AddressInput,
  AliasEntry,
  AllEntry,
  ExtendedEntry,
  Ivhd,
  Ivhd10,
  Ivhd11,
  IvhdEntry,
  IvhdEntryInput,
  Ivmd,
  IvrsInput,
  IvrsOddities,
  IvrsStructure,
  IvrsStructureInput,
  IvrsTable,
  PaddingEntry,
  RangeEndEntry,
  RawBlock,
  RawEntry,
  SelectEntry,
  SpecialEntry,
} from "./table.ts";
export { decodeIvrsUnits, type IvrsUnit, type IvrsUnits } from "./units.ts";
