import type { InterruptEntry } from "@iommu-lab/pci-bus";
import type { Attachment } from "@iommu-lab/pci-bus/model";
import { VfioError } from "../vfio-error.ts";
import type { VfioKernel } from "../vfio-kernel.ts";
import { IntxInterrupt } from "./intx.ts";
import { ACTIONS, DATA_TYPES, IRQ_COUNT, IrqIndex, IrqInfoFlag, IrqSetFlag, type IrqInfo, type IrqSet, type IrqTarget } from "./irq-flags.ts";
import { MessageInterrupts } from "./message-interrupts.ts";
import type { MsixTable } from "./regions.ts";

const invalid = (text: string): VfioError => new VfioError("EINVAL", text);

/** The interrupts of an assigned device: which kind is on, and who is told. Linux drivers/vfio/pci/vfio_pci_intrs.c. */
export class DeviceInterrupts {
  readonly #kernel: VfioKernel;
  readonly #seat: Attachment;
  readonly #msi: MessageInterrupts | undefined;
  readonly #msix: MessageInterrupts | undefined;
  readonly #userIntxMasked: () => boolean;
  #active: number | undefined;
  #intx: IntxInterrupt | undefined;
  readonly #single = new Map<number, IrqTarget>();

  /** @param userIntxMasked what the user's Interrupt Disable bit says when INTx is switched on */
  constructor(kernel: VfioKernel, seat: Attachment, table: MsixTable | undefined, userIntxMasked: () => boolean) {
    this.#kernel = kernel;
    this.#seat = seat;
    this.#userIntxMasked = userIntxMasked;
    const { msi, msix } = seat.places;
    this.#msi = msi ? new MessageInterrupts(kernel, seat, msi, undefined) : undefined;
    this.#msix = msix ? new MessageInterrupts(kernel, seat, msix, table) : undefined;
  }

  /** Which of INTx, MSI and MSI-X is switched on; undefined for none. An `IrqIndex`. */
  get active(): number | undefined {
    return this.#active;
  }

  /** VFIO_DEVICE_GET_IRQ_INFO. @throws VfioError EINVAL for an index the device cannot have */
  info(index: number): IrqInfo {
    const express = this.#seat.places.express !== 0;
    if (!(index >= 0 && index < IRQ_COUNT) || (index === IrqIndex.Error && !express)) throw invalid(`The device has no interrupts of index ${index}.`);
    const resize = index === IrqIndex.Intx ? IrqInfoFlag.Maskable | IrqInfoFlag.Automasked : index === IrqIndex.Msix ? 0 : IrqInfoFlag.NoResize;
    return { index, flags: IrqInfoFlag.Eventfd | resize, count: this.#count(index) };
  }

  /**
   * VFIO_DEVICE_SET_IRQS.
   * @returns 0, or how many vectors there are when that is fewer than asked for: nothing is switched on then
   * @throws VfioError in the order of Linux vfio_set_irqs_validate_and_prepare and vfio_pci_set_irqs_ioctl: EINVAL for index,
   *   flags, range and missing data; ENOTTY for an action that the kind does not have; EINVAL for a count that it does not
   *   have, when another kind is on, and when this one is not; ENOTTY for masking by an eventfd; ERANGE for switching on no
   *   vectors; ENOSPC without vectors or remapping entries
   */
  set(request: IrqSet): number {
    this.#validate(request);
    const { index, flags } = request;
    const action = flags & ACTIONS;
    if (index === IrqIndex.Intx) return this.#setIntx(request, action);
    if (action !== IrqSetFlag.Trigger) throw new VfioError("ENOTTY", "Only INTx can be masked and unmasked here.");
    if (index === IrqIndex.Msi || index === IrqIndex.Msix) return this.#setMessages(request);
    return this.#setSingle(request);
  }

  /**
   * The remapping entry of a message vector: what a hypervisor retargets or posts to, so that the interrupt passes the
   * target by (Linux's interrupt bypass). Undefined for a vector without target, and without interrupt remapping.
   */
  entryOf(vector: number): InterruptEntry | undefined {
    return this.#active === undefined ? undefined : this.#messages(this.#active)?.entryOf(vector);
  }

  /** A wire changed its level somewhere. */
  pollIntx(): void {
    this.#intx?.poll();
  }

  /** The user's Interrupt Disable bit changed. */
  setUserIntxMask(on: boolean): void {
    this.#intx?.setUserMask(on);
  }

  /** Signals that the device saw an error (index Error), or that the host wants it back (index Request). @returns whether anybody listens */
  signal(index: number): boolean {
    const target = this.#single.get(index);
    target?.();
    return target !== undefined;
  }

  /** After a reset: the device is programmed as before. */
  restore(): void {
    this.#intx?.restore();
    if (this.#active === IrqIndex.Msi || this.#active === IrqIndex.Msix) this.#messages(this.#active)?.restore();
  }

  /** Everything off. */
  disableAll(): void {
    this.#disableActive();
    this.#single.clear();
  }

  #count(index: number): number {
    const { config } = this.#seat.fn;
    const { msi, msix } = this.#seat.places;
    if (index === IrqIndex.Intx) return !this.#seat.virtualOf && config.read(0x3d, 1) !== 0 ? 1 : 0;
    if (index === IrqIndex.Msi) return msi ? 1 << ((config.read(msi + 2, 2) >> 1) & 7) : 0;
    if (index === IrqIndex.Msix) return msix ? (config.read(msix + 2, 2) & 0x7ff) + 1 : 0;
    return 1;
  }

  #validate({ flags, index, start, count, targets, values }: IrqSet): void {
    const numbers = this.#isIndex(index) ? this.#count(index) : -1;
    if (numbers < 0) throw invalid(`There are no interrupts of index ${index}.`);
    if (flags & ~(DATA_TYPES | ACTIONS) || start < 0 || count < 0 || count >= 0xffff_ffff - start) throw invalid(`Flags 0x${(flags >>> 0).toString(16)} with vectors ${start} to ${start + count} cannot be.`);
    if (start >= numbers || start + count > numbers) throw invalid(`Vectors ${start} to ${start + count - 1} do not exist; there are ${numbers}.`);
    const type = flags & DATA_TYPES;
    if (type !== IrqSetFlag.DataNone && type !== IrqSetFlag.DataBool && type !== IrqSetFlag.DataEventfd) throw invalid("Give just one of DATA_NONE, DATA_BOOL and DATA_EVENTFD.");
    const data = type === IrqSetFlag.DataBool ? values : targets;
    const unmasks = type === IrqSetFlag.DataEventfd && (flags & ACTIONS) === IrqSetFlag.Unmask;
    if (type !== IrqSetFlag.DataNone && !unmasks && (data?.length ?? 0) < count) throw invalid(`There is data for ${data?.length ?? 0} of ${count} vectors.`);
  }

  #isIndex(index: number): boolean {
    return Number.isInteger(index) && index >= 0 && index < IRQ_COUNT && (index !== IrqIndex.Error || this.#seat.places.express !== 0);
  }

  #setIntx(request: IrqSet, action: number): number {
    const { flags, count } = request;
    if (action === IrqSetFlag.Trigger) return this.#triggerIntx(request);
    if (action !== IrqSetFlag.Mask && action !== IrqSetFlag.Unmask) throw new VfioError("ENOTTY", "Give just one of MASK, UNMASK and TRIGGER.");
    if (!this.#intx || count !== 1) throw invalid(this.#intx ? "INTx is one interrupt." : "INTx is not switched on.");
    const does = flags & IrqSetFlag.DataNone || request.values?.[0];
    if (action === IrqSetFlag.Mask) {
      if (flags & IrqSetFlag.DataEventfd) throw new VfioError("ENOTTY", "INTx cannot be masked by an eventfd.");
      if (does) this.#intx.mask();
    } else if (flags & IrqSetFlag.DataEventfd) {
      const intx = this.#intx;
      request.unmasker?.(() => {
        if (this.#intx === intx) intx.unmask();
      });
    } else if (does) this.#intx.unmask();
    return 0;
  }

  #triggerIntx({ flags, count, targets, values }: IrqSet): number {
    if (this.#intx && count === 0 && flags & IrqSetFlag.DataNone) {
      this.#disableActive();
      return 0;
    }
    if (this.#active !== undefined && this.#active !== IrqIndex.Intx) throw invalid("Message interrupts are on: switch them off first.");
    if (count !== 1) throw invalid("INTx is one interrupt.");
    if (flags & IrqSetFlag.DataEventfd) {
      if (this.#intx) this.#intx.setTarget(targets?.[0]);
      else {
        this.#intx = new IntxInterrupt(this.#kernel, this.#seat, targets?.[0], this.#userIntxMasked());
        this.#active = IrqIndex.Intx;
        this.#intx.poll();
      }
      return 0;
    }
    if (!this.#intx) throw invalid("INTx is not switched on.");
    if (flags & IrqSetFlag.DataNone || values?.[0]) this.#intx.trigger();
    return 0;
  }

  #setMessages({ index, flags, start, count, targets, values }: IrqSet): number {
    const messages = this.#messages(index);
    const on = this.#active === index;
    if (on && count === 0 && flags & IrqSetFlag.DataNone) {
      this.#disableActive();
      return 0;
    }
    if (!messages || (this.#active !== undefined && !on)) throw invalid("Another kind of interrupt is on: switch it off first.");
    if (flags & IrqSetFlag.DataEventfd) {
      if (!on && start + count > messages.limit) return messages.limit;
      this.#pointVectors(messages, index, start, (targets ?? []).slice(0, count));
      return 0;
    }
    if (!on) throw invalid("These interrupts are not switched on.");
    for (let each = 0; each < count; each++) if (flags & IrqSetFlag.DataNone || values?.[each]) messages.trigger(start + each);
    return 0;
  }

  #pointVectors(messages: MessageInterrupts, index: number, start: number, targets: readonly (IrqTarget | undefined)[]): void {
    const fresh = this.#active !== index;
    if (fresh) {
      if (start + targets.length === 0) throw new VfioError("ERANGE", "No vectors cannot be switched on.");
      this.#setIntxDisable(true);
      this.#active = index;
    }
    let at = start;
    try {
      for (const target of targets) {
        if (target && at >= messages.limit) throw invalid(`Vector ${at} was not switched on with the first.`);
        messages.set(at, target);
        at++;
      }
      if (fresh) messages.enable();
    } catch (error) {
      if (fresh) this.#disableActive();
      // Up to the one that failed: those after it keep what they had.
      else for (; at >= start; at--) messages.set(at, undefined);
      throw error;
    }
  }

  /** Errors and requests: one target each. Linux vfio_pci_set_ctx_trigger_single. */
  #setSingle({ index, flags, count, targets, values }: IrqSet): number {
    if (flags & IrqSetFlag.DataNone) {
      if (!this.#single.has(index)) throw invalid("Nobody listens.");
      if (count === 0) this.#single.delete(index);
      else this.signal(index);
      return 0;
    }
    if (count === 0) throw invalid("This is one interrupt: it has one target, and one value.");
    const target = targets?.[0];
    if (flags & IrqSetFlag.DataBool) {
      if (values?.[0]) this.signal(index);
    } else if (target) this.#single.set(index, target);
    else this.#single.delete(index);
    return 0;
  }

  #messages(index: number): MessageInterrupts | undefined {
    return index === IrqIndex.Msi ? this.#msi : index === IrqIndex.Msix ? this.#msix : undefined;
  }

  #disableActive(): void {
    if (this.#intx) this.#intx.disable();
    else if (this.#active !== undefined) {
      this.#messages(this.#active)?.disable();
      this.#setIntxDisable(this.#userIntxMasked());
    }
    this.#intx = undefined;
    this.#active = undefined;
  }

  #setIntxDisable(on: boolean): void {
    const command = this.#kernel.complex.configRead(this.#seat.address, 4, 2);
    this.#kernel.complex.configWrite(this.#seat.address, 4, 2, on ? command | 0x400 : command & ~0x400);
  }
}
