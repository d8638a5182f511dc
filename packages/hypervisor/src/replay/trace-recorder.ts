import type { AccessSize, AddressSpace, Hpa, MmioHandler } from "@iommu-lab/memory";
import { AddressType, Completion, formatAddress, NO_PASID, type ConfigSpace, type DmaOptions, type Interrupt, type InterruptSink, type PciFunction, type UpstreamPort } from "@iommu-lab/pci-bus";
import type { BoardTaps, TableMemory } from "../board/taps.ts";
import type { GuestRam } from "../engines/engine.ts";

const PAGE = 4096;
/** Memory is recorded in pieces of this many bytes. */
const PIECE = 16;

/** What the first line of a trace says. */
export interface RecordedMachine {
  readonly vendor: "intel" | "amd";
  /** Bytes of RAM from address 0. */
  readonly ram: number;
  readonly registerBase: Hpa;
  readonly registerSize: number;
  /** Offsets of 64-bit capability registers whose reset values a replayer needs. */
  readonly reset: readonly number[];
  /** Bits of a host-physical address; VT-d only. */
  readonly hostAddressWidth?: number;
  /** Where the trace comes from, in words. */
  readonly source: string;
}

/** The capability block of an AMD IOMMU. AMD-Vi §3.2. */
const CAPABILITY_DWORDS = [0x40, 0x44, 0x48, 0x4c, 0x50, 0x54];
/** Bits 63:20 of an address that means interrupts. */
const INTERRUPT_RANGE = 0xfeen;

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
const hexBytes = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const wide = (low: number, high: number): string => hex((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0));
/** What a request carries in its PASID prefix. */
const prefix = ({ pasid = NO_PASID, privileged, execute }: DmaOptions = {}): object => (pasid === NO_PASID ? {} : { pasid, ...(privileged ? { priv: true } : {}), ...(execute ? { exec: true } : {}) });
const placeOf = (requester: number): string => formatAddress({ domain: 0, requester }).replace(/^0000:/, "");

/**
 * Writes a machine trace of what happens on a board, for `replay`: register accesses, DMA, messages, and of memory what the IOMMU and
 * the devices read and what had changed there since they last looked, since the processor's own writes go past us.
 * Format: version 1, one JSON object a line. It has no words for translated requests, translation and page requests of devices, nor
 * for a page of tables that could not be read: a replay knows none of them.
 */
export class TraceRecorder implements BoardTaps {
  readonly #write: (line: string) => void;
  readonly #memory: GuestRam;
  readonly #vendor: "intel" | "amd";
  /** Pages as the replayed machine has them. */
  readonly #shadow = new Map<number, Uint8Array>();
  /** Messages of the IOMMU itself during the step at hand. */
  #own: string[] = [];
  /** The IOMMU's own configuration space, where it is a function. */
  #ownConfig: ConfigSpace | undefined;
  /** What happens now has no step of its own in the format: what it writes to memory is recorded when it is looked at. */
  #unrecorded = false;
  /** Transfers that reached memory of the machine. */
  #reached = 0;
  /** What the message at hand became; null while it is blocked. */
  #delivered: { readonly addr: string; readonly data: string } | null = null;

  readonly #machine: RecordedMachine;

  /** @param memory what the devices and the IOMMU share; @param write takes a line without its end */
  constructor(memory: GuestRam, machine: RecordedMachine, write: (line: string) => void) {
    this.#memory = memory;
    this.#machine = machine;
    this.#vendor = machine.vendor;
    this.#write = write;
  }

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
        if (!this.#unrecorded) this.#keep(at, 4);
      },
    };
  }

  /** Memory as devices reach it. */
  deviceMemory(memory: AddressSpace<Hpa>): AddressSpace<Hpa> {
    return new Proxy(memory, {
      get: (target, name) => {
        if (name === "readInto")
          return (at: Hpa, bytes: Uint8Array) => {
            this.#look(at, bytes.length);
            if (at + bytes.length <= this.#memory.size) this.#reached++;
            target.readInto(at, bytes);
          };
        if (name === "writeFrom")
          return (at: Hpa, bytes: Uint8Array) => {
            target.writeFrom(at, bytes);
            if (at + bytes.length <= this.#memory.size) this.#reached++;
            if (!this.#unrecorded) this.#keep(at, bytes.length);
          };
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
  }

  registers(handler: MmioHandler): MmioHandler {
    const words = new Uint32Array(2);
    this.#header(handler);
    return {
      read: (offset, size) => {
        const value = handler.read(offset, size);
        this.#step({ op: "reg_read", off: hex(offset), size, value: hex(value >>> 0) });
        return value;
      },
      write: (offset, size, value) => {
        handler.write(offset, size, value);
        this.#step({ op: "reg_write", off: hex(offset), size, value: hex(value >>> 0) });
      },
      read64: (offset, into) => {
        handler.read64(offset, words);
        into.set(words);
        this.#step({ op: "reg_read", off: hex(offset), size: 8, value: wide(words[0] as number, words[1] as number) });
      },
      write64: (offset, low, high) => {
        handler.write64(offset, low, high);
        this.#step({ op: "reg_write", off: hex(offset), size: 8, value: wide(low, high) });
      },
    };
  }

  function(fn: PciFunction, devfn: number, ownFunction = false): PciFunction {
    if (ownFunction) this.#ownConfig = fn.config;
    return {
      config: ownFunction ? this.#config(fn.config) : fn.config,
      bars: fn.bars,
      ...(fn.fabric ? { fabric: fn.fabric } : {}),
      connect: (port) => {
        fn.connect(this.#port(port, devfn));
      },
    };
  }

  interrupts(sink: InterruptSink): InterruptSink {
    const note = ({ vector, deliveryMode, destination, destinationMode, trigger, redirectionHint }: Readonly<Interrupt>): void => {
      const address = 0xfee0_0000 + (destination & 0xff) * 0x1000 + (redirectionHint ? 8 : 0) + (destinationMode === "logical" ? 4 : 0);
      this.#delivered = { addr: wide(address, destination & ~0xff), data: hex(vector | (deliveryMode << 8) | (trigger === "level" ? 0x8000 : 0)) };
    };
    return {
      deliver: (interrupt) => {
        note(interrupt);
        sink.deliver(interrupt);
      },
      post: (posting) => {
        if (posting.notification.kind === "interrupt") note(posting.notification.interrupt);
        sink.post(posting);
      },
    };
  }

  ownMessage(address: number, upper: number, data: number): void {
    // Traces of AMD machines tell these by `irqs` steps only.
    if (this.#vendor === "intel") this.#own.push(JSON.stringify({ op: "iommu_msi", addr: wide(address, upper), data: hex(data >>> 0) }));
  }

  #config(config: ConfigSpace): ConfigSpace {
    return {
      size: config.size,
      read: (offset, size) => config.read(offset, size),
      write: (offset: number, size: AccessSize, value: number) => {
        config.write(offset, size, value);
        this.#step({ op: "cfg_write", off: hex(offset), size, value: hex(value >>> 0) });
      },
    };
  }

  /** A port that cuts transfers at pages, as the fabric does, and records each part. */
  #port(port: UpstreamPort, devfn: number): UpstreamPort {
    const bdf = placeOf(devfn);
    const parts = (address: number | bigint, bytes: Uint8Array, move: (at: bigint, part: Uint8Array) => Completion): Completion => {
      let at = BigInt(address);
      for (let done = 0; done < bytes.length; ) {
        const part = bytes.subarray(done, Math.min(bytes.length, done + PAGE - Number(at & 0xfffn)));
        const completion = move(at, part);
        if (completion !== Completion.Successful) return completion;
        done += part.length;
        at = BigInt.asUintN(64, at + BigInt(part.length));
      }
      return Completion.Successful;
    };
    const transfer = (op: "dma_read" | "dma_write", address: number | bigint, bytes: Uint8Array, options: DmaOptions | undefined, move: (at: bigint, part: Uint8Array) => Completion): Completion => {
      // The format knows no translated requests.
      if (options?.addressType === AddressType.Translated) return this.#unrecordedly(() => move(BigInt(address), bytes));
      return parts(address, bytes, (at, part) => {
        if (at >> 20n === INTERRUPT_RANGE) return this.#intoInterrupts(bdf, op === "dma_write", at, part, () => move(at, part));
        const before = this.#reached;
        const completion = move(at, part);
        const ok = completion === Completion.Successful;
        const outcome = op === "dma_read" ? { len: part.length, data: ok ? hexBytes(part) : null } : { data: hexBytes(part), ok };
        this.#step({ op, bdf, iova: hex(at), ...outcome, ...prefix(options), ...(ok && this.#reached === before ? { impl: "no memory of this machine is there" } : {}) });
        return completion;
      });
    };
    return {
      requester: port.requester,
      dmaRead: (address, into, options) => transfer("dma_read", address, into, options, (at, part) => port.dmaRead(at, part, options)),
      dmaWrite: (address, from, options) => transfer("dma_write", address, from, options, (at, part) => port.dmaWrite(at, part, options)),
      translate: (address, access, out, options) => this.#unrecordedly(() => port.translate(address, access, out, options)),
      pageRequest: (request) => {
        this.#unrecordedly(() => {
          port.pageRequest(request);
        });
      },
      message: (address, data) => this.#message(bdf, BigInt(address), data, () => port.message(address, data)),
      interruptPin: (pin, asserted) => {
        port.interruptPin(pin, asserted);
      },
    };
  }

  #unrecordedly<T>(action: () => T): T {
    this.#unrecorded = true;
    try {
      return action();
    } finally {
      this.#unrecorded = false;
    }
  }

  #message(bdf: string, at: bigint, data: number, send: () => Completion): Completion {
    this.#delivered = null;
    const completion = send();
    this.#step({ op: "msi", bdf, addr: hex(at), data: hex(data >>> 0), out: this.#delivered });
    return completion;
  }

  /** A write of four bytes there is a message, whoever meant it as what; all else is refused before any IOMMU sees it. */
  #intoInterrupts(bdf: string, write: boolean, at: bigint, part: Uint8Array, move: () => Completion): Completion {
    return write && part.length === 4 && at % 4n === 0n ? this.#message(bdf, at, new DataView(part.buffer, part.byteOffset).getUint32(0, true), move) : move();
  }

  #header(registers: MmioHandler): void {
    const { ram, registerBase, registerSize, source, hostAddressWidth } = this.#machine;
    const words = new Uint32Array(2);
    const reset = Object.fromEntries(
      this.#machine.reset.map((offset) => {
        registers.read64(offset, words);
        return [hex(offset), { size: 8, value: wide(words[0] as number, words[1] as number) }]; // two words
      }),
    );
    this.#line({ op: "machine", trace: 1, iommu: this.#vendor, source, ram: hex(ram), regs: { base: hex(registerBase), size: hex(registerSize) }, ...this.#configAtReset(), options: hostAddressWidth === undefined ? {} : { haw: hostAddressWidth }, reset });
  }

  /** What an AMD IOMMU's capability says beside its registers: a replayer needs it too. */
  #configAtReset(): { readonly config?: Readonly<Record<string, string>> } {
    const config = this.#ownConfig;
    return config === undefined ? {} : { config: Object.fromEntries(CAPABILITY_DWORDS.map((offset) => [hex(offset), hex(config.read(offset, 4))])) };
  }

  #line(step: unknown): void {
    this.#write(JSON.stringify(step));
  }

  /** A step, and after it what the IOMMU sent meanwhile. What memory had to hold for it stands before it. */
  #step(step: unknown): void {
    this.#line(step);
    for (const line of this.#own) this.#write(line);
    this.#own = [];
  }

  #pageOf(pfn: number): Uint8Array {
    let page = this.#shadow.get(pfn);
    if (page === undefined) this.#shadow.set(pfn, (page = new Uint8Array(PAGE)));
    return page;
  }

  /** Records what has changed in memory that is about to be read. */
  #look(at: Hpa, length: number): void {
    const fresh = new Uint8Array(PAGE);
    for (let pfn = Math.floor(at / PAGE); pfn * PAGE < at + length && pfn * PAGE < this.#memory.size; pfn++) {
      this.#memory.readInto(pfn * PAGE, fresh);
      this.#compare(pfn, fresh, Math.max(at - pfn * PAGE, 0) & -PIECE, Math.min(at + length - pfn * PAGE, PAGE));
    }
  }

  #compare(pfn: number, fresh: Uint8Array, first: number, end: number): void {
    const shadow = this.#pageOf(pfn);
    for (let piece = first; piece < end; piece += PIECE) {
      let last = piece;
      while (last < end && differs(fresh, shadow, last)) last += PIECE;
      if (last === piece) continue;
      this.#line({ op: "mem_write", addr: hex(pfn * PAGE + piece), data: hexBytes(fresh.subarray(piece, last)) });
      shadow.set(fresh.subarray(piece, last), piece);
      piece = last;
    }
  }

  /** Takes over what the step itself writes: the replayed machine writes it too. */
  #keep(at: Hpa, length: number): void {
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
