export { compareWithBaseline, type BaselineChange } from "./baseline.ts";
export { diagnose, UnknownDeviceError, type DeviceDiagnosis, type DiagnoseOptions, type Diagnosis, type RepeatedEvent } from "./diagnose.ts";
export type { GuestAddress, GuestDevice, GuestDomain, GuestIommu } from "./guest-domain.ts";
export type { DoctorEvidence, RuleResult, RuleStatus, Severity } from "./rule.ts";
export { RULES } from "./rules.ts";
export type { Verdict } from "./verdict.ts";
export { explainLog, LOG_FORMATS, type LogEvent, type LogFormat, type LogLevel, type LogMeaning } from "../log/index.ts";
export { DomainXmlError, looksLikeDomainXml, parseDomainXml } from "./domain-xml.ts";
export { looksLikeQemuCommand, parseQemuCommand } from "./qemu-command.ts";
