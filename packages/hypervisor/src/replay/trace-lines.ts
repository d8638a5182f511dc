import type { AccessSize, AddressSpace, Hpa, MmioHandler, Pfn, RamRange } from "@iommu-lab/memory";
import { formatAddress, NO_PASID, type ConfigSpace, type DmaOptions, type RequesterId } from "@iommu-lab/pci-bus";
import type { TableMemory } from "../board/taps.ts";
import { hexBytes } from "./trace-fields.ts";

const PAGE = 4096;
/** Memory is recorded in pieces of this many bytes. */
const PIECE = 16;

/** What the first line of a trace says. */
export interface RecordedMachine {
  readonly vendor: "intel" | "amd";
  /** Bytes of RAM from address 0, or up to its end. */
  readonly ram: number;
  /** Where RAM is, when it is not in one piece. */
  readonly ramMap?: readonly RamRange[];
  readonly registerBase: Hpa;
  readonly registerSize: number;
  /** Offsets of 64-bit capability registers whose reset values a replayer needs. */
  readonly reset: readonly number[];
  /** Bits of a host-physical address; VT-d only. */
  readonly hostAddressWidth?: number;
  /** Where the trace comes from, in words. */
  readonly source: string;
}

/** Memory of a recorded machine. */
export interface RecordedMemory extends AddressSpace<Hpa> {
  /** First address past the last RAM. */
  readonly size: number;
  wordsOf(pfn: Pfn<"HPA">): Uint32Array | undefined;
}

/** The capability block of an AMD IOMMU. AMD-Vi §3.2. */
const CAPABILITY_DWORDS = [0x40, 0x44, 0x48, 0x4c, 0x50, 0x54];

/** A number as a trace has it. */
export const traceHex = (value: number | bigint): string => `0x${value.toString(16)}`;
/** A 64-bit number as a trace has it. */
export const traceWide = (low: number, high: number): string => traceHex((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0));
/** What a request carries in its PASID prefix. */
export const pasidPrefix = ({ pasid = NO_PASID, privileged, execute }: DmaOptions = {}): object => (pasid === NO_PASID ? {} : { pasid, ...(privileged ? { priv: true } : {}), ...(execute ? { exec: true } : {}) });
/** Bus, device and function. */
export const placeOf = (requester: RequesterId): string => formatAddress({ domain: 0, requester }).replace(/^0000:/, "");

/** Which writes to memory the replayed machine makes too: these, those once `commit` says so, or none. */
type Keeping = "now" | "later" | "never";

/**
 * The lines of a machine trace as they come to be: steps, and of memory what the IOMMU and the devices read and what had changed
 * there since they last looked, since the processor's own writes go past us. Format: version 1, one JSON object a line.
 */
export class TraceLines {
  readonly #write: (line: string) => void;
  readonly #memory: RecordedMemory;
  readonly #machine: RecordedMachine;
  /** Pages as the replayed machine has them. */
  readonly #shadow = new Map<number, Uint8Array>();
  /** Messages of the IOMMU itself during the step at hand. */
  #own: string[] = [];
  #keeping: Keeping = "now";
  #later: { readonly at: Hpa; readonly length: number }[] = [];

  /** @param memory what the devices and the IOMMU share; @param write takes a line without its end */
  constructor(memory: RecordedMemory, machine: RecordedMachine, write: (line: string) => void) {
    this.#memory = memory;
    this.#machine = machine;
    this.#write = write;
  }

  /** Writes the first line. Before anything has happened. @param config of an IOMMU that is a function itself */
  begin(registers: MmioHandler, config: ConfigSpace | undefined): void {
    const { vendor, ram, ramMap, registerBase, registerSize, source, hostAddressWidth } = this.#machine;
    const words = new Uint32Array(2);
    const reset = Object.fromEntries(
      this.#machine.reset.map((offset) => {
        registers.read64(offset, words);
        return [traceHex(offset), { size: 8, value: traceWide(words[0] as number, words[1] as number) }]; // two words
      }),
    );
    // What an AMD IOMMU's capability says beside its registers: a replayer needs it too.
    const atReset = config === undefined ? {} : { config: Object.fromEntries(CAPABILITY_DWORDS.map((offset) => [traceHex(offset), traceHex(config.read(offset, 4))])) };
    const map = ramMap === undefined ? {} : { ram_map: ramMap.map(({ start, size }) => [traceHex(start), traceHex(start + size)]) };
    this.#line({ op: "machine", trace: 1, iommu: vendor, source, ram: traceHex(ram), ...map, regs: { base: traceHex(registerBase), size: traceHex(registerSize) }, ...atReset, options: hostAddressWidth === undefined ? {} : { haw: hostAddressWidth }, reset });
  }

  /** A step, and after it what the IOMMU sent meanwhile. What memory had to hold for it stands before it. */
  step(step: unknown): void {
    this.#line(step);
    for (const line of this.#own) this.#write(line);
    this.#own = [];
  }

  /** The IOMMU itself sent a message during the step at hand. */
  ownMessage(address: number, upper: number, data: number): void {
    // Traces of AMD machines tell these by `irqs` steps only.
    if (this.#machine.vendor === "intel") this.#own.push(JSON.stringify({ op: "iommu_msi", addr: traceWide(address, upper), data: traceHex(data >>> 0) }));
  }

  /** Does what has no step of its own in the format: what it writes to memory is recorded when it is looked at. */
  unrecorded<T>(action: () => T): T {
    return this.#with("never", action);
  }

  /** Does what may turn out to have no step: what it writes waits for `commit` or `forget`. */
  undecided<T>(action: () => T): T {
    return this.#with("later", action);
  }

  /** What waited has its step after all, and what follows has its own. */
  commit(): void {
    this.#decide();
    for (const { at, length } of this.#later.splice(0)) this.#take(at, length);
  }

  /** What waited has none. */
  forget(): void {
    this.#decide();
    this.#later = [];
  }

  /** Memory as the IOMMU reaches its tables and queues. */
  tableMemory(memory: TableMemory): TableMemory {
    return {
      wordsOf: (pfn) => {
        const words = memory.wordsOf(pfn);
        if (words === undefined) return undefined;
        const first = memory.wordOf(pfn);
        this.#compare(pfn, new Uint8Array(words.buffer, words.byteOffset + 4 * first, PAGE), 0, PAGE);
        return words;
      },
      wordOf: (pfn) => memory.wordOf(pfn),
      write32: (at, value) => {
        memory.write32(at, value);
        this.keep(at, 4);
      },
    };
  }

  /** The register window. @param before called before each access */
  registers(handler: MmioHandler, before: () => void = () => undefined): MmioHandler {
    const words = new Uint32Array(2);
    return {
      read: (offset, size) => {
        before();
        const value = handler.read(offset, size);
        this.step({ op: "reg_read", off: traceHex(offset), size, value: traceHex(value >>> 0) });
        return value;
      },
      write: (offset, size, value) => {
        before();
        handler.write(offset, size, value);
        this.step({ op: "reg_write", off: traceHex(offset), size, value: traceHex(value >>> 0) });
      },
      read64: (offset, into) => {
        before();
        handler.read64(offset, words);
        into.set(words);
        this.step({ op: "reg_read", off: traceHex(offset), size: 8, value: traceWide(words[0] as number, words[1] as number) }); // two words
      },
      write64: (offset, low, high) => {
        before();
        handler.write64(offset, low, high);
        this.step({ op: "reg_write", off: traceHex(offset), size: 8, value: traceWide(low, high) });
      },
    };
  }

  /** Configuration space of the IOMMU's own function. @param before as in `registers` */
  config(config: ConfigSpace, before: () => void = () => undefined): ConfigSpace {
    return {
      size: config.size,
      read: (offset, size) => config.read(offset, size),
      write: (offset: number, size: AccessSize, value: number) => {
        before();
        config.write(offset, size, value);
        this.step({ op: "cfg_write", off: traceHex(offset), size, value: traceHex(value >>> 0) });
      },
    };
  }

  /** Records what has changed in memory that is about to be read. */
  look(at: Hpa, length: number): void {
    const fresh = new Uint8Array(PAGE);
    for (let pfn = Math.floor(at / PAGE); pfn * PAGE < at + length && pfn * PAGE < this.#memory.size; pfn++) {
      this.#memory.readInto(pfn * PAGE, fresh);
      this.#compare(pfn, fresh, Math.max(at - pfn * PAGE, 0) & -PIECE, Math.min(at + length - pfn * PAGE, PAGE));
    }
  }

  /** Takes over what the step itself writes: the replayed machine writes it too. */
  keep(at: Hpa, length: number): void {
    if (this.#keeping === "now") this.#take(at, length);
    else if (this.#keeping === "later") this.#later.push({ at, length });
  }

  #decide(): void {
    if (this.#keeping === "later") this.#keeping = "now";
  }

  #with<T>(keeping: Keeping, action: () => T): T {
    const before = this.#keeping;
    this.#keeping = keeping;
    try {
      return action();
    } finally {
      this.#keeping = before;
    }
  }

  #line(step: unknown): void {
    this.#write(JSON.stringify(step));
  }

  #pageOf(pfn: number): Uint8Array {
    let page = this.#shadow.get(pfn);
    if (page === undefined) this.#shadow.set(pfn, (page = new Uint8Array(PAGE)));
    return page;
  }

  #compare(pfn: number, fresh: Uint8Array, first: number, end: number): void {
    const shadow = this.#pageOf(pfn);
    for (let piece = first; piece < end; piece += PIECE) {
      let last = piece;
      while (last < end && differs(fresh, shadow, last)) last += PIECE;
      if (last === piece) continue;
      this.#line({ op: "mem_write", addr: traceHex(pfn * PAGE + piece), data: hexBytes(fresh.subarray(piece, last)) });
      shadow.set(fresh.subarray(piece, last), piece);
      piece = last;
    }
  }

  #take(at: Hpa, length: number): void {
    for (let done = 0; done < length && at + done < this.#memory.size; ) {
      const pfn = Math.floor((at + done) / PAGE);
      const offset = at + done - pfn * PAGE;
      const part = Math.min(length - done, PAGE - offset);
      this.#memory.readInto(at + done, this.#pageOf(pfn).subarray(offset, offset + part));
      done += part;
    }
  }
}

const differs = (a: Uint8Array, b: Uint8Array, at: number): boolean => {
  for (let i = at; i < at + PIECE; i++) if (a[i] !== b[i]) return true;
  return false;
};
