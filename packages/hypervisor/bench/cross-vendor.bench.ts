import { Access } from "@iommu-lab/pci-bus";
import { densePages, hostPage, spreadPages } from "../../../scripts/bench/page-orders.ts";
import type { BenchRow } from "../../../scripts/bench/row.ts";
import { expectMisses, translateLoop } from "../../../scripts/bench/translate-loop.ts";
import { amdMachine, intelMachine, type BenchMachine, type MakeMachine, type Tables } from "./machines.ts";

const READ_WRITE = Access.Read | Access.Write;

const mapAll = ({ domain }: BenchMachine, pages: Float64Array): void => {
  for (let i = 0; i < pages.length; i++) domain.map((pages[i] as number) * 4096, hostPage(i, pages.length) * 4096, 4096, READ_WRITE); // i is below the length
};

/** Translations that all hit, or all miss, the IOTLB. */
const translations = (tables: Tables, mapped: () => Float64Array, asked: () => Float64Array, misses: 0 | 1) => (make: MakeMachine) => (): (() => number) => {
  const machine = make(tables);
  mapAll(machine, mapped());
  const { iommu, request, out } = machine;
  return expectMisses(machine.misses, translateLoop(iommu, request, out, asked()), misses);
};

/** Map a page, unmap it, flush, over mappings that stay. */
const cycle = (mappings: number) => (make: MakeMachine) => (): (() => number) => {
  const machine = make("own");
  mapAll(machine, Float64Array.from({ length: mappings }, (_, page) => page));
  const { domain } = machine;
  let page = 0;
  return () => {
    for (let i = 0; i < 256; i++) {
      if ((i & 15) === 0) page = (page + 7919) % mappings;
      domain.unmap(page * 4096, 4096);
      domain.flush();
      domain.map(page * 4096, hostPage(page, mappings) * 4096, 4096, READ_WRITE);
    }
    return 256;
  };
};

const few = (): Float64Array => Float64Array.from({ length: 128 }, (_, page) => page);
const fewAsked = (): Float64Array => Float64Array.from({ length: 4096 }, (_, i) => densePages(128)[(i * 37) & 127] as number);
/** Below half of the top entries: addresses in the processor's tables are canonical. */
const many = (): Float64Array => spreadPages(16_384, 4);

const WORK: readonly (readonly [name: string, work: (make: MakeMachine) => () => () => number])[] = [
  ["hit, 128 random pages", translations("own", few, fewAsked, 0)],
  ["hit, 128 random pages, PASID and the processor's tables", translations("processor", few, fewAsked, 0)],
  ["miss, 4 levels", translations("own", many, many, 1)],
  ["miss, 4 levels, PASID and the processor's tables", translations("processor", many, many, 1)],
  ["driver: map, unmap, invalidate, wait; 65536 mappings", cycle(65_536)],
];

/** Neither vendor is more than 1.5 times slower than the other on the same work. */
export const rows: readonly BenchRow[] = WORK.flatMap(([name, work]): BenchRow[] =>
  ([["AMD", amdMachine, "Intel", intelMachine], ["Intel", intelMachine, "AMD", amdMachine]] as const).map(([one, model, other, kernel]) => ({ name: `${one} against ${other}: ${name}`, unit: "ns/op", target: 1.5, mutual: true, source: "same work, both ways", model: work(model), kernel: work(kernel) })),
);
