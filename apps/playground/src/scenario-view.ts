import type { Assertion, ModelledTimes, Plain, Scenario, ScenarioFault, ScenarioRun } from "@iommu-lab/hypervisor/scenarios";
import { element } from "./element.ts";
import type { Route } from "./route.ts";

type RunRoute = Extract<Route, { readonly view: "run" }>;

const shown = (value: Plain): string => (typeof value === "string" ? value : JSON.stringify(value));

const table = (caption: string, heads: readonly string[], rows: readonly (readonly string[])[]): HTMLElement =>
  element("table", [
    element("caption", caption),
    element("thead", [element("tr", heads.map((head) => { const cell = element("th", head); cell.scope = "col"; return cell; }))]),
    element("tbody", rows.map((row) => element("tr", row.map((text) => element("td", text))))),
  ]);

const labelled = (text: string, control: HTMLElement): HTMLElement => element("label", [element("span", text), control]);

const choice = (name: string, options: readonly (readonly [value: string, text: string])[], value: string): HTMLSelectElement => {
  const select = element("select", options.map(([each, text]) => {
    const option = element("option", text);
    option.value = each;
    option.selected = each === value;
    return option;
  }));
  select.name = name;
  return select;
};

/** Which scenario, on which IOMMU, with which seed, without which protections. Every change is a new address. */
const controls = (scenarios: readonly Scenario[], scenario: Scenario, route: RunRoute, go: (route: Route) => void): HTMLElement => {
  const which = choice("scenario", scenarios.map(({ name, title }) => [name, title]), scenario.name);
  const iommu = choice("iommu", [["intel", "Intel VT-d"], ["amd", "AMD-Vi"]], route.iommu);
  const seed = element("input", []);
  Object.assign(seed, { type: "number", name: "seed", min: "0", max: String(2 ** 32 - 1), value: String(route.seed) });
  const boxes = Object.keys(scenario.protections).map((name) => {
    const box = element("input", []);
    Object.assign(box, { type: "checkbox", name: "without", value: name, checked: !route.without.includes(name) });
    return box;
  });
  const form = element("form", [
    labelled("Scenario", which),
    labelled("IOMMU", iommu),
    labelled("Seed", seed),
    element("fieldset", [element("legend", "Protections in place"), ...boxes.map((box) => labelled(box.value, box))]),
  ]);
  form.addEventListener("change", () => {
    const other = which.value !== scenario.name;
    go({ view: "run", scenario: which.value, iommu: iommu.value === "amd" ? "amd" : "intel", seed: Math.max(0, Math.floor(Number(seed.value) || 0)), without: other ? [] : boxes.filter(({ checked }) => !checked).map(({ value }) => value) });
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); });
  return form;
};

const assertionRow = ({ id, protected: safe, expected, actual, ok }: Assertion): string[] => [ok ? "holds" : "does not hold", safe ? "with protection" : "without protection", id, shown(expected), shown(actual)];
const faultRow = ({ requester, access, address, code, text, machine }: ScenarioFault): string[] => [requester, access, address, code, text, machine];

const times = (modelled: ModelledTimes | undefined): HTMLElement[] =>
  modelled === undefined
    ? []
    : [table(`Time under the cost model "${modelled.model}" (${Object.entries(modelled.parameters).map(([name, value]) => `${name} ${value} ns`).join(", ")})`, ["What", "Nanoseconds"], Object.entries(modelled.values).map(([name, value]) => [name, String(value)]))];

/** A scenario as a page: its controls, its story, what held, the faults and the counts. */
export const scenarioView = (scenarios: readonly Scenario[], scenario: Scenario, run: ScenarioRun, route: RunRoute, go: (route: Route) => void): HTMLElement => {
  const { result, story } = run;
  const failed = result.assertions.filter(({ ok }) => !ok).length;
  const verdict = element("p", failed === 0 ? `All ${result.assertions.length} statements hold.` : `${failed} of ${result.assertions.length} statements do not hold.`, failed === 0 ? "holds" : "fails");
  verdict.setAttribute("role", "status");
  return element("article", [
    element("h1", scenario.title),
    element("p", scenario.about),
    controls(scenarios, scenario, route, go),
    element("h2", "What happens"),
    element("ol", story.map((line) => element("li", line)), "story"),
    verdict,
    table("What must hold", ["Verdict", "Side", "Statement", "Expected", "Seen"], result.assertions.map(assertionRow)),
    ...(result.faults.length > 0 ? [table("Faults that the IOMMU recorded", ["Requester", "Access", "Address", "Code", "In words", "Machine"], result.faults.map(faultRow))] : []),
    ...(Object.keys(result.counts).length > 0 ? [table("Counts", ["What", "How many"], Object.entries(result.counts).map(([name, value]) => [name, String(value)]))] : []),
    ...times(result.times),
    element("p", [element("span", "Result "), element("code", result.hash)], "hash"),
  ]);
};
