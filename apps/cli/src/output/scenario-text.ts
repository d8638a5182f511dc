import type { Assertion, ModelledTimes, Plain, Scenario, ScenarioFault, ScenarioRun } from "@iommu-lab/hypervisor/scenarios";
import { style } from "./style.ts";

const shown = (value: Plain): string => (typeof value === "string" ? value : JSON.stringify(value));

const assertionLine = ({ id, protected: safe, expected, actual, ok }: Assertion): string => {
  const mark = ok ? style("green", "PASS") : style("red", "FAIL");
  const side = safe ? "protected  " : "unprotected";
  return `  ${mark}  ${side}  ${id}: ${shown(actual)}${ok ? "" : `, expected ${shown(expected)}`}`;
};

const faultLine = ({ machine, requester, address, access, code, text }: ScenarioFault): string => `  ${requester} ${access} ${address} (${machine}): code ${code}, ${text}`;

const MOST_FAULTS = 8;

const faultLines = (faults: readonly ScenarioFault[]): string[] =>
  faults.length === 0 ? [] : ["", style("bold", "Faults that the IOMMU recorded"), ...faults.slice(0, MOST_FAULTS).map(faultLine), ...(faults.length > MOST_FAULTS ? [`  and ${faults.length - MOST_FAULTS} more (--json has them)`] : [])];

const timeLines = (times: ModelledTimes | undefined): string[] =>
  times === undefined
    ? []
    : ["", style("bold", `Time under the cost model "${times.model}"`), `  ${Object.entries(times.parameters).map(([name, value]) => `${name} ${value} ns`).join(", ")}`, ...Object.entries(times.values).map(([name, value]) => `  ${name}: ${value} ns`)];

const wrapped = (text: string, width = 96): string => {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].join("\n");
};

/** A run for people: the story, what held, the faults, the counts. */
export const scenarioText = (scenario: Scenario, { result, story }: ScenarioRun): string => {
  const failed = result.assertions.filter(({ ok }) => !ok).length;
  const counts = Object.entries(result.counts);
  return [
    style("bold", `${scenario.title} (${scenario.name}, ${result.iommu}, seed ${result.seed}${result.without ? `, without ${result.without.join(" and ")}` : ""})`),
    "",
    ...story.map((line) => wrapped(line)),
    "",
    style("bold", "What must hold"),
    ...result.assertions.map(assertionLine),
    ...faultLines(result.faults),
    ...(counts.length === 0 ? [] : ["", style("bold", "Counts"), ...counts.map(([name, value]) => `  ${name}: ${value}`)]),
    ...timeLines(result.times),
    "",
    `${failed === 0 ? `All ${result.assertions.length} hold.` : `${failed} of ${result.assertions.length} do not hold.`} Result ${result.hash.slice(0, 16)}`,
  ].join("\n");
};
