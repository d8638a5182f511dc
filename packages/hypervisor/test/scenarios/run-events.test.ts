import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readRun, RUN_FORMAT, runScenario, RunError, scenarioNamed, SCENARIOS, type RunEvent, type Scenario, type ScenarioResult } from "../../src/scenarios/index.ts";
import { CARD, laboratory, slot } from "../../src/scenarios/laboratory.ts";
import { VirtualMachine } from "../../src/vm/index.ts";

const record = (scenario: Scenario, iommu: "intel" | "amd" = "intel"): { readonly events: RunEvent[]; readonly result: ScenarioResult; readonly lines: string[] } => {
  const events: RunEvent[] = [];
  const { result } = runScenario(scenario, { iommu, event: (event) => events.push(event) });
  return { events, result, lines: [RUN_FORMAT, ...events, { kind: "result", result }].map((line) => JSON.stringify(line)) };
};

/** A machine with two cards behind a port each. */
const story = (run: (parts: { readonly machine: ReturnType<Parameters<Scenario["run"]>[0]["machine"]> }) => void): Scenario => ({
  name: "story", title: "A story", about: "Made for a test.", covers: [], protections: {},
  run: (stage) => { run({ machine: stage.machine("one", laboratory({ functions: [slot("01.0", 1, [CARD]), slot("02.0", 2, [CARD])] })) }); },
});
const of = <K extends RunEvent["kind"]>(events: readonly RunEvent[], kind: K): Extract<RunEvent, { kind: K }>[] => events.filter((event): event is Extract<RunEvent, { kind: K }> => event.kind === kind);
const [CARD_AT, OTHER] = ["0000:01:00.0", "0000:02:00.0"];
const FRAME = 0x3000_0000;

describe.each(["intel", "amd"] as const)("events of a run on %s", (iommu) => {
  test("memory requests: who, where, how long, how they ended and where they led", () => {
    const { events } = record(story(({ machine }) => {
      machine.kernel.defaultDomainOf(machine.at(CARD_AT).address)?.map(0x5000, FRAME, 0x2000, 1);
      const { port } = machine.at(CARD_AT);
      port.dmaRead(0x5ffe, new Uint8Array(4));
      port.dmaWrite(0x5000, new Uint8Array(8));
    }), iommu);
    expect(of(events, "dma")).toMatchObject([
      { machine: 0, from: CARD_AT, iova: "0x5ffe", length: 2, write: false, completion: "successful-completion", hpa: "0x30000ffe" },
      { from: CARD_AT, iova: "0x6000", length: 2, hpa: "0x30001000" },
      { iova: "0x5000", length: 8, write: true, completion: expect.not.stringMatching("successful") as unknown, hpa: null },
    ]);
  });

  test("interrupts: the message and what became of it", () => {
    const { events } = record(story(({ machine }) => {
      const { message } = machine.kernel.requestInterrupt(machine.at(CARD_AT).address, () => undefined, 2);
      for (const at of [CARD_AT, OTHER]) machine.at(at).port.message(message.address, message.data);
    }), iommu);
    const [own, forged, ...more] = of(events, "interrupt");
    expect([own, forged, more]).toMatchObject([{ from: CARD_AT, outcome: "delivered", interrupt: { vector: 0x30, destination: 2, trigger: "edge" } }, { from: OTHER, outcome: "blocked", address: own?.address }, []]);
    expect(of(events, "dma")).toEqual([]);
  });

  test("mappings of the kernel's domains, and faults that it reads", () => {
    const { events } = record(story(({ machine }) => {
      const { address, port } = machine.at(CARD_AT);
      const domain = machine.kernel.defaultDomainOf(address);
      domain?.map(0x10_0000_0000, FRAME, 0x3000, 3);
      domain?.unmap(0x10_0000_1000, 0x8000);
      domain?.flush();
      port.dmaWrite(0x10_0000_1000, new Uint8Array(1));
      machine.advance(0);
    }), iommu);
    const id = of(events, "map")[0]?.domain;
    expect(of(events, "map")).toMatchObject([{ iova: "0x1000000000", hpa: "0x30000000", size: "0x3000", read: true, write: true }]);
    expect(of(events, "unmap")).toMatchObject([{ domain: id, iova: "0x1000001000", size: "0x8000", unmapped: "0x2000" }]);
    // AMD-Vi §2.5.3: where no page is, an event does not say which access it was.
    expect(of(events, "fault")).toMatchObject([{ requester: CARD_AT, address: "0x1000001000", access: iommu === "intel" ? "write" : "unknown" }]);
  });

  test("exits of a VM, and writes to configuration space", () => {
    const { events } = record(story(({ machine }) => {
      const vm = new VirtualMachine(machine, { name: "guest", memory: 2 ** 20 });
      vm.vcpus[0]?.out(0x80, 1, 0);
      machine.complex.configWrite({ domain: 0, requester: 0x0100 }, 4, 2, 6);
    }), iommu);
    expect(of(events, "exit")).toMatchObject([{ vm: "guest", reason: "io", handledIn: "user" }]);
    expect(of(events, "config-write").at(-1)).toMatchObject({ at: CARD_AT, offset: 4, size: 2, value: "0x6" });
  });

  test("time is the machine's, and never goes back", () => {
    const { events } = record(scenarioNamed("ats-stale")!, iommu);
    const last = new Map<number, number>();
    for (const event of events) {
      if (!("t" in event)) continue;
      expect(event.t).toBeGreaterThanOrEqual(last.get(event.machine) ?? 0);
      last.set(event.machine, event.t);
    }
  });
});

describe("a run that is watched", () => {
  test.each(SCENARIOS.filter(({ long }) => !long).map((scenario) => [scenario.name, scenario] as const))("%s: comes to the same result, and its events are read back", (_name, scenario) => {
    const { events, result, lines } = record(scenario);
    expect(runScenario(scenario).result).toEqual(result);
    const few = lines.length > 20_000 ? [...lines.slice(0, 20_000), lines.at(-1) ?? ""] : lines;
    expect(readRun(few)).toEqual({ events: JSON.parse(JSON.stringify(events.slice(0, few.length - 2))) as unknown, result });
  });
});

describe("readRun", () => {
  const { lines } = record(scenarioNamed("two-bdf-two-domains")!);
  const errorOf = (text: string | readonly string[]): RunError => {
    try {
      readRun(text);
    } catch (error) {
      if (error instanceof RunError) return error;
      throw error;
    }
    throw new Error("It was read.");
  };

  test("the whole text, lines, and empty lines between them are the same", () => {
    expect(readRun(`${lines.join("\n")}\n`)).toEqual(readRun(lines));
    expect(readRun(lines.join("\n\n"))).toEqual(readRun(lines));
  });

  const [first = "", ...rest] = lines;
  const end = lines.at(-1) ?? "";
  const say = '{"kind":"say","text":"x"}';
  test.each<readonly [string, readonly string[], line: number, text: RegExp]>([
    ["nothing", [], 0, /empty/],
    ["no format", rest, 1, /./],
    ["another format", ['{"format":"iommu-lab-machine","version":1}'], 1, /"iommu-lab-run"/],
    ["another version", ['{"format":"iommu-lab-run","version":2}'], 1, /version 1/],
    ["no JSON", [first, "{"], 2, /not JSON/],
    ["no end", [first, say], 2, /ends before the result/],
    ["more after the end", [first, end, say], 3, /last line/],
    ["two ends", [first, end, end], 3, /last line/],
    ["a kind that is none", [first, '{"kind":"shout","text":"x"}'], 2, /kind/],
    ["a field too many", [first, '{"kind":"say","text":"x","loud":true}'], 2, /loud/],
    ["a field too few", [first, '{"kind":"say"}'], 2, /text/],
    ["a time that is none", [first, '{"kind":"machine","machine":0,"name":"a","description":{}}', '{"kind":"exit","machine":0,"t":-1,"vm":"a","reason":"io","handledIn":"user"}'], 3, /^t: /],
    ["a machine that is none yet", [first, '{"kind":"exit","machine":0,"t":0,"vm":"a","reason":"io","handledIn":"user"}'], 2, /no machine 0 yet/],
    ["machines out of order", [first, '{"kind":"machine","machine":1,"name":"a","description":{}}'], 2, /machine 0 of the run, not 1/],
    ["a number for text", [first, '{"kind":"machine","machine":0,"name":"a","description":{}}', '{"kind":"unmap","machine":0,"t":0,"domain":1,"iova":4096,"size":"0x1000","unmapped":"0x0"}'], 3, /iova/],
  ])("%s is refused with its line", (_what, wrong, line, text) => {
    const error = errorOf(wrong);
    expect(error.line).toBe(line);
    expect(error.message).toMatch(text);
  });

  test("text that was cut off, damaged or made up is refused with a line, or read", () => {
    const text = [first, ...rest.slice(0, 40), end].join("\n");
    const readOrRefused = (hostile: string): void => {
      try {
        readRun(hostile);
      } catch (error) {
        expect(error).toBeInstanceOf(RunError);
        expect((error as RunError).message).toMatch(/\S/);
      }
    };
    fc.assert(fc.property(fc.nat(text.length), (length) => { readOrRefused(text.slice(0, length)); }));
    fc.assert(fc.property(fc.nat(text.length), fc.string({ maxLength: 6 }), fc.nat(6), (at, piece, gone) => { readOrRefused(text.slice(0, at) + piece + text.slice(at + gone)); }));
    fc.assert(fc.property(fc.array(fc.jsonValue({ maxDepth: 3 }), { maxLength: 4 }), (values) => { readOrRefused([first, ...values.map((value) => JSON.stringify(value)), end].join("\n")); }));
    fc.assert(fc.property(fc.string(), readOrRefused));
  });
});
