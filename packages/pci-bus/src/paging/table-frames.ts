import { hex, type FrameAllocator, type Pfn, type PhysicalMemory } from "@iommu-lab/memory";
import { IommuDriverError } from "../driver.ts";

/** Frames for tables and queues: allocated zeroed, and written through live views of memory. */
export class TableFrames {
  readonly #memory: PhysicalMemory;
  readonly #frames: FrameAllocator;

  constructor(memory: PhysicalMemory, frames: FrameAllocator) {
    this.#memory = memory;
    this.#frames = frames;
  }

  /** 2^order zeroed frames. @throws IommuDriverError ENOMEM when there are none */
  allocate(order = 0): Pfn<"HPA"> {
    const page = order > this.#frames.maxOrder ? -1 : this.#frames.allocate(order);
    if (page < 0) throw new IommuDriverError("ENOMEM", `No ${2 ** order} free frames for a table; unmap or free something first.`);
    for (let i = 0; i < 2 ** order; i++) this.words(page + i).fill(0);
    return page;
  }

  free(page: Pfn<"HPA">): void {
    this.#frames.free(page);
  }

  /** The live words of a page. @throws IommuDriverError EINVAL where no RAM is */
  words(page: Pfn<"HPA">): Uint32Array {
    const words = this.#memory.page(page);
    if (words === undefined) throw new IommuDriverError("EINVAL", `Page ${hex(page)} of the frame allocator is not RAM.`);
    return words;
  }
}

/** Page number in bits 51:12 of a 64-bit entry. */
export const pageOfEntry = (low: number, high: number): Pfn<"HPA"> => (high & 0xf_ffff) * 0x10_0000 + (low >>> 12);

/** Writes a 64-bit entry that becomes present with its low word: high word first. @param high flags above the address in the high word */
export const writeEntry = (words: Uint32Array, at: number, page: Pfn<"HPA">, flags: number, high = 0): void => {
  words[at + 1] = (page / 0x10_0000) | high; // a store to a Uint32Array truncates
  words[at] = (page << 12) | flags; // and a shift takes the low 32 bits
};
