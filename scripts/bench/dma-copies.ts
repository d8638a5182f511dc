import type { BenchRow } from "./row.ts";

const MIB = 2 ** 20;
const SIZE = 64 * MIB;
/** Tables are below this. */
const TABLES = 8 * MIB;
/** The device's own buffer and the host pages of its buffers, scattered over 16 MiB. */
const DEVICE = 40 * MIB;
const FIRST_PAGE = (16 * MIB) / 4096;
const PAGES = 4096;
const hostOf = (page: number): number => FIRST_PAGE + ((page * 2731) & (PAGES - 1));

/** A machine as DMA sees it, over 64 MiB of which tables take the first 8 at most. */
interface DmaMachine<R, T> {
  readonly iommu: { readonly translate: (request: R, out: T) => void };
  readonly request: R;
  readonly out: T;
  readonly memory: { readonly copy: (to: number, from: number, length: number) => void };
  readonly map: (page: number, host: number) => void;
}

/** Makes a machine on a memory whose words, but for those of tables, are not 0. */
type MakeMachine<R, T> = (size: number, fill: (words: Uint32Array) => void) => DmaMachine<R, T>;

/** Pages that were never touched cost the system's time, not ours. */
const fill = (words: Uint32Array): void => {
  words.fill(1, TABLES / 4);
};

/** DMA reads of `size` bytes, page by page, from `buffers` buffers in turn into the device's own. */
const model = <R extends { page: number }, T extends { readonly page: number }>(make: MakeMachine<R, T>, size: number, buffers: number) => (): (() => number) => {
  const { iommu, request, out, memory, map } = make(SIZE, fill);
  const pages = size / 4096;
  for (let page = 0; page < pages * buffers; page++) map(page, hostOf(page));
  let buffer = 0;
  return () => {
    for (let page = 0; page < pages; page++) {
      request.page = buffer * pages + page;
      iommu.translate(request, out);
      memory.copy(DEVICE + page * 4096, out.page * 4096, 4096);
    }
    buffer = (buffer + 1) % buffers;
    return 1;
  };
};

/** The same copies with the scatter list known. */
const kernel = (size: number, buffers: number) => (): (() => number) => {
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

/** Copies through an IOMMU against copies of the same pages. */
export const dmaRows = <R extends { page: number }, T extends { readonly page: number }>(make: MakeMachine<R, T>): readonly BenchRow[] =>
  ([["4 KiB, 128 buffers", 4096, 128, 1.4], ["64 KiB, 8 buffers", 65_536, 8, 1.4], ["1 MiB, one buffer", MIB, 1, 1.15], ["1 MiB, 16 buffers, every page an IOTLB miss", MIB, 16, 1.15]] as const).map(([label, size, buffers, target]) => ({ name: `DMA ${label}`, unit: "ns/op", target, source: "P4", kernel: kernel(size, buffers), model: model(make, size, buffers) }));
