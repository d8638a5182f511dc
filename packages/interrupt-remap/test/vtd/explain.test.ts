import { describe, expect, test } from "vitest";
import { DESCRIPTOR, descriptor, posted, remapBench, remapped, TABLE } from "./remap-bench.ts";

describe("the explanation of a remapped interrupt", () => {
  test("names request, entry, requester and outcome, each with its section", () => {
    const bench = remapBench({ caches: "adversarial" });
    bench.writeEntry(3, remapped({ SVT: 1, SID: 0x0100 }));
    const steps = bench.explain(3);
    expect(steps.map(({ structure, section, outcome }) => [structure, section, outcome])).toEqual([
      ["interrupt request, remappable format", "VT-d §5.1.3", "continue"],
      ["IRTE", "VT-d §9.9", "continue"],
      ["source-id verification", "VT-d §9.9", "continue"],
      ["remapped interrupt", "VT-d §5.1.4", "delivered: vector 41h to 5h"],
    ]);
    expect(steps[1]).toMatchObject({ address: TABLE + 48, raw: [0x0041_0001, 0x500, 0x4_0100, 0], fields: { P: 1, V: 0x41, DST: 5, SVT: 1, SID: 0x0100 } });
    expect(bench.explain(3)[1]?.structure).toBe("IRTE, from the interrupt entry cache");
  });
  test("shows the descriptor as it was, and the notification", () => {
    const bench = remapBench();
    bench.writeEntry(3, posted());
    bench.writeDescriptor(descriptor());
    const step = bench.explain(3).at(-1);
    expect(step).toMatchObject({ structure: "posted-interrupt descriptor", address: DESCRIPTOR, fields: { ON: 0, PIR3: 0, NV: 0xf2, NDST: 7 }, outcome: "posted: vector 61h, notification vector f2h to 7h" });
    expect(bench.explain(3).at(-1)).toMatchObject({ fields: { ON: 1, PIR3: 2 }, outcome: "posted: vector 61h, no notification" });
  });
  test.each([
    { name: "index", index: 600, entry: remapped(), last: { structure: "interrupt request, remappable format", outcome: "blocked, fault 21h" } },
    { name: "not present", index: 3, entry: remapped({ P: 0 }), last: { structure: "IRTE", outcome: "blocked, fault 22h" } },
    { name: "not present, silenced", index: 3, entry: remapped({ P: 0, FPD: 1 }), last: { structure: "IRTE", outcome: "blocked, fault 22h, not recorded because of FPD" } },
    { name: "requester", index: 3, entry: remapped({ SVT: 2, SID: 0x0203 }), last: { structure: "source-id verification", outcome: "blocked, fault 26h", rule: "SVT=2: the requester's bus must lie from SID 15:8 to SID 7:0." } },
    { name: "descriptor", index: 3, entry: posted({ PDAH: 0xffff }), last: { structure: "posted-interrupt descriptor", outcome: "blocked, fault 27h" } },
  ])("ends where the request was blocked: $name", ({ index, entry, last }) => {
    const bench = remapBench();
    bench.writeEntry(3, entry);
    expect(bench.explain(index).at(-1)).toMatchObject(last);
  });
  test("of a table that cannot be read shows its address and no words", () => {
    const step = remapBench({ settings: { tablePage: 0x1000 } }).explain(3).at(-1);
    expect(step).toMatchObject({ structure: "IRTE", address: 0x100_0030, outcome: "blocked, fault 23h" });
    expect(step).not.toHaveProperty("raw");
  });
  test.each([
    [true, "interrupt request, compatibility format", "blocked, fault 25h"],
    [false, "interrupt request, remapping disabled", "passes unchanged"],
  ])("in compatibility format, remapping %s", (enabled, structure, outcome) => {
    const steps: { structure: string; outcome: string }[] = [];
    const bench = remapBench({ settings: { enabled } });
    bench.remapper.remap({ requester: 0, address: 0xfee0_1000, data: 0x41 }, bench.sink, { fault: 0, recorded: false, index: 0 }, { step: (step) => steps.push(step) });
    expect(steps).toMatchObject([{ structure, outcome, fields: { Destination: 1, Vector: 0x41 } }]);
  });
});
