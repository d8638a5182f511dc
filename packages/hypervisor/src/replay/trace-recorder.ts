import type { AddressSpace, Hpa, MmioHandler } from "@iommu-lab/memory";
import { AddressType, Completion, type ConfigSpace, type DmaOptions, type InterruptSink, type PciFunction, type UpstreamPort } from "@iommu-lab/pci-bus";
import type { BoardTaps, TableMemory } from "../board/taps.ts";
import { watchDeliveries, type DeliveredMessage } from "./delivered-message.ts";
import { hexBytes } from "./trace-fields.ts";
import { pasidPrefix, placeOf, traceHex, TraceLines, type RecordedMachine, type RecordedMemory } from "./trace-lines.ts";
import { watchTransfers } from "./transfer-watch.ts";

const PAGE = 4096;
/** Bits 63:20 of an address that means interrupts. */
const INTERRUPT_RANGE = 0xfeen;

/**
 * Writes a machine trace of what happens on a board, for `replay`: register accesses, DMA, messages, and memory as `TraceLines` says.
 * The format has no words for translated requests, translation and page requests of devices, nor for a page of tables that could not
 * be read: a replay knows none of them.
 */
export class TraceRecorder implements BoardTaps {
  readonly #lines: TraceLines;
  readonly #memory: RecordedMemory;
  /** The IOMMU's own configuration space, where it is a function. */
  #ownConfig: ConfigSpace | undefined;
  /** Transfers that reached memory of the machine. */
  #reached = 0;
  /** What the message at hand became; null while it is blocked. */
  #delivered: DeliveredMessage | null = null;

  /** @param memory what the devices and the IOMMU share; @param write takes a line without its end */
  constructor(memory: RecordedMemory, machine: RecordedMachine, write: (line: string) => void) {
    this.#memory = memory;
    this.#lines = new TraceLines(memory, machine, write);
  }

  tableMemory(memory: TableMemory): TableMemory {
    return this.#lines.tableMemory(memory);
  }

  /** Memory as devices reach it. */
  deviceMemory(memory: AddressSpace<Hpa>): AddressSpace<Hpa> {
    return watchTransfers(memory, {
      read: (at, bytes, move) => {
        this.#lines.look(at, bytes.length);
        if (at + bytes.length <= this.#memory.size) this.#reached++;
        move();
      },
      write: (at, bytes, move) => {
        move();
        if (at + bytes.length <= this.#memory.size) this.#reached++;
        this.#lines.keep(at, bytes.length);
      },
    });
  }

  registers(handler: MmioHandler): MmioHandler {
    this.#lines.begin(handler, this.#ownConfig);
    return this.#lines.registers(handler);
  }

  function(fn: PciFunction, devfn: number, ownFunction = false): PciFunction {
    if (ownFunction) this.#ownConfig = fn.config;
    return {
      config: ownFunction ? this.#lines.config(fn.config) : fn.config,
      bars: fn.bars,
      ...(fn.fabric ? { fabric: fn.fabric } : {}),
      connect: (port) => {
        fn.connect(this.#port(port, devfn));
      },
    };
  }

  interrupts(sink: InterruptSink): InterruptSink {
    return watchDeliveries(sink, (message) => {
      if (message) this.#delivered = message;
    });
  }

  ownMessage(address: number, upper: number, data: number): void {
    this.#lines.ownMessage(address, upper, data);
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
      if (options?.addressType === AddressType.Translated) return this.#lines.unrecorded(() => move(BigInt(address), bytes));
      return parts(address, bytes, (at, part) => {
        if (at >> 20n === INTERRUPT_RANGE) return this.#intoInterrupts(bdf, op === "dma_write", at, part, () => move(at, part));
        const before = this.#reached;
        const completion = move(at, part);
        const ok = completion === Completion.Successful;
        const outcome = op === "dma_read" ? { len: part.length, data: ok ? hexBytes(part) : null } : { data: hexBytes(part), ok };
        this.#lines.step({ op, bdf, iova: traceHex(at), ...outcome, ...pasidPrefix(options), ...(ok && this.#reached === before ? { impl: "no memory of this machine is there" } : {}) });
        return completion;
      });
    };
    return {
      requester: port.requester,
      dmaRead: (address, into, options) => transfer("dma_read", address, into, options, (at, part) => port.dmaRead(at, part, options)),
      dmaWrite: (address, from, options) => transfer("dma_write", address, from, options, (at, part) => port.dmaWrite(at, part, options)),
      translate: (address, access, out, options) => this.#lines.unrecorded(() => port.translate(address, access, out, options)),
      pageRequest: (request) => {
        this.#lines.unrecorded(() => {
          port.pageRequest(request);
        });
      },
      message: (address, data) => this.#message(bdf, BigInt(address), data, () => port.message(address, data)),
      interruptPin: (pin, asserted) => {
        port.interruptPin(pin, asserted);
      },
    };
  }

  #message(bdf: string, at: bigint, data: number, send: () => Completion): Completion {
    this.#delivered = null;
    const completion = send();
    this.#lines.step({ op: "msi", bdf, addr: traceHex(at), data: traceHex(data >>> 0), out: this.#delivered });
    return completion;
  }

  /** A write of four bytes there is a message, whoever meant it as what; all else is refused before any IOMMU sees it. */
  #intoInterrupts(bdf: string, write: boolean, at: bigint, part: Uint8Array, move: () => Completion): Completion {
    return write && part.length === 4 && at % 4n === 0n ? this.#message(bdf, at, new DataView(part.buffer, part.byteOffset).getUint32(0, true), move) : move();
  }
}
