export { predictAcsControl, type AcsPredictionOptions } from "./acs-prediction.ts";
export { AcsBit, acsBitNames, isIntelPchRootPort, isIntelSptRootPort, ISOLATION_BITS, judgeAcs, type AcsVerdict } from "./acs-rules.ts";
export { PortType, type AcsFacts, type FunctionFacts } from "./facts.ts";
export { computeIsolationGroups, type IsolationGroup, type IsolationGroups, type UnknownFunction } from "./isolation-groups.ts";
export { kernelVersion, type AcsDeviceMatch, type AcsOverride, type AcsParameter, type GroupingPolicy } from "./policy.ts";
export { idKey } from "./quirk-table.ts";
export { withoutCause } from "./what-if.ts";
export type { Evidence, MergeReason, MergeRule } from "./reason.ts";
