import type { AccessSize, MmioHandler } from "@iommu-lab/memory";
import { Completion, type ConfigSpace, type FabricPort, type PciFunction, type UpstreamPort } from "@iommu-lab/pci-bus";
import { addressTranslationServices, msi, msix, pciExpress, PcieType, type CapabilityImage } from "@iommu-lab/pci-bus/capabilities";
import { Endpoint } from "@iommu-lab/pci-bus/model";
import { notReentrant } from "./not-reentrant.ts";

/** How an edu device raises its interrupt. */
export type EduInterrupts = "msi" | "msix" | "intx";

/** What an edu device has. */
export interface EduOptions {
  /** Default msi. */
  readonly interrupts?: EduInterrupts;
  /** An address translation cache, which makes it a PCI Express function. Default false. */
  readonly ats?: boolean;
  /** Takes the place of completing an invalidation of that cache at once. */
  readonly invalidated?: (complete: () => void) => void;
}

const BAR_SIZE = 0x10_0000;
/** Offsets in the BAR. */
const Register = { Identification: 0x00, Liveness: 0x04, Factorial: 0x08, Status: 0x20, InterruptStatus: 0x24, Raise: 0x60, Acknowledge: 0x64, Source: 0x80, Destination: 0x88, Count: 0x90, Command: 0x98 } as const;
/** Version 1.0 of the device. */
const IDENTIFICATION = 0x0100_00ed;
const FACTORIAL_RAISES = 0x80;
/** What is read where no register is, or by another size than its own. */
const NOBODY = 0xffff_ffff;
/** Of the DMA command: start, from the device to memory, raise an interrupt at the end; and ours: the transfer was refused. */
const Dma = { Start: 1, ToMemory: 2, Raise: 4, Refused: 8 } as const;
const DMA_INTERRUPT = 0x100;
const BUFFER_START = 0x4_0000;
const BUFFER_SIZE = 0x1000;
const MSIX_TABLE = 0x8_0000;
const MSIX_PENDING = 0x8_1000;

/** Whole of a factorial in 32 bits. */
const factorial = (n: number): number => {
  let product = 1;
  for (let i = 2; i <= Math.min(n >>> 0, 64); i++) product = Math.imul(product, i); // from 34! on all 32 bits are zero
  return product >>> 0;
};

/**
 * A device to learn on, with the registers of QEMU's `edu` (its documentation: docs/specs/edu.rst): a factorial, an interrupt
 * on demand, and DMA between memory and a buffer of 4 KiB. What differs: everything is done at once, DMA addresses have 64 bits
 * and can be written in halves, a refused transfer says so in the command register, and MSI-X and an address translation cache
 * are to be had.
 */
export class EduFunction implements PciFunction {
  readonly config: ConfigSpace;
  readonly bars: readonly (MmioHandler | undefined)[];
  readonly fabric: FabricPort;
  readonly buffer = new Uint8Array(BUFFER_SIZE);
  readonly #endpoint: Endpoint;
  #liveness = 0;
  #factorial = 0;
  #status = 0;
  #interruptStatus = 0;
  /** Source, destination, count and command: 64 bits each. */
  readonly #dma = new Uint32Array(8);

  constructor(options: EduOptions = {}) {
    const { interrupts = "msi", invalidated } = options;
    const capabilities: CapabilityImage[] = [
      ...(interrupts === "msi" ? [msi({})] : []),
      ...(interrupts === "msix" ? [msix({ vectors: 2, table: { bar: 0, offset: MSIX_TABLE }, pendingBits: { bar: 0, offset: MSIX_PENDING } })] : []),
      ...(options.ats ? [pciExpress({ type: PcieType.RootComplexIntegratedEndpoint }), addressTranslationServices()] : []),
    ];
    const endpoint = (this.#endpoint = new Endpoint(
      { vendor: 0x1234, device: 0x11e8, classCode: 0x00_ff00, revision: 0x10, subsystemVendor: 0x1af4, subsystemDevice: 0x1100, header: 0, interruptPin: 1, bars: [{ index: 0, kind: "memory32", size: BAR_SIZE }], capabilities },
      {
        bars: [notReentrant(this.#handler())],
        ...(invalidated ? { invalidated: (_invalidation: unknown, complete: () => void) => { invalidated(complete); } } : {}),
        reset: () => { this.#reset(); },
      },
    ));
    this.config = endpoint.config;
    this.bars = endpoint.bars;
    this.fabric = endpoint.fabric;
  }

  connect(port: UpstreamPort): void {
    this.#endpoint.connect(port);
  }

  #reset(): void {
    this.#liveness = 0;
    this.#factorial = 0;
    this.#status = 0;
    if (this.#interruptStatus !== 0) this.#endpoint.lower();
    this.#interruptStatus = 0;
    this.#dma.fill(0);
    this.buffer.fill(0);
  }

  #handler(): MmioHandler {
    return {
      read: (offset, size) => this.#read(offset, size),
      write: (offset, size, value) => { this.#write(offset, size, value); },
      read64: (offset, into) => {
        into[0] = offset < Register.Source ? NOBODY : this.#read(offset, 4);
        into[1] = offset < Register.Source ? NOBODY : this.#read(offset + 4, 4);
      },
      write64: (offset, low, high) => {
        if (offset < Register.Source) return;
        // The command's low half starts the transfer: its high half first.
        this.#write(offset + 4, 4, high);
        this.#write(offset, 4, low);
      },
    };
  }

  #read(offset: number, size: AccessSize): number {
    if (size !== 4 || offset % 4 !== 0) return NOBODY >>> (32 - 8 * size);
    switch (offset) {
      case Register.Identification:
        return IDENTIFICATION;
      case Register.Liveness:
        return this.#liveness;
      case Register.Factorial:
        return this.#factorial;
      case Register.Status:
        return this.#status;
      case Register.InterruptStatus:
        return this.#interruptStatus >>> 0;
      default:
        return offset >= Register.Source && offset < Register.Command + 8 ? (this.#dma[(offset - Register.Source) >> 2] as number) : NOBODY;
    }
  }

  #write(offset: number, size: AccessSize, value: number): void {
    if (size !== 4 || offset % 4 !== 0) return;
    switch (offset) {
      case Register.Liveness:
        this.#liveness = ~value >>> 0;
        break;
      case Register.Factorial:
        this.#factorial = factorial(value);
        if ((this.#status & FACTORIAL_RAISES) !== 0) this.#raise(1);
        break;
      case Register.Status:
        this.#status = value & FACTORIAL_RAISES;
        break;
      case Register.Raise:
        this.#raise(value);
        break;
      case Register.Acknowledge:
        this.#interruptStatus &= ~value;
        if (this.#interruptStatus === 0) this.#endpoint.lower();
        break;
      default:
        if (offset < Register.Source || offset >= Register.Command + 8) return;
        this.#dma[(offset - Register.Source) >> 2] = value;
        if (offset === Register.Command && (value & Dma.Start) !== 0) this.#transfer();
    }
  }

  #raise(bits: number): void {
    this.#interruptStatus |= bits;
    if (this.#interruptStatus !== 0) this.#endpoint.raise();
  }

  /** Moves what the registers say between memory and the buffer; a range outside the buffer is refused like one outside memory. */
  #transfer(): void {
    const command = this.#dma[6] as number; // eight words
    const toMemory = (command & Dma.ToMemory) !== 0;
    const [inside, outside] = toMemory ? [0, 2] : [2, 0];
    const at = (this.#dma[inside] as number) - BUFFER_START;
    const length = this.#dma[4] as number;
    const lawful = this.#dma[inside + 1] === 0 && this.#dma[5] === 0 && at >= 0 && at + length <= BUFFER_SIZE;
    const address = (BigInt(this.#dma[outside + 1] as number) << 32n) | BigInt(this.#dma[outside] as number);
    const part = this.buffer.subarray(at, at + length);
    const completion = !lawful ? Completion.UnsupportedRequest : toMemory ? this.#endpoint.write(address, part) : this.#endpoint.read(address, part);
    this.#dma[6] = (command & ~Dma.Start & ~Dma.Refused) | (completion === Completion.Successful ? 0 : Dma.Refused);
    if ((command & Dma.Raise) !== 0) this.#raise(DMA_INTERRUPT);
  }
}
