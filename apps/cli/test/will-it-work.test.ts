import { runScenario } from "@iommu-lab/hypervisor/scenarios";
import { describe, expect, test } from "vitest";
import { willItWork } from "../src/scenarios/will-it-work.ts";

const failed = (options: Parameters<typeof runScenario>[1]): string[] => runScenario(willItWork, options).result.assertions.filter(({ ok }) => !ok).map(({ id }) => id).toSorted();

describe("will-it-work", () => {
  test.each(["intel", "amd"] as const)("everything it states holds, on %s", (iommu) => {
    expect(failed({ iommu })).toEqual([]);
  });
  test("both vendors tell the same story", () => {
    const [intel, amd] = (["intel", "amd"] as const).map((iommu) => runScenario(willItWork, { iommu }));
    expect([amd?.story, amd?.result.assertions]).toEqual([intel?.story, intel?.result.assertions]);
  });
  test.each(Object.entries(willItWork.protections))("without %s exactly what it protects fails", (name, fails) => {
    expect(failed({ without: [name] })).toEqual(fails.toSorted());
  });
});
