import type { MissingFact, PlanFinding } from "./plan.ts";

/** What stands against a plan. */
export interface Judgement {
  readonly blockers: readonly PlanFinding[];
  readonly missing: readonly MissingFact[];
}

export const NOTHING: Judgement = { blockers: [], missing: [] };

export const blocked = (rule: string, text: string, device?: string): Judgement => ({ blockers: [{ rule, text, ...(device === undefined ? {} : { device }) }], missing: [] });

export const lacking = (key: MissingFact["key"], text: string): Judgement => ({ blockers: [], missing: [{ text, ...(key === undefined ? {} : { key }) }] });

export const together = (judgements: readonly Judgement[]): Judgement => ({ blockers: judgements.flatMap(({ blockers }) => blockers), missing: judgements.flatMap(({ missing }) => missing) });
