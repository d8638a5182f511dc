import { FAULT_RECORD } from "@iommu-lab/iommu-intel/layouts";
import { KERNELS } from "@iommu-lab/iommu-intel/decode";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runAmd } from "../src/views/faults/amd-lab.ts";
import { causeOf, layoutOf, lineOf, meaningOf } from "../src/views/faults/describe.ts";
import { traceLines } from "../src/views/faults/line.ts";
import { OPERATIONS, readFaults, type FaultSettings, type Operation } from "../src/views/faults/settings.ts";
import { runVtd } from "../src/views/faults/vtd-lab.ts";

const done = (...operations: Operation[]): FaultSettings => ({ ...readFaults({}), done: operations });
const reasonOf = (operation: Operation): number => FAULT_RECORD.get.FR(Uint32Array.from(runVtd(done(operation)).slots[0]!.words));

describe("faults on the bench", () => {
  test("VT-d: every button makes the fault that it promises", () => {
    expect(Object.fromEntries(OPERATIONS.slice(0, 10).map((name) => [name, reasonOf(name)]))).toEqual({ unmapped: 0x06, readonly: 0x05, reserved: 0x0c, width: 0x04, source: 0x01, entry: 0x03, window: 0x29, compatibility: 0x25, absent: 0x22, impostor: 0x26 });
    for (const name of OPERATIONS.slice(0, 10)) expect(causeOf("intel", runVtd(done(name)).slots[0]!.words), name).toBe(name === "readonly" ? "permission" : name);
  });
  test("AMD: every button leaves an event", () => {
    const names = OPERATIONS.slice(0, 10).filter((name) => name !== "compatibility");
    expect(names.map((name) => [name, runAmd(done(name)).pending])).toEqual(names.map((name) => [name, 1]));
    expect(names.map((name) => causeOf("amd", runAmd(done(name)).slots[0]!.words))).toEqual(["unmapped", "permission", "reserved", "width", "unmapped", "entry", "window", "absent", "absent"]);
  });
  test("a full ring overflows, and goes on when software has taken the records", () => {
    const full = runVtd(done("storm"));
    expect([full.pending, full.overflow, full.lost]).toEqual([4, true, 296]);
    expect(runVtd(done("storm", "unmapped")).lost).toBe(297);
    const taken = runVtd(done("storm", "take", "readonly"));
    expect([taken.pending, taken.overflow, taken.lost]).toEqual([1, false, 296]);
    const amd = runAmd(done("storm"));
    expect([amd.pending, amd.overflow]).toEqual([255, true]);
    const again = runAmd(done("storm", "take", "readonly"));
    expect([again.pending, again.overflow]).toEqual([1, false]);
  });
  test("FPD and SA silence the device, but not what is found before its entry", () => {
    const silent = (settings: FaultSettings): FaultSettings => ({ ...settings, silent: true });
    expect([runVtd(silent(done("unmapped"))).pending, runVtd(silent(done("source"))).pending, runAmd(silent(done("unmapped"))).pending]).toEqual([0, 1, 0]);
  });
  test("every record has a meaning, a cause, a layout and a line", () => {
    for (const name of OPERATIONS.slice(0, 10))
      for (const [vendor, lab] of [["intel", runVtd(done(name))], ["amd", runAmd(done(name))]] as const)
        for (const { words } of lab.slots.filter(({ pending }) => pending)) {
          expect(meaningOf(vendor, words).length).toBeGreaterThan(0);
          expect(layoutOf(vendor, words)).toBeDefined();
          if (!(vendor === "amd" && name === "window")) expect(lineOf(vendor, words, "6.12")).toMatch(/^(DMAR|AMD-Vi): /);
        }
  });
});

describe("a kernel's line", () => {
  test("leads back to the record that it was written about", () => {
    for (const name of ["unmapped", "readonly", "reserved", "width", "source", "window", "absent", "impostor"] as const)
      for (const kernel of KERNELS)
        for (const [vendor, { words }] of [["intel", runVtd(done(name)).slots[0]!], ["amd", runAmd(done(name)).slots[0]!]] as const) {
          const line = lineOf(vendor, words, kernel);
          if (line === undefined) continue;
          expect(traceLines(line).map(({ words: found, vendor: known }) => [known, found]), `${name} ${kernel}`).toEqual([[vendor, words]]);
        }
  });
  test("may be anything", () => {
    fc.assert(fc.property(fc.string({ maxLength: 300 }), (line) => { expect(traceLines(line).length).toBeLessThan(41); }));
  });
});

test("anything is settings, and settings are themselves", () => {
  const odd = fc.oneof(fc.anything(), fc.record({ tab: fc.anything(), vendor: fc.anything(), kernel: fc.anything(), done: fc.oneof(fc.anything(), fc.array(fc.oneof(fc.constantFrom(...OPERATIONS), fc.anything()), { maxLength: 60 })), at: fc.anything(), line: fc.anything() }, { requiredKeys: [] }));
  fc.assert(
    fc.property(odd, (kept) => {
      const settings = readFaults(kept);
      expect(readFaults(JSON.parse(JSON.stringify(settings)))).toEqual(settings);
      expect(settings.done.length).toBeLessThan(41);
    }),
  );
});
