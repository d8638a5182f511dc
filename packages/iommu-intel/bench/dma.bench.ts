import { FlatMemory } from "@iommu-lab/memory";
import type { BenchRow } from "../../../scripts/bench/row.ts";
import { Machine } from "./machine.ts";

const MIB = 2 ** 20;
const SIZE = 64 * MIB;
/** The device's own buffer and the host pages of its buffers, scattered over 16 MiB. */
const DEVICE = 40 * MIB;
const FIRST_PAGE = (16 * MIB) / 4096;
const PAGES = 4096;
const hostOf = (page: number): number => FIRST_PAGE + ((page * 2731) & (PAGES - 1));

/** DMA reads of `size` bytes, page by page, from `buffers` buffers in turn into the device's own. */
const dmaModel = (size: number, buffers: number) => (): (() => number) => {
  const memory = new FlatMemory(SIZE);
  memory.words.fill(1);
  memory.words.fill(0, 0, (8 * MIB) / 4);
  const machine = new Machine({ mode: "legacy", memory });
  const pages = size / 4096;
  for (let page = 0; page < pages * buffers; page++) machine.map(machine.second, page, hostOf(page));
  const { unit, request, out } = machine;
  let buffer = 0;
  return () => {
    for (let page = 0; page < pages; page++) {
      request.page = buffer * pages + page;
      unit.translate(request, out);
      memory.copy(DEVICE + page * 4096, out.page * 4096, 4096);
    }
    buffer = (buffer + 1) % buffers;
    return 1;
  };
};

/** The same copies with the scatter list known. */
const dmaKernel = (size: number, buffers: number) => (): (() => number) => {
  const bytes = new Uint8Array(SIZE).fill(1);
  const pages = size / 4096;
  const list = Int32Array.from({ length: pages * buffers }, (_, page) => hostOf(page) * 4096);
  let buffer = 0;
  return () => {
    for (let page = 0; page < pages; page++) {
      const from = list[buffer * pages + page] as number; // buffer wraps
      bytes.copyWithin(DEVICE + page * 4096, from, from + 4096);
    }
    buffer = (buffer + 1) % buffers;
    return 1;
  };
};

const row = (label: string, size: number, buffers: number, target: number): BenchRow => ({ name: `DMA ${label}`, unit: "ns/op", target, source: "P4", kernel: dmaKernel(size, buffers), model: dmaModel(size, buffers) });

export const rows: readonly BenchRow[] = [
  row("4 KiB, 128 buffers", 4096, 128, 1.4),
  row("64 KiB, 8 buffers", 65_536, 8, 1.4),
  row("1 MiB, 16 buffers, every page an IOTLB miss", MIB, 16, 1.15),
];
