export { SCENARIOS, scenarioNamed } from "./catalogue.ts";
export { RUN_FORMAT, type RunEvent } from "./run-events.ts";
export { runScenario, type RunOptions, type ScenarioRun } from "./run-scenario.ts";
export type { Assertion, ModelledTimes, Plain, Scenario, ScenarioFault, ScenarioResult } from "./scenario.ts";
