import type { RuleResult } from "./rule.ts";

/** What the answers come to, best first. "not-enough-data": nothing was found that stops it, but something that could was not seen. */
export type Verdict = "ready" | "warnings" | "errors" | "not-enough-data" | "blocked";

const ORDER: readonly Verdict[] = ["ready", "warnings", "errors", "not-enough-data", "blocked"];

const failed = (results: readonly RuleResult[], severity: RuleResult["severity"]): boolean => results.some((result) => result.status === "fail" && result.severity === severity);
const unseen = (results: readonly RuleResult[], severity: RuleResult["severity"]): boolean => results.some((result) => result.status === "unknown" && result.severity === severity && !result.optional);

/** The verdict by blockers: one is enough, and what could be one must have been seen. */
export const verdictOf = (results: readonly RuleResult[]): Verdict => {
  if (failed(results, "block")) return "blocked";
  if (unseen(results, "block")) return "not-enough-data";
  if (failed(results, "error")) return "errors";
  if (unseen(results, "error")) return "not-enough-data";
  return failed(results, "warning") ? "warnings" : "ready";
};

export const worst = (verdicts: readonly Verdict[]): Verdict => verdicts.reduce<Verdict>((a, b) => (ORDER.indexOf(a) >= ORDER.indexOf(b) ? a : b), "ready");
export const best = (verdicts: readonly Verdict[]): Verdict => verdicts.reduce<Verdict>((a, b) => (ORDER.indexOf(a) <= ORDER.indexOf(b) ? a : b), "blocked");
