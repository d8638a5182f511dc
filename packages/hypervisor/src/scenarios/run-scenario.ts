import { hashOf } from "./canonical.ts";
import type { Scenario, ScenarioResult } from "./scenario.ts";
import { Stage, type Audience } from "./stage.ts";

/** How to run a scenario. */
export interface RunOptions extends Audience {
  readonly iommu?: "intel" | "amd";
  /** Default 1. */
  readonly seed?: number;
  /** Protections to take away, to see what they were for. */
  readonly without?: readonly string[];
}

/** A result with the story that led to it. */
export interface ScenarioRun {
  readonly result: ScenarioResult;
  /** Lines for people; the same for both vendors. */
  readonly story: readonly string[];
}

/** Runs a scenario: the same options give the same result everywhere. @throws RangeError when it has no such protection */
export const runScenario = (scenario: Scenario, options: RunOptions = {}): ScenarioRun => {
  const { iommu = "intel", seed = 1, without = [] } = options;
  const unknown = without.find((each) => !(each in scenario.protections));
  if (unknown !== undefined) throw new RangeError(`"${unknown}" is no protection of ${scenario.name}; it has ${Object.keys(scenario.protections).join(", ")}.`);
  const stage = new Stage(iommu, seed, new Set(without), options);
  scenario.run(stage);
  const body = {
    scenario: scenario.name,
    iommu,
    seed,
    assertions: stage.assertions,
    counts: stage.counts,
    faults: stage.faults(),
    ...(stage.times ? { times: stage.times } : {}),
    ...(without.length > 0 ? { without: without.toSorted() } : {}),
  };
  return { result: { ...body, hash: hashOf(body) }, story: stage.story };
};
