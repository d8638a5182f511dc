import { FlatMemory, FrameAllocator } from "@iommu-lab/memory";
import { Access } from "@iommu-lab/pci-bus";
import { VtdDriver } from "../src/driver/index.ts";
import { LEGACY, VtdUnit } from "../src/hardware/index.ts";
import { IQT_REG } from "../src/layouts/index.ts";
import { hostPage } from "../../../scripts/bench/page-orders.ts";
import type { BenchRow } from "../../../scripts/bench/row.ts";
import { sink } from "../../../scripts/bench/translate-loop.ts";
import { queueKernel, READ, translateKernel } from "./kernel.ts";
import { DOMAIN, Machine, QUEUE_PAGE, REQUESTER, STATUS } from "./machine.ts";

const RING_WORD = QUEUE_PAGE * 1024;
/** First words of descriptors: page-selective and domain-selective IOTLB invalidation, global one, wait with status write. */
const INVALIDATE_PAGE = 2 | (3 << 4) | (DOMAIN << 16);
const INVALIDATE_DOMAIN = 2 | (2 << 4) | (DOMAIN << 16);
const INVALIDATE_ALL = 2 | (1 << 4);
const WAIT = 5 | (1 << 5);

/** The software side of a queue of 256 descriptors of 16 bytes, written as words. */
class Ring {
  readonly words: Uint32Array;
  /** Byte offset. */
  tail = 0;

  constructor(words: Uint32Array) {
    this.words = words;
  }

  write(w0: number, w1: number, w2: number, w3: number): void {
    const at = RING_WORD + (this.tail >>> 2);
    this.words[at] = w0;
    this.words[at + 1] = w1;
    this.words[at + 2] = w2;
    this.words[at + 3] = w3;
    this.tail = (this.tail + 16) & 0xfff;
  }

  invalidatePage(page: number): void {
    this.write(INVALIDATE_PAGE, 0, page << 12, page >>> 20);
  }

  wait(data: number): void {
    this.write(WAIT, data, STATUS, 0);
  }
}

const wordsOf = (machine: Machine): Uint32Array => {
  const words = machine.memory.wordsOf(0);
  if (words === undefined) throw new Error("Flat memory has words.");
  return words;
};

// Map and unmap.

/** Mappings that stay, below the one that comes and goes. */
const sizeFor = (mappings: number): number => (mappings > 100_000 ? 64 : 32) * 2 ** 20;

/** The driver's own domain, over the unit: map one page, unmap it, flush. */
const cycleModel = (mappings: number) => (): (() => number) => {
  const memory = new FlatMemory(sizeFor(mappings));
  const unit = new VtdUnit({ memory, capabilities: LEGACY });
  const driver = new VtdDriver({ memory, frames: new FrameAllocator({ start: 16, count: sizeFor(mappings) / 4096 - 16 }), hostAddressWidth: LEGACY.hostAddressWidth, units: [{ registers: unit.registers }] });
  driver.start();
  const domain = driver.createDomain({ kind: "paging" });
  driver.attach(REQUESTER, domain);
  for (let page = 0; page < mappings; page++) domain.map(page * 4096, hostPage(page, 2 ** 20) * 4096, 4096, Access.Read | Access.Write);
  let page = 0;
  return () => {
    for (let i = 0; i < 256; i++) {
      // LIFO: the IOVA freed last is taken next; from time to time another one, so that all tables take part.
      if ((i & 15) === 0) page = (page + 7919) % mappings;
      domain.unmap(page * 4096, 4096);
      domain.flush();
      domain.map(page * 4096, hostPage(page, 2 ** 20) * 4096, 4096, Access.Read | Access.Write);
    }
    return 256;
  };
};

/** The same on page tables and a ring of words. */
const cycleKernel = (mappings: number) => (): (() => number) => {
  const machine = new Machine({ mode: "legacy", memory: new FlatMemory(sizeFor(mappings)) });
  const words = wordsOf(machine);
  for (let page = 0; page < mappings; page++) machine.map(machine.second, page, hostPage(page, 2 ** 20));
  const top = machine.second << 10;
  const ring = new Ring(words);
  const run = queueKernel(words, RING_WORD);
  const leafOf = (page: number): number => {
    let table = top;
    for (let shift = 27; shift > 0; shift -= 9) table = ((words[table + 2 * ((page >>> shift) & 511)] as number) >>> 12) << 10; // tables stay
    return table + 2 * (page & 511);
  };
  let page = 0;
  let status = 0;
  return () => {
    for (let i = 0; i < 256; i++) {
      if ((i & 15) === 0) page = (page + 7919) % mappings;
      const leaf = leafOf(page);
      words[leaf] = 0;
      words[leaf + 1] = 0;
      const head = ring.tail;
      ring.invalidatePage(page);
      status = (status + 1) | 0;
      ring.wait(status);
      run(head, ring.tail);
      if (((words[STATUS / 4] ?? 0) | 0) !== status) throw new Error("The queue did not finish.");
      const again = leafOf(page);
      words[again + 1] = 0;
      words[again] = (hostPage(page, 2 ** 20) << 12) | 3;
    }
    return 256;
  };
};

const CYCLE = { must: 100, goal: 40 };
const cycles: readonly BenchRow[] = [
  ...[1e3, 1e4, 1e5, 1e6].map((mappings): BenchRow => ({ name: `driver: map, unmap, invalidate, wait; ${mappings} mappings`, unit: "ns/op", target: 10, limit: CYCLE, source: "P5; ratio reached when written", kernel: cycleKernel(mappings), model: cycleModel(mappings) })),
  { name: "driver: map cycle with 1e6 mappings against 1e3", unit: "ns/op", target: 1.5, source: "P5, flat", kernel: cycleModel(1e3), model: cycleModel(1e6) },
];

// Descriptors.

/** Eight page-selective invalidations and a wait, then the tail: software's writes are part of it. */
const batchModel = (waitEvery: number) => (): (() => number) => {
  const machine = new Machine({ mode: "legacy" });
  const words = wordsOf(machine);
  for (let page = 0; page < 256; page++) machine.map(machine.second, page, hostPage(page, 256));
  machine.request.page = 3;
  machine.unit.translate(machine.request, machine.out);
  const { unit } = machine;
  const ring = new Ring(words);
  let page = 0;
  let status = 0;
  const batch = waitEvery * Math.ceil(9 / waitEvery);
  return () => {
    for (let round = 0; round < 64; round++) {
      for (let i = 1; i <= batch; i++)
        if (i % waitEvery === 0) ring.wait((status = (status + 1) | 0));
        else ring.invalidatePage((page = (page + 1) & 255));
      unit.registers.write(IQT_REG.offset, 4, ring.tail);
      if (((words[STATUS / 4] ?? 0) | 0) !== status) throw new Error("The queue did not finish.");
    }
    return 64 * batch;
  };
};

const batchKernel = (waitEvery: number) => (): (() => number) => {
  const words = wordsOf(new Machine({ mode: "legacy" }));
  const ring = new Ring(words);
  const run = queueKernel(words, RING_WORD);
  let page = 0;
  let status = 0;
  const batch = waitEvery * Math.ceil(9 / waitEvery);
  return () => {
    for (let round = 0; round < 64; round++) {
      const head = ring.tail;
      for (let i = 1; i <= batch; i++)
        if (i % waitEvery === 0) ring.wait((status = (status + 1) | 0));
        else ring.invalidatePage((page = (page + 1) & 255));
      run(head, ring.tail);
      if (((words[STATUS / 4] ?? 0) | 0) !== status) throw new Error("The queue did not finish.");
    }
    return 64 * batch;
  };
};

const DESCRIPTOR = { must: 15, goal: 6 };
const descriptors: readonly BenchRow[] = [
  { name: "descriptor, page-selective, a wait every 9th", unit: "ns/op", target: 3, limit: DESCRIPTOR, source: "P6; ratio as P2", kernel: batchKernel(9), model: batchModel(9) },
  { name: "descriptor, page-selective, a wait every 128th", unit: "ns/op", target: 3, limit: DESCRIPTOR, source: "P6; ratio as P2", kernel: batchKernel(128), model: batchModel(128) },
];

// Invalidations of more than pages.

/** One invalidation through the queue of a full IOTLB, and the translation after it, which is a miss: without it the domain would be empty. */
const forgetModel = (sets: number, first: number) => (): (() => number) => {
  const machine = new Machine({ mode: "legacy", iotlb: { sets, ways: 4 } });
  const words = wordsOf(machine);
  const { unit, request, out } = machine;
  for (let page = 0; page < 4 * sets; page++) machine.map(machine.second, page, hostPage(page, 4096));
  for (let page = 0; page < 4 * sets; page++) {
    request.page = page;
    unit.translate(request, out);
  }
  const ring = new Ring(words);
  let page = 0;
  return () => {
    for (let i = 0; i < 256; i++) {
      ring.write(first, 0, 0, 0);
      unit.registers.write(IQT_REG.offset, 4, ring.tail);
      request.page = page = (page + 1) & 255;
      unit.translate(request, out);
      sink.value = (sink.value + out.page) | 0;
    }
    return 256;
  };
};

/** What cannot be done faster: the descriptor is read, its type and granularity checked and its domain given another generation, which empties the table of it; then the walk. */
const forgetKernel = (): (() => number) => {
  const machine = new Machine({ mode: "legacy" });
  const words = wordsOf(machine);
  for (let page = 0; page < 1024; page++) machine.map(machine.second, page, hostPage(page, 4096));
  const out = new Int32Array(2);
  const translate = translateKernel(words, machine.second, out);
  const ring = new Ring(words);
  const generations = new Uint16Array(0x1_0000);
  let page = 0;
  return () => {
    for (let i = 0; i < 256; i++) {
      const at = RING_WORD + (ring.tail >>> 2);
      ring.write(INVALIDATE_DOMAIN, 0, 0, 0);
      const first = words[at] as number; // the ring is in memory
      if ((first & 63) !== (INVALIDATE_DOMAIN & 63)) throw new Error("The kernel knows no other descriptor.");
      const generation = (generations[first >>> 16] = (generations[first >>> 16] as number) + 1); // as many as there are domains
      page = (page + 1) & 255;
      // The generation is part of the tag, here in bits that no page has.
      translate(page, generation << 12, READ);
      sink.value = (sink.value + (out[0] as number)) | 0;
    }
    return 256;
  };
};

const FORGET = { must: 90 };
const forgets: readonly BenchRow[] = [
  { name: "domain invalidation of 4096 entries, and a miss", unit: "ns/op", target: 25, limit: FORGET, source: "P8, P2; ratio reached when written", kernel: forgetKernel, model: forgetModel(1024, INVALIDATE_DOMAIN) },
  { name: "global invalidation of 4096 entries, and a miss", unit: "ns/op", target: 25, limit: FORGET, source: "P8, P2; ratio reached when written", kernel: forgetKernel, model: forgetModel(1024, INVALIDATE_ALL) },
  { name: "domain invalidation of 4096 entries against 256", unit: "ns/op", target: 1.25, source: "P8, O(1)", kernel: forgetModel(64, INVALIDATE_DOMAIN), model: forgetModel(1024, INVALIDATE_DOMAIN) },
  { name: "global invalidation of 4096 entries against 256", unit: "ns/op", target: 1.25, source: "P8, O(1)", kernel: forgetModel(64, INVALIDATE_ALL), model: forgetModel(1024, INVALIDATE_ALL) },
];

export const rows: readonly BenchRow[] = [...cycles, ...descriptors, ...forgets];
