import { scenarioNamed } from "@iommu-lab/hypervisor/scenarios";
import { describe, expect, test } from "vitest";
import { playRun } from "../src/run/play.ts";
import { LANGUAGES } from "../src/text/words.ts";
import { LABS } from "../src/views/attacks/labs.ts";

describe("attack labs", () => {
  test.each(LABS)("$id: the defence is the scenario's, the attack succeeds without it and only then, and the attacker is seen", ({ scenario, protection, attacker, title, attack, defence, question, answer }) => {
    expect(Object.keys(scenarioNamed(scenario)?.protections ?? {})).toContain(protection);
    const choice = { scenario, iommu: "intel", seed: 1 } as const;
    const [safe, open] = [playRun({ ...choice, without: [] }), playRun({ ...choice, without: [protection] })];
    expect(safe.result.assertions.every(({ ok }) => ok)).toBe(true);
    expect(open.result.assertions.some(({ ok }) => !ok)).toBe(true);
    expect(safe.events.some((event) => (event.kind === "dma" || event.kind === "interrupt") && event.from === attacker)).toBe(true);
    for (const entry of [title, attack, defence, question, answer]) expect(entry.filter((text) => text.trim() !== "")).toHaveLength(LANGUAGES.length);
  });
});
