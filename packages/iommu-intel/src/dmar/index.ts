export { decodeDmar, DmarError } from "./decode.ts";
export { DIAGNOSES, type Diagnosis, type DiagnosisId } from "./diagnosis.ts";
export { diagnoseDmar } from "./diagnose.ts";
export { encodeDmar } from "./encode.ts";
export { DmarPlatform, topologyOf, type DeviceTlbPolicy, type DmarTopology } from "./platform.ts";
export { DEVICE_SCOPE, DMAR_BODY, STRUCTURES, structureName } from "./layouts.ts";
export type { AddressInput, Andd, Atsr, DmarInput, DmarOddities, DmarPathStep, DmarScope, DmarScopeInput, DmarStructure, DmarStructureInput, DmarTable, Drhd, RawStructure, Rhsa, Rmrr, Satc, Sidp } from "./table.ts";
export { decodeDmarUnits, type DmarUnit, type DmarUnits } from "./units.ts";
