import type { MmioHandler } from "@iommu-lab/memory";
import type { InterruptSink, PciFunction } from "@iommu-lab/pci-bus";
import { expect, test } from "vitest";
import { inSeries, type BoardTaps, type TableMemory } from "../../src/board/taps.ts";
import { EduFunction } from "../../src/devices/index.ts";

const order: string[] = [];

/** Taps that note when they are passed. */
const noting = (name: string): BoardTaps => ({
  tableMemory: (memory) => ({ ...memory, write32: (at, value) => { order.push(name); memory.write32(at, value); } }),
  registers: (handler) => ({ ...handler, write: (...access) => { order.push(name); handler.write(...access); } }),
  interrupts: (sink) => ({ ...sink, deliver: (interrupt) => { order.push(name); sink.deliver(interrupt); } }),
  function: (fn, devfn, own) => { order.push(`${name} ${devfn} ${own}`); return fn; },
  ownMessage: (address) => { order.push(`${name} ${address}`); },
});

const passed = (): string[] => order.splice(0);

test("the first of several taps is the nearest to the IOMMU", () => {
  const taps = inSeries([noting("near"), {}, noting("far")]);
  const memory: TableMemory = { wordsOf: () => undefined, wordOf: () => 0, write32: () => { order.push("memory"); } };
  taps.tableMemory(memory).write32(0, 0);
  expect(passed()).toEqual(["near", "far", "memory"]);
  const handler: MmioHandler = { read: () => 0, write: () => { order.push("IOMMU"); }, read64: () => undefined, write64: () => undefined };
  taps.registers(handler).write(0, 4, 0);
  expect(passed()).toEqual(["far", "near", "IOMMU"]);
  const sink: InterruptSink = { deliver: () => { order.push("APIC"); }, post: () => undefined };
  taps.interrupts(sink).deliver({ vector: 0, deliveryMode: 0, destination: 0, destinationMode: "physical", trigger: "edge", redirectionHint: false });
  expect(passed()).toEqual(["far", "near", "APIC"]);
  const fn: PciFunction = new EduFunction();
  expect(taps.function(fn, 8, true)).toBe(fn);
  taps.ownMessage(5, 0, 0);
  expect(passed()).toEqual(["near 8 true", "far 8 true", "near 5", "far 5"]);
});

test("no taps change nothing", () => {
  const taps = inSeries([]);
  const fn = new EduFunction();
  const handler = {} as MmioHandler;
  expect([taps.function(fn, 0, false), taps.registers(handler)]).toEqual([fn, handler]);
});
