import { readRun, scenarioNamed } from "@iommu-lab/hypervisor/scenarios";
import type { PlayedRun } from "./play.ts";

/** A run's file as a played run: decisions are not in files. @throws RunError that names the line */
export const openRun = (text: string): PlayedRun => {
  const { events, result } = readRun(text);
  const scenario = scenarioNamed(result.scenario);
  return {
    choice: { scenario: result.scenario, iommu: result.iommu, seed: result.seed, without: result.without ?? [] },
    title: scenario?.title ?? result.scenario,
    about: scenario?.about ?? "",
    protections: scenario ? Object.keys(scenario.protections) : [],
    events,
    leftOut: 0,
    decisions: new Map(),
    story: events.flatMap((event) => (event.kind === "say" ? [event.text] : [])),
    result,
  };
};
