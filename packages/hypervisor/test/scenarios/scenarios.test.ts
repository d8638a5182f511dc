import { describe, expect, test } from "vitest";
import { runScenario, SCENARIOS, type ScenarioResult } from "../../src/scenarios/index.ts";

const VENDORS = ["intel", "amd"] as const;
const failed = ({ assertions }: ScenarioResult): string[] => assertions.filter(({ ok }) => !ok).map(({ id }) => id).toSorted();
const seedsFor = (long: boolean): number[] => (process.env.IOMMU_LAB_FULL ? Array.from({ length: long ? 5 : 30 }, (_, i) => i + 1) : long ? [1] : [1, 2 + (Number(process.env.IOMMU_LAB_SEED ?? 0) % 50)]);

describe.each(SCENARIOS.map((scenario) => [scenario.name, scenario] as const))("%s", (_name, scenario) => {
  test.each(VENDORS)("everything it states holds, for many seeds, on %s", (iommu) => {
    for (const seed of seedsFor(scenario.long ?? false)) expect(failed(runScenario(scenario, { iommu, seed }).result), `seed ${seed}`).toEqual([]);
  });

  test("both vendors tell the same story, with the same counts", () => {
    const [intel, amd] = VENDORS.map((iommu) => runScenario(scenario, { iommu, seed: 3 }));
    expect(amd?.story).toEqual(intel?.story);
    expect(amd?.result.assertions).toEqual(intel?.result.assertions);
  });

  test("the same seed gives the same result", () => {
    expect(runScenario(scenario, { seed: 5 }).result).toEqual(runScenario(scenario, { seed: 5 }).result);
  });

  test("it shows the damage without protection beside the safe side", () => {
    const { assertions } = runScenario(scenario).result;
    expect(new Set(assertions.map((each) => each.protected))).toEqual(new Set([true, false]));
    expect(new Set(assertions.map(({ id }) => id)).size).toBe(assertions.length);
  });

  const protections = Object.entries(scenario.protections);
  test.each(protections.flatMap(([name, fails]) => VENDORS.map((iommu) => [name, iommu, fails] as const)))("without %s exactly what it protects fails, on %s", (name, iommu, fails) => {
    expect(failed(runScenario(scenario, { iommu, without: [name] }).result)).toEqual(fails.toSorted());
  });

  test("counts are whole numbers", () => {
    const { counts, times } = runScenario(scenario).result;
    for (const value of [...Object.values(counts), ...Object.values(times?.values ?? {})]) expect(Number.isSafeInteger(value)).toBe(true);
  });
});

describe("runScenario", () => {
  test("a protection that the scenario has not is refused", () => {
    const [first] = SCENARIOS;
    expect(() => first && runScenario(first, { without: ["prayer"] })).toThrow(/"prayer" is no protection of/);
  });
});
