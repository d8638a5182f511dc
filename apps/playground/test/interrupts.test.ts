import { POSTED_INTERRUPT_DESCRIPTOR } from "@iommu-lab/interrupt-remap/vtd";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { flip, withWords } from "../src/views/entries/edits.ts";
import { runInterrupts } from "../src/views/interrupts/lab.ts";
import { readInterrupts, STRANGER, type InterruptSettings } from "../src/views/interrupts/settings.ts";

const settings = (changes: Partial<InterruptSettings> = {}): InterruptSettings => ({ ...readInterrupts({ vendor: changes.vendor }), ...changes });

describe("VT-d", () => {
  test("a remappable message is delivered where its entry says", () => {
    expect(runInterrupts(settings()).delivered.map(({ vector, destination }) => [vector, destination])).toEqual(Array(3).fill([0x41, 1]));
    expect(runInterrupts(settings({ extended: false, processor: 2 })).delivered.at(-1)?.destination).toBe(2);
  });
  test("another sender, a compatibility-format message and a wrong index are blocked", () => {
    expect([runInterrupts(settings({ requester: STRANGER })).fault, runInterrupts(settings({ address: 0xfee0_0000, data: 0x41 })).fault, runInterrupts(settings({ address: 0xfee0_0050 })).fault]).toEqual([0x26, 0x25, 0x22]);
    expect(runInterrupts(settings({ address: 0xfee0_0000, data: 0x41, compatibility: true, extended: false })).delivered).toHaveLength(3);
  });
  test("posting sets PIR and notifies once; migration changes NDST", () => {
    const lab = runInterrupts(settings({ posted: true, processor: 3 }));
    expect([lab.pending, lab.notifications.map(({ kind }) => kind), lab.exits]).toEqual([[0x41], ["interrupt", "none", "none"], 0]);
    expect(POSTED_INTERRUPT_DESCRIPTOR.decode(Uint32Array.from(lab.descriptor!.words))).toMatchObject({ ON: 1, NDST: 3, NV: 0xf2 });
    expect([runInterrupts(settings({ posted: true, running: false })).exits, runInterrupts(settings({ posted: true, suppressed: true })).notifications.filter(({ kind }) => kind !== "none").length, runInterrupts(settings()).exits]).toEqual([1, 0, 3]);
  });
  test("a bit of the entry changes the outcome", () => {
    const { entry } = runInterrupts(settings());
    expect(runInterrupts(settings({ edits: withWords({}, entry.address, flip(entry.words, 0)) })).fault).toBe(0x22);
    expect(runInterrupts(settings({ edits: withWords({}, entry.address, flip(entry.words, 16)) })).delivered[0]?.vector).toBe(0x40);
  });
});

describe("AMD", () => {
  test("entries of both sizes deliver; a stranger has no entry", () => {
    for (const wide of [true, false]) expect(runInterrupts(settings({ vendor: "amd", wide })).delivered[0]).toMatchObject({ vector: 0x41, destination: 1 });
    expect(runInterrupts(settings({ vendor: "amd", requester: STRANGER })).fault).toBe(2);
  });
  test("a guest that runs is rung; one that does not is logged", () => {
    const running = runInterrupts(settings({ vendor: "amd", posted: true }));
    expect([running.pending, running.notifications[0]?.kind, running.exits]).toEqual([[0x41], "doorbell", 0]);
    expect(runInterrupts(settings({ vendor: "amd", posted: true, running: false })).notifications[0]?.kind).toBe("log");
  });
});

test("anything is settings, and any settings end", () => {
  const bits32 = fc.oneof(fc.nat(2 ** 32 - 1), fc.anything());
  fc.assert(
    fc.property(fc.oneof(fc.anything(), fc.record({ vendor: fc.constantFrom("intel", "amd"), address: bits32, data: bits32, messages: fc.anything(), posted: fc.boolean(), wide: fc.boolean(), extended: fc.boolean(), compatibility: fc.boolean() })), (kept) => {
      const read = readInterrupts(kept);
      expect(readInterrupts(JSON.parse(JSON.stringify(read)))).toEqual(read);
      runInterrupts({ ...read, messages: 1 });
    }),
    { numRuns: 60 },
  );
});
