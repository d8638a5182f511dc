import type { Access } from "@iommu-lab/pci-bus";
import type { PageRun } from "../process/user-memory.ts";
import type { UserProcess } from "../process/user-process.ts";

/** A page that someone beside the IOMMU holds, with how many do. */
export interface HeldPage {
  readonly runs: readonly PageRun[];
  count: number;
}

/** One range that a user mapped. Linux struct vfio_dma. */
export interface DmaMapping {
  /** IOVA page. */
  readonly first: number;
  readonly pages: number;
  /** Undefined while the user has taken it back, to give another; devices go on reaching the pages. VFIO_DMA_UNMAP_FLAG_VADDR. */
  vaddr: number | undefined;
  readonly access: Access;
  readonly process: UserProcess;
  readonly runs: readonly PageRun[];
  /** By IOVA page: what mediated devices have pinned. */
  readonly held: Map<number, HeldPage>;
  /** One bit a page, while dirty pages are tracked. */
  dirty: Uint8Array | undefined;
}

/** Ranges without overlap, by first page. */
export class MappingTable {
  readonly #sorted: DmaMapping[] = [];
  #vaddrsInvalid = 0;

  get size(): number {
    return this.#sorted.length;
  }

  /** Ranges whose virtual address is taken back. */
  get vaddrsInvalid(): number {
    return this.#vaddrsInvalid;
  }

  [Symbol.iterator](): IterableIterator<DmaMapping> {
    return this.#sorted.values();
  }

  /** The lowest range that has a page of `first` to `last`. */
  find(first: number, last: number): DmaMapping | undefined {
    const found = this.#sorted[this.#position(first)];
    return found && found.first <= last ? found : undefined;
  }

  /** All ranges that have pages of `first` to `last`. */
  within(first: number, last: number): DmaMapping[] {
    const from = this.#position(first);
    let to = from;
    while (to < this.#sorted.length && (this.#sorted[to] as DmaMapping).first <= last) to++;
    return this.#sorted.slice(from, to);
  }

  insert(mapping: DmaMapping): void {
    this.#sorted.splice(this.#position(mapping.first), 0, mapping);
  }

  remove(mapping: DmaMapping): void {
    if (mapping.vaddr === undefined) this.#vaddrsInvalid--;
    this.#sorted.splice(this.#position(mapping.first), 1);
  }

  /** Changes where a range lies in the process, or takes that back. */
  move(mapping: DmaMapping, vaddr: number | undefined): void {
    this.#vaddrsInvalid += (vaddr === undefined ? 1 : 0) - (mapping.vaddr === undefined ? 1 : 0);
    mapping.vaddr = vaddr;
  }

  /** Index of the first range that ends at `page` or later. */
  #position(page: number): number {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { first, pages } = this.#sorted[middle] as DmaMapping;
      if (first + pages - 1 < page) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
