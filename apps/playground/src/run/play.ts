import { runScenario, scenarioNamed, SCENARIOS, type RunEvent, type Scenario, type ScenarioResult } from "@iommu-lab/hypervisor/scenarios";
import type { ExplanationSink, ExplanationStep } from "@iommu-lab/pci-bus";
import type { RunChoice } from "../state/app-state.ts";

/** A run that has been played to its end: events in order, and what each request went through. Plain data. */
export interface PlayedRun {
  readonly choice: RunChoice;
  readonly title: string;
  readonly about: string;
  /** Every protection that the scenario knows. */
  readonly protections: readonly string[];
  readonly events: readonly RunEvent[];
  /** Hops, requests, messages and exits past the first tens of thousands are counted, not kept. */
  readonly leftOut: number;
  /** The IOMMU's decision for events of kind "dma" and "interrupt", by the event's index. */
  readonly decisions: ReadonlyMap<number, readonly ExplanationStep[]>;
  readonly story: readonly string[];
  readonly result: ScenarioResult;
}

/** Steps of more decisions than this are not kept: the longest scenarios make hundreds of thousands. */
const MOST_DECISIONS = 5_000;

/** The name of runs that experiments make. */
export const EXPERIMENT = "experiment";

/** So many events are kept whole; after them only what is rare. */
const MOST_EVENTS = 50_000;
const FREQUENT: ReadonlySet<RunEvent["kind"]> = new Set(["hop", "dma", "interrupt", "exit", "map", "unmap"]);

/** Plays a run, with an ear at every IOMMU. What the scenario does not know of `without` is left out. */
export const playRun = (choice: RunChoice): PlayedRun => {
  if (choice.scenario === EXPERIMENT) throw new Error("An experiment's run is not in the address, its text is: open the experiments and run it again.");
  return playScenario(scenarioNamed(choice.scenario) ?? SCENARIOS[0]!, choice);
};

/** Plays any scenario, as `playRun` does. */
export const playScenario = (scenario: Scenario, choice: RunChoice): PlayedRun => {
  const without = choice.without.filter((name) => name in scenario.protections);
  const events: RunEvent[] = [];
  const decisions = new Map<number, readonly ExplanationStep[]>();
  let leftOut = 0;
  let steps: ExplanationStep[] = [];
  const ear: ExplanationSink = { step: (step: ExplanationStep): void => { steps.push(step); } };
  const listening = (): ExplanationSink | undefined => (decisions.size < MOST_DECISIONS ? ear : undefined);
  const { result, story } = runScenario(scenario, {
    iommu: choice.iommu,
    seed: choice.seed,
    without,
    event: (event) => {
      if (event.kind === "dma" || event.kind === "interrupt") {
        if (steps.length > 0 && events.length < MOST_EVENTS) decisions.set(events.length, steps);
        steps = [];
      }
      if (events.length >= MOST_EVENTS && FREQUENT.has(event.kind)) leftOut++;
      else events.push(event);
    },
    machine: () => ({
      iommu: ({ iommu }) => ({
        registers: iommu.registers,
        translate: (request, out) => { iommu.translate(request, out, listening()); },
        remapInterrupt: (message, sink, out) => { iommu.remapInterrupt(message, sink, out, listening()); },
        pageRequest: (request) => { iommu.pageRequest(request); },
        connect: (port) => { iommu.connect(port); },
        reset: (kind) => { iommu.reset(kind); },
      }),
    }),
  });
  return { choice: { ...choice, scenario: scenario.name, without }, title: scenario.title, about: scenario.about, protections: Object.keys(scenario.protections), events, leftOut, decisions, story, result };
};
