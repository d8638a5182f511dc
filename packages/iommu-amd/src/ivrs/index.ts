export { decodeIvrs, IvrsError } from "./decode.ts";
export { DIAGNOSES, type Diagnosis, type DiagnosisId } from "./diagnosis.ts";
export { diagnoseIvrs } from "./diagnose.ts";
export { encodeIvrs } from "./encode.ts";
export {
  DTE_SETTING,
  ENTRY_ACPI,
  ENTRY_ALIAS,
  ENTRY_ALL,
  ENTRY_EXTENDED,
  ENTRY_RANGE_END,
  ENTRY_SELECT,
  ENTRY_SPECIAL,
  IVHD_10,
  IVHD_11,
  IVHD_40,
  IVHD_ATTRIBUTES,
  IVHD_FEATURES,
  IVHD_FLAGS,
  IVMD,
  IVMD_FLAGS,
  IVRS_BODY,
  structureName,
} from "./layouts.ts";
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
