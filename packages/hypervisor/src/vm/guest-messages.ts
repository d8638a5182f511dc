import { decodeMessage, newInterrupt } from "@iommu-lab/interrupt-remap";
import { IrqIndex, IrqSetFlag, type VfioDevice } from "@iommu-lab/vfio";
import type { VirtualMachine } from "./virtual-machine.ts";

/** How interrupts of an assigned device reach the guest. */
export type InterruptPath =
  /** The hypervisor's process is woken and asks for each. */
  | "emulated"
  /** The kernel injects them by itself (irqfd). */
  | "forwarded"
  /** The IOMMU posts them; the processor takes them in the guest. */
  | "posted";

/** A message as the guest programmed it. */
export interface GuestMessage {
  readonly address: number;
  readonly data: number;
}

/** Lets message interrupts of an assigned device arrive where the guest wants them. */
export class GuestMessages {
  readonly #vm: VirtualMachine;
  readonly #device: VfioDevice;
  readonly #path: InterruptPath;
  readonly #interrupt = newInterrupt();
  #on: number | undefined;
  #vectors = 0;

  constructor(vm: VirtualMachine, device: VfioDevice, path: InterruptPath) {
    this.#vm = vm;
    this.#device = device;
    this.#path = path;
  }

  /**
   * Switches vectors on as the guest has them now; undefined ones are masked.
   * @param index IrqIndex.Msi or IrqIndex.Msix; another kind that is on goes off
   */
  use(index: number, messages: readonly (GuestMessage | undefined)[]): void {
    if (this.#on !== undefined && (this.#on !== index || this.#vectors !== messages.length)) this.off();
    this.#device.setIrqs({ index, flags: IrqSetFlag.DataEventfd | IrqSetFlag.Trigger, start: 0, count: messages.length, targets: messages.map((message) => message && (() => { this.#arrive(message); })) });
    this.#on = index;
    this.#vectors = messages.length;
    if (this.#path === "posted") for (const [vector, message] of messages.entries()) if (message) this.#post(vector, message);
  }

  off(): void {
    if (this.#on === undefined) return;
    this.#device.setIrqs({ index: this.#on, flags: IrqSetFlag.DataNone | IrqSetFlag.Trigger, start: 0, count: 0 });
    this.#on = undefined;
    this.#vectors = 0;
  }

  /** The host's interrupt came: the processor left the guest for it. */
  #arrive({ address, data }: GuestMessage): void {
    this.#vm.exits.note("external-interrupt", "kernel");
    if (this.#path === "emulated") this.#vm.exits.note("interrupt-window", this.#vm.layout === "type-1" ? "kernel" : "user");
    if (decodeMessage({ address, data }, this.#interrupt)) this.#vm.deliver(this.#interrupt);
  }

  /** Points the remapping entry at the virtual processor, past the host's kernel. */
  #post(vector: number, { address, data }: GuestMessage): void {
    if (!decodeMessage({ address, data }, this.#interrupt)) return;
    const { destination } = this.#interrupt;
    if (!this.#vm.apics.ids.includes(destination)) return;
    const { structure, running } = this.#vm.postingOf(destination);
    this.#device.interrupts.entryOf(vector)?.post(structure, this.#interrupt.vector, false, running);
  }
}

/** Kinds of message interrupts, for `GuestMessages.use`. */
export const MessageKind = { Msi: IrqIndex.Msi, Msix: IrqIndex.Msix } as const;
