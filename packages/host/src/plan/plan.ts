import type { FunctionAddress } from "@iommu-lab/pci-bus";
import type { Assumption } from "./request.ts";

/** A file of a plan. */
export interface PlanFile {
  /** Relative to the plan's folder. */
  readonly path: string;
  readonly text: string;
  /** Permission bits: 0o644, or 0o755 for what is run. */
  readonly mode: 0o644 | 0o755;
}

/** A rule of the doctor's that is not met. */
export interface PlanFinding {
  /** Stable name of the rule, such as "GRP-002". */
  readonly rule: string;
  /** What is the case and what to do, in sentences. */
  readonly text: string;
  /** dddd:bb:dd.f; absent for what concerns the machine. */
  readonly device?: string;
}

/** Something that the snapshot does not show and without which there is no plan. */
export interface MissingFact {
  /** What to give to `assume` when one knows better; absent where nothing can stand in for it. */
  readonly key?: Assumption;
  readonly text: string;
}

/** A plan: files to read, then to apply. */
export interface PlanResult {
  readonly kind: "plan";
  readonly files: readonly PlanFile[];
  /** All functions that the guest gets. */
  readonly functions: readonly FunctionAddress[];
  /** What the captured machine itself cannot do (HOST-014, HOST-015, PERM, MEM): heads the README. */
  readonly host: readonly PlanFinding[];
  /** What may go wrong with these functions. */
  readonly cautions: readonly PlanFinding[];
}

/** There is no plan: the functions cannot be assigned. */
export interface Refusal {
  readonly kind: "refusal";
  readonly blockers: readonly PlanFinding[];
}

/** There is no plan yet: too little is known. */
export interface NotEnoughData {
  readonly kind: "not-enough-data";
  readonly missing: readonly MissingFact[];
}

/** A function asked for is not in the snapshot. */
export interface UnknownFunction {
  readonly kind: "unknown-function";
  readonly address: FunctionAddress;
}
