import { FlatMemory } from "@iommu-lab/memory";
import type { ExplanationStep, Interrupt, Posting } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { newVtdInterruptVerdict, VtdInterruptRemapper } from "../../src/vtd/index.ts";
import { remapBench, remapped } from "./remap-bench.ts";

const word = fc.integer({ min: 0, max: 0xffff_ffff });
const FAULTS = [0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28];

/** Words that look like entries more often than noise does. */
const entry = fc.tuple(fc.oneof(word, fc.constantFrom(0x0041_0001, 0x0041_8001, 0x0041_c003)), fc.oneof(word, fc.constantFrom(0x500, 0x1000, 0x1040)), fc.oneof(word, fc.constantFrom(0, 0x4_0100, 0x8_0102)), fc.oneof(word, fc.constant(0)));

const scenario = fc.record({
  table: fc.array(entry, { minLength: 16, maxLength: 16 }),
  descriptors: fc.array(fc.oneof(word, fc.constant(0)), { minLength: 64, maxLength: 64 }),
  messages: fc.array(fc.record({ requester: fc.integer({ min: 0, max: 0xffff }), address: fc.oneof(word, fc.integer({ min: 0, max: 31 }).map((index) => 0xfee0_0010 + index * 32), fc.constant(2 ** 40 + 16)), data: fc.oneof(word, fc.constant(0)) }), { maxLength: 20 }),
  settings: fc.record({ enabled: fc.boolean(), tablePage: fc.constantFrom(0, 0, 0, 1, 15, 16, 2 ** 27, 2 ** 40), entries: fc.constantFrom(2, 16, 65_536), extended: fc.boolean(), compatibility: fc.boolean() }),
  caches: fc.constantFrom("none" as const, "realistic" as const, "adversarial" as const),
  posting: fc.boolean(),
  cachingMode: fc.boolean(),
});

describe("remapping of arbitrary tables, settings and messages", () => {
  test("never throws, gives exactly one outcome, and says the same with and without an explanation", () => {
    fc.assert(
      fc.property(scenario, ({ table, descriptors, messages, settings, ...options }) => {
        const run = (explained: boolean): unknown[] => {
          const memory = new FlatMemory(0x1_0000);
          table.flat().forEach((value, i) => { memory.write32(4 * i, value); });
          descriptors.forEach((value, i) => { memory.write32(0x1000 + 4 * i, value); });
          const remapper = new VtdInterruptRemapper({ memory, settings: { ...settings }, hostAddressWidth: 39, ...options });
          return messages.map((message) => {
            const out = newVtdInterruptVerdict();
            const arrived: (Interrupt | Posting)[] = [];
            const steps: ExplanationStep[] = [];
            const sink = { deliver: (interrupt: Interrupt) => arrived.push({ ...interrupt }), post: (posting: Posting) => arrived.push(structuredClone(posting)) };
            remapper.remap(message, sink, out, explained ? { step: (step) => steps.push(step) } : undefined);
            if (out.fault === 0) expect(out.recorded).toBe(false);
            else {
              expect(FAULTS).toContain(out.fault);
              expect(arrived).toEqual([]);
            }
            expect(arrived.length).toBeLessThanOrEqual(1);
            expect(out.index).toBeLessThanOrEqual(0xffff);
            if (explained) expect(steps.at(-1)?.outcome.includes(`fault ${out.fault.toString(16)}h`)).toBe(out.fault !== 0);
            return { out, arrived };
          });
        };
        expect(run(true)).toEqual(run(false));
      }),
    );
  });
});

describe("records", () => {
  test("every delivery hands the sink the same record, every posting too", () => {
    const bench = remapBench();
    bench.writeEntry(0, remapped());
    bench.writeEntry(1, remapped({ V: 0x50 }));
    const seen: Readonly<Interrupt>[] = [];
    const out = newVtdInterruptVerdict();
    for (const index of [0, 1]) bench.remapper.remap({ requester: 0, address: 0xfee0_0010 + 32 * index, data: 0 }, { deliver: (interrupt) => seen.push(interrupt), post: () => undefined }, out);
    expect(seen[0]).toBe(seen[1]);
    expect(seen[0]?.vector).toBe(0x50);
  });
});
