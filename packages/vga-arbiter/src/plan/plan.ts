/** What a plan comes to; "unknown" never counts as working. */
export type PlanVerdict = "works" | "works-with" | "does-not-work" | "unknown";

/** Why, with the rule that says so. */
export interface PlanReason {
  /** Stable name of the rule, such as "gop-needed". */
  readonly rule: string;
  /** A sentence. */
  readonly text: string;
}

/** The answer to "will this assignment show a picture?". */
export interface Plan {
  readonly verdict: PlanVerdict;
  /** Why; for "works-with" also what must be done. */
  readonly reasons: readonly PlanReason[];
  /** What must be done, as sentences; empty unless "works-with". */
  readonly conditions: readonly string[];
}

/** What software of which time: QEMU and Linux as of 2015, or of today. */
export type Era = "2015" | "modern";

/** Something that may not have been looked at. */
export type Known = boolean | "unknown";

const ORDER: readonly PlanVerdict[] = ["works", "works-with", "unknown", "does-not-work"];

/** The worse of two verdicts. */
export const worse = (a: PlanVerdict, b: PlanVerdict): PlanVerdict => (ORDER.indexOf(a) >= ORDER.indexOf(b) ? a : b);
