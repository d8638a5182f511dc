import { SparseMemory } from "@iommu-lab/memory";
import { Access } from "@iommu-lab/pci-bus";
import { allocated } from "../../../scripts/bench/allocated.ts";
import { densePages, hostPage, shuffled, spreadPages } from "../../../scripts/bench/page-orders.ts";
import type { BenchRow, FootprintRow } from "../../../scripts/bench/row.ts";
import { expectMisses, kernelLoop, sink, translateLoop } from "../../../scripts/bench/translate-loop.ts";
import { nestedKernel, READ, translateKernel } from "./kernel.ts";
import { Machine, PASID, type AnyMemory } from "./machine.ts";

/** Where each page of a row is: in the tables of the model and of the kernel alike. */
const mapAll = (machine: Machine, pages: Float64Array): void => {
  for (let i = 0; i < pages.length; i++) machine.map(machine.second, pages[i] as number, hostPage(i, pages.length)); // i is below the length
};

const secondStageKernel = (makePages: () => Float64Array) => (): (() => number) => {
  const machine = new Machine({ mode: "legacy" });
  const pages = makePages();
  mapAll(machine, pages);
  const words = machine.memory.wordsOf(0);
  if (words === undefined) throw new Error("Flat memory has words.");
  const out = new Int32Array(2);
  return kernelLoop(translateKernel(words, machine.second, out), out, pages, READ);
};

const secondStageModel = (options: { readonly pages: () => Float64Array; readonly misses: 0 | 1; readonly reads?: number; readonly memory?: () => AnyMemory; readonly firstTable?: number }) => (): (() => number) => {
  const machine = new Machine({ mode: "legacy", ...(options.memory ? { memory: options.memory() } : {}), ...(options.firstTable ? { firstTable: options.firstTable } : {}) });
  const pages = options.pages();
  mapAll(machine, pages);
  const run = expectMisses(() => machine.unit.totals.iotlbMisses, translateLoop(machine.unit, machine.request, machine.out, pages), options.misses);
  if (options.reads !== undefined) for (let i = 0; i < 16; i++) {
    const reads = machine.readsOf(pages[(i + 1) * 8 + (i & 7)] as number);
    if (reads !== options.reads) throw new Error(`A walk reads ${reads} entries; the row wants ${options.reads}.`);
  }
  return run;
};

/** 128 pages, drawn at random. */
const fewPages = (): Float64Array => Float64Array.from({ length: 1024 }, (_, i) => (Math.imul(i, 0x9e37_79b1) >>> 20) & 127);
const mapFew = (): Float64Array => Float64Array.from({ length: 128 }, (_, i) => i);
const samePage = (): Float64Array => Float64Array.of(77);

const hitModel = (pages: () => Float64Array, memory?: () => AnyMemory) => (): (() => number) => {
  const machine = new Machine({ mode: "legacy", ...(memory ? { memory: memory() } : {}) });
  mapAll(machine, mapFew());
  return expectMisses(() => machine.unit.totals.iotlbMisses, translateLoop(machine.unit, machine.request, machine.out, pages()), 0);
};

const hitKernel = (pages: () => Float64Array) => (): (() => number) => {
  const machine = new Machine({ mode: "legacy" });
  mapAll(machine, mapFew());
  const words = machine.memory.wordsOf(0);
  if (words === undefined) throw new Error("Flat memory has words.");
  const out = new Int32Array(2);
  return kernelLoop(translateKernel(words, machine.second, out), out, pages(), READ);
};

const firstStageHit = (): (() => number) => {
  const machine = new Machine({ mode: "scalable" });
  for (const page of mapFew()) machine.mapFirst(page, hostPage(page, 128));
  machine.request.pasid = 1;
  return expectMisses(() => machine.unit.totals.iotlbMisses, translateLoop(machine.unit, machine.request, machine.out, fewPages()), 0);
};

const sparse = (): SparseMemory => new SparseMemory({ size: 2 ** 40 });
const HIT = { must: 20, goal: 10 };
const MISS = { must: 40, goal: 20 };

const hits: readonly BenchRow[] = [
  { name: "hit, 128 random pages", unit: "ns/op", target: 2.5, limit: HIT, source: "P1", kernel: hitKernel(fewPages), model: hitModel(fewPages) },
  { name: "hit, same page", unit: "ns/op", target: 2.5, limit: HIT, source: "P1", kernel: hitKernel(samePage), model: hitModel(samePage) },
  { name: "hit, 128 random pages, PASID and first stage", unit: "ns/op", target: 2.5, limit: HIT, source: "P1", kernel: hitKernel(fewPages), model: firstStageHit },
  { name: "hit, 128 random pages, sparse memory", unit: "ns/op", target: 2.5, limit: HIT, source: "P1", kernel: hitKernel(fewPages), model: hitModel(fewPages, sparse) },
];

const misses: readonly BenchRow[] = ([["64 MiB", 16_384, MISS], ["1 GiB", 262_144, { must: 60, goal: 20 }]] as const).flatMap(([label, count, limit]): BenchRow[] => [
  { name: `miss, 4 entries read, ${label} mapped`, unit: "ns/op", target: 3, limit, source: "P2", kernel: secondStageKernel(() => spreadPages(count)), model: secondStageModel({ pages: () => spreadPages(count), misses: 1, reads: 4 }) },
  { name: `miss, structure cache at work, ${label} mapped`, unit: "ns/op", target: 3, limit, source: "P2", kernel: secondStageKernel(() => densePages(count)), model: secondStageModel({ pages: () => densePages(count), misses: 1 }) },
]);

const sparseMiss: BenchRow = {
  name: "miss, 4 entries read, 64 MiB mapped, sparse memory", unit: "ns/op", target: 3 * 1.7, limit: { must: 40 * 1.7 }, source: "P2, sparse at most 1.7 of flat",
  kernel: secondStageKernel(() => spreadPages(16_384)),
  model: secondStageModel({ pages: () => spreadPages(16_384), misses: 1, reads: 4, memory: sparse }),
};

/** 16 384 guest pages, placed like `spreadPages` in a region of their own, so that second-stage walks find no prefix either. */
const NESTED_PAGES = 16_384;
const guestPage = (i: number): number => 256 * 2 ** 27 + (i >>> 12) * 64 * 2 ** 18 + ((i >>> 9) & 7) * 64 * 2 ** 9 + (i & 511);

const nestedMachine = (): { machine: Machine; pages: Float64Array } => {
  const machine = new Machine({ mode: "scalable" });
  const pages = spreadPages(NESTED_PAGES, 4); // first-stage addresses are canonical: half of the top entries
  const guests = shuffled(NESTED_PAGES);
  for (let i = 0; i < pages.length; i++) machine.mapNested(pages[i] as number, guestPage(guests[i] as number), hostPage(i, NESTED_PAGES)); // i is below both lengths
  machine.request.pasid = PASID;
  return { machine, pages };
};

const nested: BenchRow = {
  name: "nested, 4 x 4 levels, 24 entries read", unit: "ns/op", target: 3, limit: { must: 250, goal: 120 }, source: "P3; ratio as P2",
  kernel: () => {
    const { machine, pages } = nestedMachine();
    const words = machine.memory.wordsOf(0);
    if (words === undefined) throw new Error("Flat memory has words.");
    const out = new Int32Array(2);
    return kernelLoop(nestedKernel(words, machine.guestTable(4, 0), machine.second, out), out, pages, READ);
  },
  model: () => {
    const { machine, pages } = nestedMachine();
    const run = expectMisses(() => machine.unit.totals.iotlbMisses, translateLoop(machine.unit, machine.request, machine.out, pages), 1);
    for (let i = 0; i < 16; i++) {
      const reads = machine.readsOf(pages[(i + 1) * 4 + (i & 3)] as number);
      if (reads !== 24) throw new Error(`A nested walk reads ${reads} entries, not 24.`);
    }
    return run;
  },
};

/** The edge of the program: an address as one BigInt in, one out. */
const edge: BenchRow = {
  name: "hit, address and result as BigInt", unit: "ns/op", target: 15, limit: { must: 150 }, source: "P11; 150 ns over a hit of 10",
  kernel: hitKernel(fewPages),
  model: () => {
    const machine = new Machine({ mode: "legacy" });
    mapAll(machine, mapFew());
    const { unit, request, out } = machine;
    const translate = (address: bigint): bigint => {
      request.page = Number((address >> 12n) & 0xf_ffff_ffff_ffffn);
      unit.translate(request, out);
      return (BigInt(out.page) << 12n) | (address & 0xfffn);
    };
    const addresses = [...fewPages()].map((page, i) => (BigInt(page) << 12n) + BigInt(i));
    return () => {
      let last = 0n;
      for (const address of addresses) last = translate(address);
      sink.value += Number(last & 0xffn);
      return addresses.length;
    };
  },
};

export const rows: readonly BenchRow[] = [...hits, ...misses, sparseMiss, nested, edge];

/** What a million translations allocate: target P7. */
export const memoryFootprint = (): readonly FootprintRow[] => {
  const faulting = (pages: Float64Array) => (): (() => number) => {
    const machine = new Machine({ mode: "legacy" });
    machine.request.access = Access.Write;
    return translateLoop(machine.unit, machine.request, machine.out, pages);
  };
  const paths: readonly (readonly [string, () => () => number])[] = [
    ["hits", hitModel(fewPages)],
    ["misses", secondStageModel({ pages: () => spreadPages(16_384), misses: 1 })],
    ["misses, tables above 4 GiB", secondStageModel({ pages: () => spreadPages(16_384), misses: 1, memory: sparse, firstTable: 0x12_0000 })],
    ["nested misses", nested.model],
    ["faults", faulting(fewPages())],
    ["faults above 8 TiB", faulting(spreadPages(4096))],
  ];
  return paths.map(([label, make]) => ({ name: `heap growth per 1e6 ${label}`, bytes: allocated(make()), limit: 64 * 1024, source: "P7" }));
};
