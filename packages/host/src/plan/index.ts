export { makePlan } from "./make-plan.ts";
export type { MissingFact, NotEnoughData, PlanFile, PlanFinding, PlanResult, Refusal, UnknownFunction } from "./plan.ts";
export { ASSUMPTIONS, DISTROS, GUEST_IOMMUS, GUESTS, parseLibvirtVersion, TARGETS, type Assumption, type Distro, type Guest, type GuestIommu, type LibvirtVersion, type PlanRequest, type Target } from "./request.ts";
