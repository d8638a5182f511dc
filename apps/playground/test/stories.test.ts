import { runScenario, SCENARIOS } from "@iommu-lab/hypervisor/scenarios";
import { describe, expect, test } from "vitest";
import { storyIn } from "../src/text/stories.ts";
import { LANGUAGES } from "../src/text/words.ts";

const numbers = (text: string): string[] => text.match(/(?<![A-Za-z0-9])(?:0x[0-9a-f_]+|[0-9]+(?:[:.][0-9]+)*)/g) ?? [];

describe("what scenarios say", () => {
  test.each(SCENARIOS)("$name is told in every language, with the same numbers, with each of its protections and without", (scenario) => {
    const withouts = [[], ...(scenario.long ? [] : Object.keys(scenario.protections).map((name) => [name]))];
    const told = [scenario.about, ...withouts.flatMap((without) => [1, 2].flatMap((seed) => (scenario.long && seed > 1 ? [] : runScenario(scenario, { seed, without }).story)))];
    for (const language of LANGUAGES) expect(told.filter((text) => storyIn(text, language) === undefined), language).toEqual([]);
    for (const text of told) for (const language of LANGUAGES) expect(numbers(storyIn(text, language) ?? ""), text).toEqual(numbers(text));
  }, 60_000);
});
