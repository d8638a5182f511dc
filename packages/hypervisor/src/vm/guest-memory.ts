import { PAGE_SIZE, type FrameAllocator, type Gpa, type Hpa, type Pfn, type PhysicalMemory, type SparseMemory } from "@iommu-lab/memory";
import { PageRight, ProcessorTables } from "../mmu/processor-tables.ts";

/** Neighbouring host pages. */
interface HostRun {
  readonly hpa: Hpa;
  readonly pages: number;
}

/** Where a VM's memory comes from. */
export interface GuestMemoryOptions {
  readonly memory: SparseMemory;
  readonly frames: FrameAllocator;
  /** Bytes, a multiple of 4096. */
  readonly size: number;
}

/**
 * Guest-physical memory: pages of the host, wherever they are, put together by second-stage tables. Nobody but the hypervisor
 * knows where a page really is. Also a process's memory that the kernel can pin: the hypervisor's own view of it starts at 0.
 */
export class GuestMemory implements PhysicalMemory {
  /** Bytes, from GPA 0 on. */
  readonly size: number;
  /** The tables that the processor walks while the guest runs. */
  readonly tables: ProcessorTables;
  readonly #memory: SparseMemory;
  readonly #frames: FrameAllocator;
  /** Host page of each guest page; what the tables say. */
  readonly #pages: Float64Array;

  /** Takes frames for everything: assigned devices cannot wait for a page. @throws RangeError when there are not enough */
  constructor({ memory, frames, size }: GuestMemoryOptions) {
    this.size = size;
    this.#memory = memory;
    this.#frames = frames;
    this.tables = new ProcessorTables("extended", memory, frames);
    this.#pages = new Float64Array(size / PAGE_SIZE);
    this.#fill();
  }

  /** Where a guest page is; undefined past the end. */
  hostPage(page: Pfn<"GPA">): Pfn<"HPA"> | undefined {
    return this.#pages[page];
  }

  /** Where a byte is. @throws RangeError past the end of guest memory */
  hpaOf(gpa: Gpa): Hpa {
    const page = this.#pages[Math.floor(gpa / PAGE_SIZE)];
    if (page === undefined) throw new RangeError(`GPA 0x${gpa.toString(16)} is past the guest's memory of 0x${this.size.toString(16)} bytes.`);
    return page * PAGE_SIZE + (gpa % PAGE_SIZE);
  }

  /**
   * Moves a page to another frame, as compaction and migration between nodes do: copies it and changes the tables. Whoever has
   * mapped the old frame for a device must map the new one. The old frame is free afterwards.
   * @throws RangeError when the frame is pinned: a device may be writing to it
   */
  move(page: Pfn<"GPA">): Hpa {
    const old = this.#pages[page];
    if (old === undefined) throw new RangeError(`The guest has no page ${page}.`);
    const next = this.#take();
    const bytes = new Uint8Array(PAGE_SIZE);
    this.#memory.readInto(old * PAGE_SIZE, bytes);
    this.#memory.writeFrom(next * PAGE_SIZE, bytes);
    try {
      this.#frames.free(old);
    } catch (error) {
      this.#frames.free(next);
      throw error;
    }
    this.#place(page, next);
    return next * PAGE_SIZE;
  }

  /** Gives every frame back but for the tables'. */
  release(): void {
    for (const page of this.#pages) this.#frames.free(page);
  }

  /** Pins pages for DMA. @returns runs of host pages, or undefined where the guest has no memory */
  pin(vaddr: number, pages: number): readonly HostRun[] | undefined {
    const first = vaddr / PAGE_SIZE;
    if (!Number.isInteger(first) || first < 0 || first + pages > this.#pages.length) return undefined;
    const runs: { hpa: Hpa; pages: number }[] = [];
    for (let page = first; page < first + pages; page++) {
      const host = this.#pages[page] as number; // checked above
      this.#frames.pin(host);
      const last = runs.at(-1);
      if (last && last.hpa + last.pages * PAGE_SIZE === host * PAGE_SIZE) last.pages++;
      else runs.push({ hpa: host * PAGE_SIZE, pages: 1 });
    }
    return runs;
  }

  /** Takes one pin of each page away. */
  unpin(runs: readonly HostRun[]): void {
    for (const { hpa, pages } of runs) for (let i = 0; i < pages; i++) this.#frames.unpin(hpa / PAGE_SIZE + i);
  }

  /** Words that a guest page is among, by its number in the guest, for walkers of tables that the guest keeps; undefined where it has no memory. */
  wordsOf(page: number): Uint32Array | undefined {
    const host = this.#pages[page];
    return host === undefined ? undefined : this.#memory.wordsOf(host);
  }

  /** The words of one guest page, for the guest's own kernel; undefined where it has no memory. */
  page(page: number): Uint32Array | undefined {
    const host = this.#pages[page];
    return host === undefined ? undefined : this.#memory.page(host);
  }

  /** Index in those words of the page's first. */
  wordOf(page: number): number {
    const host = this.#pages[page];
    return host === undefined ? 0 : this.#memory.wordOf(host);
  }

  read8(at: number): number {
    return at < this.size ? this.#memory.read8(this.hpaOf(at)) : 0xff;
  }

  read16(at: number): number {
    return this.read8(at) | (this.read8(at + 1) << 8);
  }

  read32(at: number): number {
    return at % 4 === 0 && at < this.size ? this.#memory.read32(this.hpaOf(at)) : (this.read16(at) | (this.read16(at + 2) << 16)) >>> 0;
  }

  write8(at: number, value: number): void {
    if (at < this.size) this.#memory.write8(this.hpaOf(at), value);
  }

  write16(at: number, value: number): void {
    this.write8(at, value & 0xff);
    this.write8(at + 1, (value >>> 8) & 0xff);
  }

  write32(at: number, value: number): void {
    if (at % 4 === 0 && at < this.size) this.#memory.write32(this.hpaOf(at), value);
    else {
      this.write16(at, value & 0xffff);
      this.write16(at + 2, value >>> 16);
    }
  }

  read64(at: number, into: Uint32Array): void {
    into[0] = this.read32(at);
    into[1] = this.read32(at + 4);
  }

  write64(at: number, low: number, high: number): void {
    this.write32(at, low);
    this.write32(at + 4, high);
  }

  readInto(at: number, bytes: Uint8Array): void {
    this.#pieces(at, bytes, (hpa, part) => {
      if (hpa === undefined) part.fill(0xff);
      else this.#memory.readInto(hpa, part);
    });
  }

  writeFrom(at: number, bytes: Uint8Array): void {
    this.#pieces(at, bytes, (hpa, part) => {
      if (hpa !== undefined) this.#memory.writeFrom(hpa, part);
    });
  }

  #pieces(at: Gpa, bytes: Uint8Array, each: (hpa: Hpa | undefined, part: Uint8Array) => void): void {
    for (let done = 0; done < bytes.length; ) {
      const gpa = at + done;
      const part = bytes.subarray(done, done + Math.min(bytes.length - done, PAGE_SIZE - (gpa % PAGE_SIZE)));
      each(gpa < this.size ? this.hpaOf(gpa) : undefined, part);
      done += part.length;
    }
  }

  #fill(): void {
    for (let page = 0; page < this.#pages.length; page++) {
      try {
        this.#place(page, this.#take());
      } catch (error) {
        // The host keeps what makes no guest. Frame 0 is never given out: it stands for none.
        for (const taken of this.#pages) if (taken !== 0) this.#frames.free(taken);
        throw error;
      }
    }
  }

  #take(): Pfn<"HPA"> {
    const page = this.#frames.allocate();
    if (page < 0) throw new RangeError("The host has no frame left for the guest's memory.");
    return page;
  }

  #place(page: Pfn<"GPA">, host: Pfn<"HPA">): void {
    this.#pages[page] = host;
    this.tables.map(page * PAGE_SIZE, host * PAGE_SIZE, PageRight.Read | PageRight.Write | PageRight.Execute);
  }
}
