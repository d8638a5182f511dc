import { hex } from "@iommu-lab/memory";
import { DeliveryMode, type Interrupt, type Posting } from "@iommu-lab/pci-bus";
import type { LocalApics, ProcessorEvent } from "../interfaces.ts";
import { isDestination, type ApicMode } from "./destination.ts";
import { LocalApic } from "./local-apic.ts";

/** Which processors there are and how their APICs are set up. */
export interface LocalApicsOptions {
  /** APIC IDs, one per processor. */
  readonly ids: readonly number[];
  /** Default "xapic". */
  readonly mode?: ApicMode;
  /** Takes the EOI message for a level-triggered vector: hand it to the I/O APICs. Leave it out where software writes their EOI registers itself. */
  readonly broadcastEndOfInterrupt?: (vector: number) => void;
}

/** The local APICs of a machine, all in one mode and software-enabled. Intel SDM vol. 3 chapter "Advanced Programmable Interrupt Controller (APIC)". */
export class LocalApicsModel implements LocalApics {
  readonly ids: readonly number[];
  readonly mode: ApicMode;
  readonly #apics: readonly LocalApic[];
  readonly #byId: ReadonlyMap<number, LocalApic>;
  readonly #broadcast: (vector: number) => void;
  /** Where the next arbitration starts, so that equals take turns. */
  #turn = 0;

  /** @throws RangeError when there is no processor, or an ID is given twice or is not one of the mode */
  constructor(options: LocalApicsOptions) {
    const { ids, mode = "xapic" } = options;
    const limit = mode === "xapic" ? 0xff : 0xffff_ffff;
    const odd = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < limit));
    if (odd !== undefined) throw new RangeError(`APIC ID ${odd} is impossible; in ${mode} mode IDs are 0 to ${hex(limit - 1)}.`);
    if (ids.length === 0) throw new RangeError("A machine has at least one local APIC.");
    if (new Set(ids).size !== ids.length) throw new RangeError("Two local APICs have one ID.");
    this.ids = [...ids];
    this.mode = mode;
    this.#apics = ids.map((id) => new LocalApic(id));
    this.#byId = new Map(this.#apics.map((apic) => [apic.id, apic]));
    this.#broadcast = options.broadcastEndOfInterrupt ?? (() => undefined);
  }

  /** An interrupt for nobody is dropped. With lowest priority or the redirection hint, one processor of the set takes it. */
  deliver(interrupt: Readonly<Interrupt>): void {
    const mode = interrupt.deliveryMode;
    if (mode === DeliveryMode.LowestPriority || (interrupt.redirectionHint && mode === DeliveryMode.Fixed)) {
      this.#arbitrate(interrupt)?.accept(interrupt);
      return;
    }
    for (const apic of this.#apics) if (isDestination(apic, interrupt, this.mode)) apic.accept(interrupt);
  }

  /** A notification interrupt is delivered, a doorbell rings at its processor; log entries are the IOMMU's own matter. */
  post({ notification }: Posting): void {
    if (notification.kind === "interrupt") this.deliver(notification.interrupt);
    else if (notification.kind === "doorbell") this.#byId.get(notification.apicId)?.signal("doorbell");
  }

  requested(apicId: number): readonly number[] {
    return this.#apic(apicId).requested.toArray();
  }

  /** Vectors in service at one processor (ISR), highest first. */
  inService(apicId: number): readonly number[] {
    return this.#apic(apicId).inService.toArray();
  }

  /** Whether the last request of the vector was level-triggered (TMR). */
  isLevelTriggered(apicId: number, vector: number): boolean {
    return this.#apic(apicId).levelTriggered.has(vectorOf(vector));
  }

  acknowledge(apicId: number): number {
    return this.#apic(apicId).acknowledge();
  }

  endOfInterrupt(apicId: number): void {
    const vector = this.#apic(apicId).endOfInterrupt();
    if (vector >= 0) this.#broadcast(vector);
  }

  takeEvent(apicId: number): ProcessorEvent | undefined {
    return this.#apic(apicId).takeEvent();
  }

  /** TPR, 8 bits. @throws RangeError when the value has more */
  setTaskPriority(apicId: number, priority: number): void {
    this.#apic(apicId).taskPriority = byteOf(priority, "A task priority");
  }

  /** PPR, 8 bits. */
  processorPriority(apicId: number): number {
    return this.#apic(apicId).processorPriority;
  }

  /**
   * LDR bits 31:24 and DFR in xAPIC mode; 0 and "flat" after reset.
   * @throws RangeError when the ID has more than 8 bits, or in x2APIC mode, where logical IDs follow from APIC IDs
   */
  setLogicalId(apicId: number, logicalId: number, model: "flat" | "cluster" = "flat"): void {
    if (this.mode === "x2apic") throw new RangeError("Logical IDs cannot be set in x2APIC mode; they follow from the APIC IDs.");
    const apic = this.#apic(apicId);
    apic.logicalId = byteOf(logicalId, "A logical ID");
    apic.model = model;
  }

  /** Gives ESR and clears it, as software's write and read do. Bit 6: a vector below 16 was received. */
  takeErrors(apicId: number): number {
    const apic = this.#apic(apicId);
    const { errors } = apic;
    apic.errors = 0;
    return errors;
  }

  /** Power-on for all processors. */
  reset(): void {
    for (const apic of this.#apics) apic.reset();
    this.#turn = 0;
  }

  /** The processor of lowest priority among the destinations; equals take turns. Intel SDM vol. 3 §11.6.2.4 "Lowest Priority Delivery Mode". */
  #arbitrate(interrupt: Readonly<Interrupt>): LocalApic | undefined {
    const count = this.#apics.length;
    let winner = -1;
    let lowest = 0x100;
    for (let step = 0; step < count; step++) {
      const position = (this.#turn + step) % count;
      const apic = this.#apics[position];
      if (apic === undefined || !isDestination(apic, interrupt, this.mode)) continue;
      const priority = apic.arbitrationPriority;
      if (priority >= lowest) continue;
      lowest = priority;
      winner = position;
    }
    if (winner >= 0) this.#turn = (winner + 1) % count;
    return this.#apics[winner];
  }

  #apic(apicId: number): LocalApic {
    const apic = this.#byId.get(apicId);
    if (apic === undefined) throw new RangeError(`There is no local APIC with ID ${apicId}.`);
    return apic;
  }
}

const byteOf = (value: number, what: string): number => {
  if (!(Number.isInteger(value) && value >= 0 && value <= 0xff)) throw new RangeError(`${what} is 0 to 255, not ${value}.`);
  return value;
};

const vectorOf = (vector: number): number => byteOf(vector, "An interrupt vector");
