import { hex, PAGE_SIZE, type FrameAllocator, type Hpa, type PhysicalMemory } from "@iommu-lab/memory";

/** What an access of a processor is, and what a table allows. */
export const PageRight = { Read: 1, Write: 2, Execute: 4, User: 8 } as const;
/** A sum of `PageRight` bits. */
export type PageRights = number;

/** Which of the processor's tables: its own paging, or the second stage under a VM. */
export type TableFormat = "paging" | "extended";

/** One entry that a walk read. */
export interface WalkStep {
  /** 4 at the root to 1. */
  readonly level: number;
  /** 9 bits. */
  readonly index: number;
  /** Address of the entry. */
  readonly at: Hpa;
  /** Bits 31:0 and 63:32. */
  readonly low: number;
  readonly high: number;
}

/** How a walk ended. */
export interface ProcessorWalk {
  /** Where the page is; undefined when it faulted. */
  readonly hpa: Hpa | undefined;
  /** Rights that all levels leave. */
  readonly rights: PageRights;
  /** Error code of a page fault (Intel SDM vol. 3 §4.7), or the qualification of an EPT violation (§28.2.1); 0 when it went through. */
  readonly error: number;
  readonly steps: readonly WalkStep[];
}

const LEVELS = 4;
const PRESENT = { paging: 1, extended: 7 } as const;
/** Page fault error code: present, write, user, instruction fetch. */
const Fault = { Present: 1, Write: 2, User: 4, Fetch: 16 } as const;
const [WRITABLE, USER, NO_EXECUTE_HIGH] = [2, 4, 0x8000_0000];

const entryBits = (format: TableFormat, rights: PageRights): readonly [low: number, high: number] =>
  format === "extended"
    ? [rights & 7, 0]
    : [1 | (rights & PageRight.Write ? WRITABLE : 0) | (rights & PageRight.User ? USER : 0), rights & PageRight.Execute ? 0 : NO_EXECUTE_HIGH];

const rightsOf = (format: TableFormat, low: number, high: number): PageRights =>
  format === "extended"
    ? (low & 7) | PageRight.User
    : PageRight.Read | (low & WRITABLE ? PageRight.Write : 0) | (low & USER ? PageRight.User : 0) | (high >>> 31 === 0 ? PageRight.Execute : 0);

/**
 * Page tables of a processor in memory: four levels, pages of 4 KiB. Intel SDM vol. 3 §4.5 "4-Level Paging" and, as the second stage
 * under a VM, §28.3 "The Extended Page Table Mechanism".
 */
export class ProcessorTables {
  readonly format: TableFormat;
  /** Address of the root table: CR3, or the EPT pointer, without its flags. */
  readonly root: Hpa;
  readonly #memory: PhysicalMemory;
  readonly #frames: FrameAllocator;
  #tables = 1;

  /** @throws RangeError when there is no frame left */
  constructor(format: TableFormat, memory: PhysicalMemory, frames: FrameAllocator) {
    this.format = format;
    this.#memory = memory;
    this.#frames = frames;
    this.root = this.#table();
  }

  /** Pages that tables take. */
  get tables(): number {
    return this.#tables;
  }

  /** Maps a page, or maps it elsewhere. @throws RangeError when there is no frame left for tables */
  map(address: number, hpa: Hpa, rights: PageRights): void {
    const [low, high] = entryBits(this.format, rights);
    const at = this.#leaf(address, true);
    if (at === undefined) return;
    this.#memory.write32(at, (low + (hpa % 2 ** 32)) >>> 0);
    this.#memory.write32(at + 4, (high | Math.floor(hpa / 2 ** 32)) >>> 0);
  }

  /** Takes a page out; false where none was. */
  unmap(address: number): boolean {
    const at = this.#leaf(address, false);
    if (at === undefined || (this.#memory.read32(at) & PRESENT[this.format]) === 0) return false;
    this.#memory.write32(at, 0);
    this.#memory.write32(at + 4, 0);
    return true;
  }

  /** Walks for one access, and tells every entry read. */
  walk(address: number, access: PageRights): ProcessorWalk {
    const steps: WalkStep[] = [];
    let table = this.root;
    let rights = PageRight.Read | PageRight.Write | PageRight.Execute | PageRight.User;
    for (let level = LEVELS; level >= 1; level--) {
      const index = indexAt(address, level);
      const at = table + 8 * index;
      const low = this.#memory.read32(at);
      const high = this.#memory.read32(at + 4);
      steps.push({ level, index, at, low, high });
      if ((low & PRESENT[this.format]) === 0) return { hpa: undefined, rights: 0, error: this.#error(access, undefined), steps };
      rights &= rightsOf(this.format, low, high);
      table = (low & ~0xfff) >>> 0;
      table += (high & 0xf_ffff) * 2 ** 32;
    }
    const wanted = access & (this.format === "extended" ? 7 : 15);
    if ((wanted & ~rights) !== 0) return { hpa: undefined, rights, error: this.#error(access, rights), steps };
    return { hpa: table + (address % PAGE_SIZE), rights, error: 0, steps };
  }

  /**
   * A page fault's error code, or an EPT violation's qualification: access in bits 2:0, what the tables allow in 5:3.
   * @param rights undefined where an entry was not present
   */
  #error(access: PageRights, rights: PageRights | undefined): number {
    if (this.format === "extended") return (access & 7) | (((rights ?? 0) & 7) << 3);
    return (rights === undefined ? 0 : Fault.Present) | (access & PageRight.Write ? Fault.Write : 0) | (access & PageRight.User ? Fault.User : 0) | (access & PageRight.Execute ? Fault.Fetch : 0);
  }

  #leaf(address: number, make: boolean): Hpa | undefined {
    let table = this.root;
    for (let level = LEVELS; level > 1; level--) {
      const at = table + 8 * indexAt(address, level);
      const low = this.#memory.read32(at);
      if ((low & PRESENT[this.format]) !== 0) {
        table = ((low & ~0xfff) >>> 0) + (this.#memory.read32(at + 4) & 0xf_ffff) * 2 ** 32;
        continue;
      }
      if (!make) return undefined;
      const next = this.#table();
      this.#tables++;
      // Tables allow everything: pages decide.
      const [bits] = entryBits(this.format, PageRight.Read | PageRight.Write | PageRight.Execute | PageRight.User);
      this.#memory.write32(at, (bits + (next % 2 ** 32)) >>> 0);
      this.#memory.write32(at + 4, Math.floor(next / 2 ** 32));
      table = next;
    }
    return table + 8 * indexAt(address, 1);
  }

  #table(): Hpa {
    const page = this.#frames.allocate();
    if (page < 0) throw new RangeError("There is no frame left for page tables.");
    this.#memory.writeFrom(page * PAGE_SIZE, new Uint8Array(PAGE_SIZE));
    return page * PAGE_SIZE;
  }
}

const indexAt = (address: number, level: number): number => Math.floor(address / 2 ** (12 + 9 * (level - 1))) % 512;

/** A walk in words, one line an entry. */
export const describeWalk = ({ steps, hpa }: ProcessorWalk): string[] => [...steps.map(({ level, index, at, low, high }) => `level ${level}, entry ${index} at HPA ${hex(at)}: 0x${((BigInt(high) << 32n) | BigInt(low)).toString(16)}`), hpa === undefined ? "fault" : `HPA ${hex(hpa)}`];
