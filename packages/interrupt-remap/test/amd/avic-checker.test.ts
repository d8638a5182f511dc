import { checkAvic, type AvicMistake } from "@iommu-lab/interrupt-remap/amd";
import { describe, expect, test } from "vitest";

describe("guest virtual APIC mode under every interleaving (AMD-Vi §2.2.5.3)", () => {
  test.each([1, 2, 3].flatMap((requests) => [0, 1, 2, 3].map((blocks) => ({ requests, blocks }))))("$requests requests, $blocks blocks: nothing is lost, nothing arrives twice", (scenario) => {
    const { violation, states, interleavings } = checkAvic(scenario);
    expect(violation).toBeUndefined();
    expect(interleavings).toBeGreaterThanOrEqual(scenario.requests);
    expect(states).toBeGreaterThan(3 * scenario.requests);
  });
  test.each<{ mistake: AvicMistake; rule: RegExp; last: RegExp; steps: number }>([
    { mistake: "decide-before-set", rule: /No interrupt is lost/, last: /doorbell arrives|finds IRR empty/, steps: 6 },
    { mistake: "stale-entry", rule: /No interrupt is lost/, last: /doorbell arrives|finds IRR empty/, steps: 6 },
    { mistake: "check-before-clear", rule: /No interrupt is lost/, last: /clears IsRun|doorbell arrives/, steps: 6 },
  ])("$mistake loses an interrupt around a block", ({ mistake, rule, last, steps }) => {
    const { violation } = checkAvic({ requests: 1, blocks: 1, mistakes: [mistake] });
    expect(violation?.rule).toMatch(rule);
    expect(violation?.schedule.at(-1)).toMatch(last);
    expect(violation?.schedule.length).toBe(steps);
    expect(checkAvic({ requests: 1, blocks: 0, mistakes: [mistake] }).violation).toBeUndefined();
  });
  test("entering without a look at IRR loses what came while the guest was out", () => {
    expect(checkAvic({ requests: 1, blocks: 1, mistakes: ["no-entry-check"] }).violation?.rule).toMatch(/lost/);
  });
  test("an update that is not locked loses or repeats an interrupt of another device", () => {
    expect(checkAvic({ requests: 2, mistakes: ["unlocked-update"] }).violation?.rule).toMatch(/lost|twice/);
    expect(checkAvic({ requests: 1, mistakes: ["unlocked-update"] }).violation).toBeUndefined();
  });
  test.each([{ requests: 0 }, { requests: 4 }, { requests: 1.5 }, { requests: 1, blocks: 4 }, { requests: 1, blocks: -1 }])("$requests requests, $blocks blocks are refused", (scenario) => {
    expect(() => checkAvic(scenario)).toThrow(RangeError);
  });
});
