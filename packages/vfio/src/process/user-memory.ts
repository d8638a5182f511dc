import type { Hpa } from "@iommu-lab/memory";

/** Neighbouring host pages. */
export interface PageRun {
  /** Of the first page. */
  readonly hpa: Hpa;
  readonly pages: number;
}

/** A process's memory as the kernel pins it for DMA; a hypervisor's memory of a virtual machine is one. Linux pin_user_pages. */
export interface UserMemory {
  /**
   * Holds pages where they are until `unpin`; pins are counted.
   * @param vaddr a multiple of 4 KiB in the process
   * @returns the pages in order, or undefined when one is not there or may not be written: nothing is pinned then (EFAULT)
   */
  pin(vaddr: number, pages: number, writable: boolean): readonly PageRun[] | undefined;
  /** Takes one pin of each page away. */
  unpin(runs: readonly PageRun[]): void;
}
