import { FlatMemory, FrameAllocator } from "@iommu-lab/memory";
import { Access } from "@iommu-lab/pci-bus";
import { hostPage } from "../../../scripts/bench/page-orders.ts";
import type { BenchRow } from "../../../scripts/bench/row.ts";
import { sink } from "../../../scripts/bench/translate-loop.ts";
import { AmdDriver } from "../src/driver/index.ts";
import { AmdIommu, ZEN } from "../src/hardware/index.ts";
import { CMD_TAIL } from "../src/layouts/index.ts";
import { commandKernel, READ, translateKernel } from "./kernel.ts";
import { COMMAND_PAGE, DOMAIN, Machine, REQUESTER, STATUS } from "./machine.ts";

const RING_WORD = COMMAND_PAGE * 1024;
/** Second words of commands: opcode and domain. */
const INVALIDATE_PAGES = DOMAIN | (3 << 28);
const INVALIDATE_ALL = 8 << 28;
const WAIT = 1 << 28;
/** In the third word: page directory entries too; in a wait's first word: store. */
const DIRECTORIES = 2;
const STORE = 1;
/** The address that means everything, with S and PDE. AMD-Vi §2.4.3. */
const EVERYTHING_LOW = 0xffff_f003 | 0;
const EVERYTHING_HIGH = 0x7fff_ffff;

/** The software side of a buffer of 256 commands of 16 bytes, written as words. */
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
    this.write(0, INVALIDATE_PAGES, (page << 12) | DIRECTORIES, page >>> 20);
  }

  wait(data: number): void {
    this.write(STATUS | STORE, WAIT, data, 0);
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

/** The driver's own domain, over the IOMMU: map one page, unmap it, flush. */
const cycleModel = (mappings: number) => (): (() => number) => {
  const memory = new FlatMemory(sizeFor(mappings));
  const iommu = new AmdIommu({ memory, capabilities: ZEN });
  const driver = new AmdDriver({ memory, frames: new FrameAllocator({ start: 16, count: sizeFor(mappings) / 4096 - 16 }), physicalAddressWidth: ZEN.physicalAddressWidth, units: [{ registers: iommu.registers }] });
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
  const machine = new Machine({ mode: "host", memory: new FlatMemory(sizeFor(mappings)) });
  const words = wordsOf(machine);
  for (let page = 0; page < mappings; page++) machine.map(page, hostPage(page, 2 ** 20));
  const top = machine.host << 10;
  const ring = new Ring(words);
  const run = commandKernel(words, RING_WORD);
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
      if (((words[STATUS / 4] ?? 0) | 0) !== status) throw new Error("The buffer did not finish.");
      const again = leafOf(page);
      words[again + 1] = 3 << 29;
      words[again] = (hostPage(page, 2 ** 20) << 12) | 1;
    }
    return 256;
  };
};

const CYCLE = { must: 100, goal: 40 };
const cycles: readonly BenchRow[] = [
  ...[1e3, 1e4, 1e5, 1e6].map((mappings): BenchRow => ({ name: `driver: map, unmap, invalidate, wait; ${mappings} mappings`, unit: "ns/op", target: 10, limit: CYCLE, source: "P5; ratio as for VT-d", kernel: cycleKernel(mappings), model: cycleModel(mappings) })),
  { name: "driver: map cycle with 1e6 mappings against 1e3", unit: "ns/op", target: 1.5, source: "P5, flat", kernel: cycleModel(1e3), model: cycleModel(1e6) },
];

// Commands.

/** Page invalidations and now and then a wait, then the tail: software's writes are part of it. */
const batchModel = (waitEvery: number) => (): (() => number) => {
  const machine = new Machine({ mode: "host" });
  const words = wordsOf(machine);
  for (let page = 0; page < 256; page++) machine.map(page, hostPage(page, 256));
  machine.request.page = 3;
  machine.iommu.translate(machine.request, machine.out);
  const { iommu } = machine;
  const ring = new Ring(words);
  let page = 0;
  let status = 0;
  const batch = waitEvery * Math.ceil(9 / waitEvery);
  return () => {
    for (let round = 0; round < 64; round++) {
      for (let i = 1; i <= batch; i++)
        if (i % waitEvery === 0) ring.wait((status = (status + 1) | 0));
        else ring.invalidatePage((page = (page + 1) & 255));
      iommu.registers.write(CMD_TAIL.offset, 4, ring.tail);
      if (((words[STATUS / 4] ?? 0) | 0) !== status) throw new Error("The buffer did not finish.");
    }
    return 64 * batch;
  };
};

const batchKernel = (waitEvery: number) => (): (() => number) => {
  const words = wordsOf(new Machine({ mode: "host" }));
  const ring = new Ring(words);
  const run = commandKernel(words, RING_WORD);
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
      if (((words[STATUS / 4] ?? 0) | 0) !== status) throw new Error("The buffer did not finish.");
    }
    return 64 * batch;
  };
};

const COMMAND = { must: 15, goal: 6 };
const commands: readonly BenchRow[] = [
  { name: "command, page invalidation, a wait every 9th", unit: "ns/op", target: 3, limit: COMMAND, source: "P6; ratio as P2", kernel: batchKernel(9), model: batchModel(9) },
  { name: "command, page invalidation, a wait every 128th", unit: "ns/op", target: 3, limit: COMMAND, source: "P6; ratio as P2", kernel: batchKernel(128), model: batchModel(128) },
];

// Invalidations of more than pages.

const forgetDomain = (ring: Ring): void => {
  ring.write(0, INVALIDATE_PAGES, EVERYTHING_LOW, EVERYTHING_HIGH);
};
const forgetAll = (ring: Ring): void => {
  ring.write(0, INVALIDATE_ALL, 0, 0);
};

/** One invalidation by command of a full IOTLB, and the translation after it, which is a miss: without it the domain would be empty. */
const forgetModel = (sets: number, forget: (ring: Ring) => void) => (): (() => number) => {
  const machine = new Machine({ mode: "host", iotlb: { sets, ways: 4 } });
  const { iommu, request, out } = machine;
  for (let page = 0; page < 4 * sets; page++) machine.map(page, hostPage(page, 4096));
  for (let page = 0; page < 4 * sets; page++) {
    request.page = page;
    iommu.translate(request, out);
  }
  const ring = new Ring(wordsOf(machine));
  let page = 0;
  return () => {
    for (let i = 0; i < 256; i++) {
      forget(ring);
      iommu.registers.write(CMD_TAIL.offset, 4, ring.tail);
      request.page = page = (page + 1) & 255;
      iommu.translate(request, out);
      sink.value = (sink.value + out.page) | 0;
    }
    return 256;
  };
};

/** What cannot be done faster: the command is read, its opcode, its address and what it means checked and its domain given another generation, which empties the table of it; then the walk. */
const forgetKernel = (): (() => number) => {
  const machine = new Machine({ mode: "host" });
  const words = wordsOf(machine);
  for (let page = 0; page < 1024; page++) machine.map(page, hostPage(page, 4096));
  const out = new Int32Array(2);
  const translate = translateKernel(words, machine.host, out);
  const ring = new Ring(words);
  const generations = new Uint16Array(0x1_0000);
  let page = 0;
  return () => {
    for (let i = 0; i < 256; i++) {
      const at = RING_WORD + (ring.tail >>> 2);
      forgetDomain(ring);
      const second = words[at + 1] as number; // the ring is in memory
      if (second >>> 28 !== 3 || ((words[at + 2] as number) | 0) !== EVERYTHING_LOW || words[at + 3] !== EVERYTHING_HIGH) throw new Error("The kernel knows no other command.");
      const generation = (generations[second & 0xffff] = (generations[second & 0xffff] as number) + 1); // as many as there are domains
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
  { name: "domain invalidation of 4096 entries, and a miss", unit: "ns/op", target: 25, limit: FORGET, source: "P8, P2; ratio as for VT-d", kernel: forgetKernel, model: forgetModel(1024, forgetDomain) },
  { name: "invalidation of everything, 4096 entries, and a miss", unit: "ns/op", target: 25, limit: FORGET, source: "P8, P2; ratio as for VT-d", kernel: forgetKernel, model: forgetModel(1024, forgetAll) },
  { name: "domain invalidation of 4096 entries against 256", unit: "ns/op", target: 1.25, source: "P8, O(1)", kernel: forgetModel(64, forgetDomain), model: forgetModel(1024, forgetDomain) },
  { name: "invalidation of everything, 4096 entries against 256", unit: "ns/op", target: 1.25, source: "P8, O(1)", kernel: forgetModel(64, forgetAll), model: forgetModel(1024, forgetAll) },
];

export const rows: readonly BenchRow[] = [...cycles, ...commands, ...forgets];
