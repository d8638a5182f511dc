import { runScenario, SCENARIOS, scenarioNamed, type Scenario } from "@iommu-lab/hypervisor/scenarios";
import { describe, expect, test } from "vitest";
import type { Route } from "../src/route.ts";
import { scenarioView } from "../src/scenario-view.ts";

const ROUTE = { view: "run", scenario: "ats-stale", iommu: "intel", seed: 1, without: [] } as const;
const show = (scenario: Scenario, went: Route[] = [], without: readonly string[] = []): HTMLElement => {
  const view = scenarioView(SCENARIOS, scenario, runScenario(scenario, { without }), { ...ROUTE, scenario: scenario.name, without }, (route) => went.push(route));
  document.body.replaceChildren(view);
  return view;
};
const scenario = scenarioNamed("ats-stale") as Scenario; // it is there: the first test would fail

describe("a scenario's view", () => {
  test("has every line of the story and every statement, with what was expected and seen", () => {
    const { story, result } = runScenario(scenario);
    const view = show(scenario);
    expect([...view.querySelectorAll(".story li")].map(({ textContent }) => textContent)).toEqual(story);
    expect(view.querySelectorAll("table:first-of-type tbody tr")).toHaveLength(result.assertions.length);
    expect(view.querySelector(".hash code")?.textContent).toBe(result.hash);
    expect(view.querySelector("[role=status]")?.textContent).toBe(`All ${result.assertions.length} statements hold.`);
  });
  test("says what does not hold when a protection is taken away", () => {
    expect(show(scenario, [], ["device-tlb-invalidation"]).querySelector("[role=status]")?.textContent).toBe("1 of 4 statements do not hold.");
  });
  test("every control has a name, and a change is a new address", () => {
    const went: Route[] = [];
    const view = show(scenario, went);
    for (const control of view.querySelectorAll("select, input")) expect(control.closest("label")?.textContent).not.toBe("");
    const box = view.querySelector<HTMLInputElement>("[name=without]");
    box?.click();
    expect(went).toEqual([{ ...ROUTE, without: ["device-tlb-invalidation"] }]);
    const iommu = view.querySelector<HTMLSelectElement>("[name=iommu]");
    if (iommu) iommu.value = "amd";
    iommu?.dispatchEvent(new Event("change", { bubbles: true }));
    expect(went.at(-1)).toMatchObject({ iommu: "amd" });
  });
});
