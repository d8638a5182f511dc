export { SCENARIOS, scenarioNamed } from "./catalogue.ts";
export { readRun, RunError, type RecordedRun } from "./read-run.ts";
export { RUN_FORMAT, runLineSchema, type RunEvent } from "./run-schema.ts";
export { CARD, laboratory, slot } from "./laboratory.ts";
export type { Stage } from "./stage.ts";
export { runScenario, type RunOptions, type ScenarioRun } from "./run-scenario.ts";
export type { Assertion, ModelledTimes, Plain, Scenario, ScenarioFault, ScenarioResult } from "./scenario.ts";
