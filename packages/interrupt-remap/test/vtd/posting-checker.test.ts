import { describe, expect, test } from "vitest";
import { checkPosting, exploreInterleavings, type PostingScenario } from "../../src/vtd/index.ts";

describe("every interleaving of posters, processor and scheduler (VT-d §5.2)", () => {
  const three = [{ vector: 0x41 }, { vector: 0x42, urgent: true }, { vector: 0x91 }];
  test.each([
    { switches: [], states: 196 },
    { switches: ["preempt"], states: 1489 },
    { switches: ["block"], states: 1487 },
    { switches: ["preempt", "block"], states: 4628 },
    { switches: ["block", "preempt"], states: 4200 },
    { switches: ["block", "block", "preempt"], states: 7078 },
  ] as const)("3 requests, one urgent, in two words of PIR; scheduler: $switches", ({ switches, states }) => {
    const found = checkPosting({ requests: three, switches });
    expect(found.violation).toBeUndefined();
    expect(found.states).toBe(states);
    expect(found.interleavings).toBeGreaterThan(found.states);
  });
  test("a single request in the guest has one interleaving", () => {
    expect(checkPosting({ requests: [{ vector: 0x41 }] })).toEqual({ states: 6, interleavings: 1, violation: undefined });
  });
});

describe("mistakes are found, with a shortest schedule", () => {
  test.each<{ scenario: PostingScenario; rule: string; schedule: string[] }>([
    {
      scenario: { requests: [{ vector: 0x41 }, { vector: 0x42 }], mistakes: ["unlocked-update"] },
      rule: "No notification is sent while one is outstanding (ON=1).",
      schedule: ["device of vector 41h: reads the descriptor", "device of vector 42h: reads the descriptor", "device of vector 41h: writes the descriptor back with its bit in PIR and ON", "device of vector 42h: writes the descriptor back with its bit in PIR and ON"],
    },
    {
      scenario: { requests: [{ vector: 0x41 }], switches: ["block"], mistakes: ["unlocked-update"] },
      rule: "No interrupt is lost: vector 41h never reaches the guest, which is blocked with nothing left to happen.",
      schedule: [
        "device of vector 41h: reads the descriptor",
        "scheduler: the guest leaves its processor (block)",
        "hypervisor: sets NV to the wake-up vector",
        "hypervisor: reads ON=0",
        "device of vector 41h: writes the descriptor back with its bit in PIR and ON",
        "device of vector 41h: its active notification arrives at processor 0",
      ],
    },
    {
      scenario: { requests: [{ vector: 0x41 }, { vector: 0x42 }], mistakes: ["notify-always"] },
      rule: "No notification is sent while one is outstanding (ON=1).",
      schedule: ["device of vector 41h: sets its bit in PIR and ON", "device of vector 42h: sets its bit in PIR and ON"],
    },
    {
      scenario: { requests: [{ vector: 0x41 }, { vector: 0x42 }], mistakes: ["clear-on-last"] },
      rule: "No interrupt is lost: vector 42h never reaches the guest, which is running with nothing left to happen.",
      schedule: [
        "device of vector 41h: sets its bit in PIR and ON",
        "device of vector 41h: its active notification arrives at processor 0",
        "processor: takes the notification",
        "processor: takes 41h from word 1 of PIR",
        "device of vector 42h: sets its bit in PIR",
        "processor: clears ON",
      ],
    },
    {
      scenario: { requests: [{ vector: 0x41 }], switches: ["preempt"], mistakes: ["skip-pir-check"] },
      rule: "No interrupt is lost: vector 41h never reaches the guest, which is running with nothing left to happen.",
      schedule: ["scheduler: the guest leaves its processor (preempt)", "scheduler: sets SN", "device of vector 41h: sets its bit in PIR", "scheduler: sets NDST to processor 1, NV to the active vector, clears SN", "hypervisor: reads ON=0, enters the guest"],
    },
    {
      scenario: { requests: [{ vector: 0x41 }], switches: ["block"], mistakes: ["skip-on-check"] },
      rule: "No interrupt is lost: vector 41h never reaches the guest, which is blocked with nothing left to happen.",
      schedule: ["device of vector 41h: sets its bit in PIR and ON", "device of vector 41h: its active notification arrives at processor 0", "scheduler: the guest leaves its processor (block)", "hypervisor: sets NV to the wake-up vector"],
    },
  ])("$scenario.mistakes, $scenario.switches", ({ scenario, rule, schedule }) => {
    expect(checkPosting(scenario).violation).toEqual({ rule, schedule });
  });
  test("an urgent request needs no look at PIR after scheduling in", () => {
    expect(checkPosting({ requests: [{ vector: 0x41, urgent: true }], switches: ["preempt"], mistakes: ["skip-pir-check"] }).violation).toBeUndefined();
  });
  test("each switch by itself does not show the other's mistake", () => {
    expect(checkPosting({ requests: [{ vector: 0x41 }], switches: ["block"], mistakes: ["skip-pir-check"] }).violation).toBeUndefined();
    expect(checkPosting({ requests: [{ vector: 0x41 }], switches: ["preempt"], mistakes: ["skip-on-check"] }).violation).toBeUndefined();
  });
});

describe("scenarios", () => {
  const request = { vector: 0x41 };
  test.each<[PostingScenario, string]>([
    [{ requests: [] }, "A scenario has 1 to 3 requests, not 0."],
    [{ requests: [{ vector: 1 }, { vector: 2 }, { vector: 3 }, { vector: 4 }] }, "A scenario has 1 to 3 requests, not 4."],
    [{ requests: [request, request] }, "Two requests have one vector"],
    [{ requests: [{ vector: 256 }] }, "Interrupt vector 256 is impossible"],
    [{ requests: [request], switches: ["block", "block", "block", "block"] }, "at most 3 switches, not 4"],
  ])("%j is refused", (scenario, message) => {
    expect(() => checkPosting(scenario)).toThrow(message);
  });
});

describe("the explorer", () => {
  /** Each counter takes `length` steps. */
  const counters = (length: number, count: number) => ({
    initial: Array.from({ length: count }, () => 0),
    key: (state: readonly number[]) => state.join(),
    steps: (state: readonly number[]) => state.flatMap((value, who) => (value < length ? [{ text: `${who}`, next: state.map((old, at) => (at === who ? old + 1 : old)) }] : [])),
    violationAtEnd: () => undefined,
  });
  test.each([
    [3, 2, 16, 20],
    [2, 3, 27, 90],
    [4, 3, 125, 34_650],
  ])("counts all interleavings: %d steps each of %d actors", (length, count, states, interleavings) => {
    expect(exploreInterleavings(counters(length, count))).toEqual({ states, interleavings, violation: undefined });
  });
  test("reports a protocol that can go on for ever", () => {
    const back = { initial: 0, key: String, steps: (at: number) => [{ text: `from ${at}`, next: at === 0 ? 1 : at === 1 ? 2 : 1 }], violationAtEnd: () => undefined };
    expect(exploreInterleavings(back).violation).toEqual({ rule: "The protocol must come to an end.", schedule: ["from 0"] });
  });
  test("refuses more states than the limit", () => {
    expect(() => exploreInterleavings(counters(9, 3), 100)).toThrow("The protocol has more than 100 states");
  });
});
