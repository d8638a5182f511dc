import { SparseMemory, type Hpa, type Pfn } from "@iommu-lab/memory";
import type { Field, Layout } from "@iommu-lab/memory/layout";

export type AnyLayout = Layout<Readonly<Record<string, Field>>>;
export type Fields = Readonly<Record<string, number>>;

/** RAM of a bench: tables and rings stand below. Pages that devices are given may lie above; nobody reads them here. */
export const RAM = 0x4000_0000;

/** Memory with tables in it: pages handed out in order, so that the same settings give the same addresses. */
export class Tables {
  readonly memory = new SparseMemory({ ranges: [{ start: 0, size: RAM }] });
  #next: Pfn<"HPA">;

  constructor(firstPage: Pfn<"HPA">) {
    this.#next = firstPage;
  }

  page(): Pfn<"HPA"> {
    return this.#next++;
  }

  put(layout: AnyLayout, address: Hpa, fields: Fields): void {
    this.putWords(address, layout.encode(fields));
  }

  putWords(address: Hpa, words: ArrayLike<number>): void {
    for (let i = 0; i < words.length; i++) this.memory.write32(address + 4 * i, words[i] ?? 0);
  }

  words(address: Hpa, count: number): Uint32Array {
    return Uint32Array.from({ length: count }, (_, i) => this.memory.read32(address + 4 * i));
  }
}

/** Row of a table of some level that a page number selects. */
export const indexAt = (page: number, level: number): number => Math.floor(page / 2 ** (9 * (level - 1))) % 512;
