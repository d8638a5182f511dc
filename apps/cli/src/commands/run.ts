import { runScenario, SCENARIOS, scenarioNamed, type RunEvent, type Scenario, type ScenarioRun } from "@iommu-lab/hypervisor/scenarios";
import { CommandError, ExitCode } from "../exit-code.ts";
import { MachineTraceFiles } from "../output/machine-trace-files.ts";
import { RunTraceFile } from "../output/run-trace-file.ts";
import { scenarioText } from "../output/scenario-text.ts";
import { print, printJson, style, warn } from "../output/style.ts";

/** Options of `iommu run` as the parser gives them. */
export interface RunCommandOptions {
  readonly iommu: string;
  readonly seed: string;
  readonly without: readonly string[];
  readonly trace: string | undefined;
  readonly machineTrace: string | undefined;
  readonly json: boolean;
}

const vendorOf = (text: string): "intel" | "amd" => {
  if (text === "intel" || text === "amd") return text;
  throw new CommandError(ExitCode.BadInput, `--iommu takes intel or amd, not "${text}".`);
};

const seedOf = (text: string): number => {
  const seed = Number(text);
  if (!/^\d{1,10}$/.test(text) || seed >= 2 ** 32) throw new CommandError(ExitCode.BadInput, `--seed takes a whole number from 0 to ${2 ** 32 - 1}, not "${text}".`);
  return seed;
};

const scenarioOf = (name: string): Scenario => {
  const found = scenarioNamed(name);
  if (!found) throw new CommandError(ExitCode.BadInput, `there is no scenario "${name}"; iommu scenarios lists them.`);
  return found;
};

const checkProtections = (scenario: Scenario, without: readonly string[]): void => {
  const unknown = without.find((each) => !(each in scenario.protections));
  if (unknown !== undefined) throw new CommandError(ExitCode.BadInput, `"${unknown}" is no protection of ${scenario.name}; it has ${Object.keys(scenario.protections).join(", ")}.`);
};

/** `iommu scenarios`: what there is to run. */
export const runScenarios = ({ json }: { readonly json: boolean }): ExitCode => {
  if (json) {
    printJson(SCENARIOS.map(({ name, title, about, covers, protections }) => ({ name, title, about, covers, protections: Object.keys(protections) })));
    return ExitCode.Fine;
  }
  const width = Math.max(...SCENARIOS.map(({ name }) => name.length));
  for (const { name, title } of SCENARIOS) print(`${style("bold", name.padEnd(width))}  ${title}`);
  print("\niommu run NAME tells one; --iommu amd tells it on AMD's IOMMU, --without PROTECTION shows what that was for.");
  return ExitCode.Fine;
};

/** `iommu run`: one scenario, its story, and whether everything it states holds. */
export const runRun = (name: string, options: RunCommandOptions): ExitCode => {
  const scenario = scenarioOf(name);
  const iommu = vendorOf(options.iommu);
  const seed = seedOf(options.seed);
  checkProtections(scenario, options.without);
  const file = options.trace === undefined ? undefined : new RunTraceFile(options.trace);
  const traces = options.machineTrace === undefined ? undefined : new MachineTraceFiles(options.machineTrace);
  const progress = scenario.long && process.stderr.isTTY ? (done: number, of: number): void => void process.stderr.write(`\r${name}: ${done} of ${of}`) : undefined;
  let run: ScenarioRun;
  try {
    run = runScenario(scenario, { iommu, seed, without: options.without, ...(file ? { event: (event: RunEvent) => { file.add(event); } } : {}), ...(traces ? { machine: () => traces.options } : {}), ...(progress ? { progress } : {}) });
  } finally {
    if (progress) process.stderr.write("\r\u001b[K");
  }
  file?.close(run.result);
  const written = traces?.close() ?? [];
  if (traces && written.length === 0) warn("no machine of this run has an IOMMU: there is nothing to trace.");
  if (options.json) printJson(run.result);
  else print([scenarioText(scenario, run), ...(written.length > 0 ? ["", `Machine traces, one for each IOMMU: ${written.join(", ")}`] : [])].join("\n"));
  return run.result.assertions.every(({ ok }) => ok) ? ExitCode.Fine : ExitCode.Finding;
};
