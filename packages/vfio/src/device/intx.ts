import type { Attachment } from "@iommu-lab/pci-bus/model";
import type { VfioKernel } from "../vfio-kernel.ts";
import type { IrqTarget } from "./irq-flags.ts";

const COMMAND = 4;
const STATUS = 6;
const INTX_DISABLE = 0x400;
const INTX_STATUS = 8;

/**
 * The INTx pin of an assigned device, level-triggered: each interrupt masks itself until the user unmasks it, and comes
 * again at once while the pin is still asserted. Masking is Interrupt Disable in the command register. PCIe §7.5.1.1.3.
 */
export class IntxInterrupt {
  readonly #kernel: VfioKernel;
  readonly #seat: Attachment;
  #target: IrqTarget | undefined;
  #masked = false;
  /** The user's own Interrupt Disable bit, which the device does not see as such. */
  #userMasked = false;
  #firing = false;

  constructor(kernel: VfioKernel, seat: Attachment, target: IrqTarget | undefined, userMasked: boolean) {
    this.#kernel = kernel;
    this.#seat = seat;
    this.#target = target;
    this.#userMasked = userMasked;
    this.#masked = userMasked;
    this.#drive();
  }

  get masked(): boolean {
    return this.#masked;
  }

  setTarget(target: IrqTarget | undefined): void {
    this.#target = target;
  }

  /** Lets the device's pin through again where it was held; no effect on one who is not masked. */
  unmask(): void {
    this.#masked = false;
    this.#drive();
    this.poll();
  }

  mask(): void {
    this.#masked = true;
    this.#drive();
  }

  /** The user wrote Interrupt Disable in his view of the command register. */
  setUserMask(on: boolean): void {
    if (on === this.#userMasked) return;
    this.#userMasked = on;
    if (on) this.mask();
    else this.unmask();
  }

  /** A wire changed, or a mask was lifted: looks whether this function asserts its pin. */
  poll(): void {
    // Masking lowers the wire, which is a change of a wire in turn.
    if (this.#firing || this.#masked || !(this.#kernel.complex.configRead(this.#seat.address, STATUS, 2) & INTX_STATUS)) return;
    this.#firing = true;
    this.mask();
    this.#firing = false;
    this.#target?.();
  }

  /** Software raises the interrupt (loopback). */
  trigger(): void {
    this.#target?.();
  }

  /** After a reset: Interrupt Disable as it was. */
  restore(): void {
    this.#drive();
    this.poll();
  }

  /** Interrupt Disable stays set while nobody listens. */
  disable(): void {
    this.#target = undefined;
    this.mask();
  }

  #drive(): void {
    const { complex } = this.#kernel;
    const command = complex.configRead(this.#seat.address, COMMAND, 2);
    complex.configWrite(this.#seat.address, COMMAND, 2, this.#masked ? command | INTX_DISABLE : command & ~INTX_DISABLE);
  }
}
