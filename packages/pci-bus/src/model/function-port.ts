import type { DmaOptions } from "../function.ts";
import type { Translation } from "../iommu.ts";
import type { RequesterId } from "../requester-id.ts";
import { Access, type Completion, type PageRequest } from "../transaction.ts";
import { MsiSender } from "./msi.ts";
import { requestTranslation, transfer } from "./transfer.ts";
import type { AttachedPort, Attachment } from "./fabric.ts";

/**
 * A function's way out, as the fabric gives it. A function that is unplugged or held in reset reaches nobody: Unsupported Request.
 * Requests may carry `ForgedDmaOptions` to lie about their requester.
 */
export class FunctionPort implements AttachedPort {
  readonly #seat: Attachment;

  constructor(seat: Attachment) {
    this.#seat = seat;
  }

  get requester(): RequesterId {
    return this.#seat.requester;
  }

  dmaRead(address: number | bigint, into: Uint8Array, options?: DmaOptions): Completion {
    return transfer(this.#seat, false, address, into, options);
  }

  dmaWrite(address: number | bigint, from: Uint8Array, options?: DmaOptions): Completion {
    return transfer(this.#seat, true, address, from, options);
  }

  translate(address: number | bigint, access: Access, out: Translation, options?: DmaOptions): Completion {
    return requestTranslation(this.#seat, address, (access & Access.Write) !== 0, out, options);
  }

  pageRequest(request: Omit<PageRequest, "requester">): void {
    const { host } = this.#seat.bus;
    if (!this.#seat.present || this.#seat.bus.held || !host) return;
    this.#seat.hop("sent", "PCIe §10.4.1: page request message, routed to the root complex");
    host.complex.receivePageRequest(host, { ...request, requester: this.requester });
  }

  message(address: number | bigint, data: number): Completion {
    const bytes = Uint8Array.of(data & 0xff, (data >>> 8) & 0xff, (data >>> 16) & 0xff, data >>> 24);
    return this.dmaWrite(address, bytes);
  }

  interruptPin(pin: 0 | 1 | 2 | 3, asserted: boolean): void {
    const seat = this.#seat;
    if (!seat.present && asserted) return;
    seat.pins = asserted ? seat.pins | (1 << pin) : seat.pins & ~(1 << pin);
    seat.bus.host?.complex.wires.update(seat);
  }

  /** Lowers all pins: after a reset, or when the function is gone. */
  silence(): void {
    this.#seat.pins = 0;
    this.#seat.bus.host?.complex.wires.update(this.#seat);
  }

  /** A port's own interrupt (hot-plug), by MSI when software enabled it. Model: ports raise no INTx for themselves. */
  raiseOwnInterrupt(): void {
    const { fn, places } = this.#seat;
    if (places.msi) new MsiSender(fn.config, places.msi, () => this).raise(0);
  }
}
