export { compareWithBaseline, type BaselineChange } from "./baseline.ts";
export { diagnose, UnknownDeviceError, type DeviceDiagnosis, type DiagnoseOptions, type Diagnosis } from "./diagnose.ts";
export type { GuestDevice, GuestDomain } from "./guest-domain.ts";
export type { DoctorEvidence, RuleResult, RuleStatus, Severity } from "./rule.ts";
export { RULES } from "./rules.ts";
export type { Verdict } from "./verdict.ts";
