import { IommuDriverError, type InterruptEntry, type InterruptMessage, type RequesterId } from "@iommu-lab/pci-bus";
import type { Attachment } from "@iommu-lab/pci-bus/model";
import type { VfioKernel } from "../vfio-kernel.ts";
import { VfioError } from "../vfio-error.ts";
import type { HostVector } from "./host-vectors.ts";
import type { IrqTarget } from "./irq-flags.ts";
import type { MsixTable } from "./regions.ts";

interface Vector {
  readonly host: HostVector;
  readonly entry: InterruptEntry | undefined;
  readonly message: Readonly<InterruptMessage>;
  target: IrqTarget;
}

const MSI_ENABLE = 1;
const MSI_WIDE = 0x80;
const MSIX_ENABLE = 0x8000;

/**
 * MSI or MSI-X vectors of an assigned device: the host's own messages, never the user's, are what the device is programmed
 * with. Linux drivers/vfio/pci/vfio_pci_intrs.c.
 */
export class MessageInterrupts {
  readonly #kernel: VfioKernel;
  readonly #seat: Attachment;
  readonly #at: number;
  readonly #table: MsixTable | undefined;
  readonly #vectors = new Map<number, Vector>();

  /** @param table of MSI-X; without it `at` is an MSI capability */
  constructor(kernel: VfioKernel, seat: Attachment, at: number, table: MsixTable | undefined) {
    this.#kernel = kernel;
    this.#seat = seat;
    this.#at = at;
    this.#table = table;
  }

  /** Vectors that the host can give: all of MSI-X, one of MSI, whose neighbours would need a block of the remapping table. */
  get limit(): number {
    return this.#table?.vectors ?? 1;
  }

  /** Switches message interrupts on in the device. */
  enable(): void {
    const { address } = this.#seat;
    const control = this.#kernel.complex.configRead(address, this.#at + 2, 2);
    this.#kernel.complex.configWrite(address, this.#at + 2, 2, this.#table ? control | MSIX_ENABLE : (control & ~0x70) | MSI_ENABLE);
  }

  /** Frees all vectors and switches message interrupts off. */
  disable(): void {
    for (const index of [...this.#vectors.keys()]) this.#clear(index);
    const { address } = this.#seat;
    const control = this.#kernel.complex.configRead(address, this.#at + 2, 2);
    this.#kernel.complex.configWrite(address, this.#at + 2, 2, this.#table ? control & ~MSIX_ENABLE : control & ~MSI_ENABLE);
  }

  /** Points a vector at a target, or takes it away. @throws VfioError ENOSPC without vectors or remapping entries */
  set(index: number, target: IrqTarget | undefined): void {
    const old = this.#vectors.get(index);
    if (old && target) {
      old.target = target;
      return;
    }
    if (old) this.#clear(index);
    if (target) this.#vectors.set(index, this.#program(index, target));
  }

  /** The remapping entry behind a vector, which a hypervisor may point elsewhere or post to. */
  entryOf(index: number): InterruptEntry | undefined {
    return this.#vectors.get(index)?.entry;
  }

  /** Software raises a vector (loopback). */
  trigger(index: number): void {
    this.#vectors.get(index)?.target();
  }

  /** After a reset: what the device was programmed with. */
  restore(): void {
    for (const [index, { message }] of this.#vectors) this.#write(index, message);
    this.enable();
  }

  #program(index: number, target: IrqTarget): Vector {
    const host = this.#kernel.vectors.allocate(() => this.#vectors.get(index)?.target());
    if (!host) throw new VfioError("ENOSPC", "The host has no interrupt vector left.");
    try {
      const entry = this.#kernel.interruptRemapping ? this.#kernel.iommu.allocateInterrupt(this.#seat.requester, host.interrupt) : undefined;
      const message = entry?.message ?? compatible(this.#seat.requester, host);
      this.#write(index, message);
      return { host, entry, message, target };
    } catch (error) {
      host.free();
      throw error instanceof IommuDriverError ? new VfioError(error.code, error.message) : error;
    }
  }

  #clear(index: number): void {
    const vector = this.#vectors.get(index);
    if (this.#table) this.#writeEntry(index, [0, 0, 0, 1]);
    this.#vectors.delete(index);
    vector?.entry?.free();
    vector?.host.free();
  }

  #write(index: number, { address, data }: Readonly<InterruptMessage>): void {
    const low = address % 2 ** 32;
    const high = Math.floor(address / 2 ** 32);
    if (this.#table) {
      this.#writeEntry(index, [low, high, data, 1]);
      this.#writeEntry(index, [low, high, data, 0]);
      return;
    }
    const { complex } = this.#kernel;
    const wide = (complex.configRead(this.#seat.address, this.#at + 2, 2) & MSI_WIDE) !== 0;
    complex.configWrite(this.#seat.address, this.#at + 4, 4, low);
    if (wide) complex.configWrite(this.#seat.address, this.#at + 8, 4, high);
    complex.configWrite(this.#seat.address, this.#at + (wide ? 12 : 8), 2, data & 0xffff);
  }

  /** The host has its own mapping of the table, which no Memory Space Enable of the user's switches off. */
  #writeEntry(index: number, words: readonly [number, number, number, number]): void {
    const table = this.#table;
    const bar = table && this.#seat.fn.bars[table.bar];
    if (!table) return;
    for (const [word, value] of words.entries()) bar?.write(table.offset + 16 * index + 4 * word, 4, value);
  }
}

/** Intel SDM vol. 3 "Message Signalled Interrupts": fixed, edge, physical destination. */
const compatible = (requester: RequesterId, { interrupt }: HostVector): InterruptMessage => ({ requester, address: 0xfee0_0000 + (interrupt.destination & 0xff) * 0x1000, data: interrupt.vector });
