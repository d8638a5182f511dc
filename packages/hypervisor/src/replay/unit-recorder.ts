import { PAGE_SIZE, type RamRange, type SparseMemory } from "@iommu-lab/memory";
import { Access, AddressType, Completion, NO_PASID, type ConfigSpace, type InterruptMessage, type InterruptSink, type Iommu, type PciFunction, type Translation, type TranslationRequest } from "@iommu-lab/pci-bus";
import type { TableMemory } from "../board/taps.ts";
import type { TappedUnit, UnitTaps } from "../machine/unit-taps.ts";
import { watchDeliveries, type DeliveredMessage } from "./delivered-message.ts";
import { hexBytes } from "./trace-fields.ts";
import { pasidPrefix, placeOf, traceHex, TraceLines } from "./trace-lines.ts";
import { watchTransfers } from "./transfer-watch.ts";

/** Offsets of capability registers: VT-d's VER, CAP and ECAP (§11.4), AMD's EFR and EFR2 (§3.4.1). */
const RESET = { intel: [0x00, 0x08, 0x10], amd: [0x30, 0x1a0] } as const;
const SOURCE = "a machine of this project's models";

/** A request that the IOMMU let through and that has not arrived in memory yet. */
interface Passed {
  readonly request: Readonly<TranslationRequest>;
  /** Where it leads. */
  readonly page: number;
}

/**
 * Writes the machine trace of one IOMMU of a machine, for `replay`. At the IOMMU only page and access of a request are known: one that
 * passes becomes a step when it arrives in memory, with its offset and its bytes; one that is refused becomes a step of one byte at
 * once; one that ends elsewhere, in a BAR, is marked, as a replayed machine has nobody there.
 */
export class UnitRecorder implements UnitTaps {
  readonly #memory: SparseMemory;
  readonly #ram: readonly RamRange[];
  readonly #write: (line: string) => void;
  #lines: TraceLines | undefined;
  #ownConfig: ConfigSpace | undefined;
  #tables: TableMemory | undefined;
  #passed: Passed | undefined;

  /** @param memory the machine's, as its processors see it; @param ram where it is; @param write takes a line without its end */
  constructor(memory: SparseMemory, ram: readonly RamRange[], write: (line: string) => void) {
    this.#memory = memory;
    this.#ram = ram;
    this.#write = write;
  }

  tableMemory(memory: TableMemory): TableMemory {
    // The first line tells of registers, which are there once the IOMMU is; it looks at no table before.
    const tapped = (): TableMemory => (this.#tables ??= this.#lines?.tableMemory(memory)) ?? memory;
    return {
      wordsOf: (pfn) => tapped().wordsOf(pfn),
      wordOf: (pfn) => memory.wordOf(pfn),
      write32: (at, value) => {
        tapped().write32(at, value);
      },
    };
  }

  deviceMemory(memory: SparseMemory): SparseMemory {
    return watchTransfers(memory, {
      read: (at, bytes, move) => {
        const passed = this.#arrived(at);
        if (passed) this.#lines?.look(at, bytes.length);
        move();
        if (passed) this.#step(passed, at % PAGE_SIZE, { len: bytes.length, data: hexBytes(bytes) });
      },
      write: (at, bytes, move) => {
        const passed = this.#arrived(at);
        move();
        if (!passed) return;
        this.#lines?.keep(at, bytes.length);
        this.#step(passed, at % PAGE_SIZE, { data: hexBytes(bytes), ok: true });
      },
    });
  }

  ownFunction(fn: PciFunction): PciFunction {
    this.#ownConfig = fn.config;
    // The trace begins with the IOMMU, which is tapped after its function.
    const config: ConfigSpace = { size: fn.config.size, read: (offset, size) => fn.config.read(offset, size), write: (offset, size, value) => { (tapped ??= this.#lines?.config(fn.config, this.#finish))?.write(offset, size, value); } };
    let tapped: ConfigSpace | undefined;
    return { config, bars: fn.bars, ...(fn.fabric ? { fabric: fn.fabric } : {}), connect: (port) => { fn.connect(port); } };
  }

  ownMessage(address: number, upper: number, data: number): void {
    this.#lines?.ownMessage(address, upper, data);
  }

  iommu(iommu: Iommu, { vendor, registerBase, windowSize, addressWidth }: TappedUnit): Iommu {
    const lines = new TraceLines(this.#memory, { vendor, ram: this.#memory.size, ...(this.#ram.length > 1 ? { ramMap: this.#ram } : {}), registerBase, registerSize: windowSize, reset: RESET[vendor], ...(vendor === "intel" ? { hostAddressWidth: addressWidth } : {}), source: SOURCE }, this.#write);
    lines.begin(iommu.registers, this.#ownConfig);
    this.#lines = lines;
    return {
      registers: lines.registers(iommu.registers, this.#finish),
      translate: (request, out, explain) => {
        this.#finish();
        // The format knows neither translated requests nor requests for a translation.
        if (request.addressType !== AddressType.Untranslated) lines.unrecorded(() => { iommu.translate(request, out, explain); });
        else {
          lines.undecided(() => { iommu.translate(request, out, explain); });
          this.#decided({ ...request }, out);
        }
      },
      remapInterrupt: (message, sink, out, explain) => {
        this.#finish();
        this.#interrupt(lines, message, sink, (watched) => { iommu.remapInterrupt(message, watched, out, explain); });
      },
      pageRequest: (request) => {
        this.#finish();
        lines.unrecorded(() => { iommu.pageRequest(request); });
      },
      connect: (port) => { iommu.connect(port); },
      reset: (kind) => { iommu.reset(kind); },
    };
  }

  /** A request that has passed and that nobody has seen in memory ended somewhere else. */
  readonly #finish = (): void => {
    const passed = this.#passed;
    if (!passed) return;
    this.#passed = undefined;
    this.#lines?.forget();
    this.#step(passed, 0, { ...(isWrite(passed.request) ? { data: "00", ok: true } : { len: 1, data: "00" }), impl: "no memory of this machine is there" });
  };

  #decided(request: Readonly<TranslationRequest>, { completion, page }: Readonly<Translation>): void {
    if (completion === Completion.Successful) {
      this.#passed = { request, page };
      return;
    }
    this.#lines?.commit();
    this.#step({ request, page }, 0, isWrite(request) ? { data: "00", ok: false } : { len: 1, data: null });
  }

  /** Whether an access to memory is the one that was let through. */
  #arrived(at: number): Passed | undefined {
    const passed = this.#passed;
    const page = Math.floor(at / PAGE_SIZE);
    if (passed?.page !== page || this.#memory.wordsOf(page) === undefined) return undefined;
    this.#passed = undefined;
    this.#lines?.commit();
    return passed;
  }

  #step({ request }: Passed, offset: number, outcome: object): void {
    const { requester, pasid, page, access } = request;
    const prefix = pasid === NO_PASID ? {} : pasidPrefix({ pasid, privileged: (access & Access.Privileged) !== 0, execute: (access & Access.Execute) !== 0 });
    this.#lines?.step({ op: isWrite(request) ? "dma_write" : "dma_read", bdf: placeOf(requester), iova: traceHex((BigInt(page) << 12n) | BigInt(offset)), ...outcome, ...prefix });
  }

  /** The step stands before what the processors do on the interrupt. A trace has no word for a posting that notifies nobody by message. */
  #interrupt(lines: TraceLines, { requester, address, data }: Readonly<InterruptMessage>, sink: InterruptSink, send: (sink: InterruptSink) => void): void {
    const step = { op: "msi", bdf: placeOf(requester), addr: traceHex(address), data: traceHex(data >>> 0) };
    const outcome = { told: false };
    const tell = (message: DeliveredMessage | undefined): void => {
      outcome.told = true;
      if (message) lines.commit();
      else lines.forget();
      lines.step({ ...step, out: message ?? null, ...(message ? {} : { impl: "posted without a message" }) });
    };
    lines.undecided(() => { send(watchDeliveries(sink, tell)); });
    if (outcome.told) return;
    lines.commit();
    lines.step({ ...step, out: null });
  }
}

const isWrite = ({ access }: Readonly<TranslationRequest>): boolean => (access & Access.Write) !== 0;
