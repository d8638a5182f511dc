import { DeliveryMode, type Interrupt } from "@iommu-lab/pci-bus";
import type { ProcessorEvent } from "../interfaces.ts";
import { VectorSet } from "./vector-set.ts";

/** Error status: a vector below 16 was received. Intel SDM vol. 3 §11.5.3 "Error Handling". */
const RECEIVED_ILLEGAL_VECTOR = 0x40;

/** Events by urgency. Intel SDM vol. 3 §6.9 "Prioritization of Concurrent Events". */
const EVENTS: readonly ProcessorEvent[] = ["init", "smi", "nmi", "extint", "doorbell"];

const eventOf = (mode: DeliveryMode): ProcessorEvent | undefined => {
  switch (mode) {
    case DeliveryMode.Smi:
      return "smi";
    case DeliveryMode.Nmi:
      return "nmi";
    case DeliveryMode.Init:
      return "init";
    case DeliveryMode.ExtInt:
      return "extint";
    default:
      return undefined;
  }
};

/** One processor's local APIC: requests, service, priorities. Intel SDM vol. 3 chapter "APIC". */
export class LocalApic {
  readonly id: number;
  readonly requested = new VectorSet();
  readonly inService = new VectorSet();
  /** TMR: the request was level-triggered. */
  readonly levelTriggered = new VectorSet();
  taskPriority = 0;
  /** LDR bits 31:24, for logical destinations in xAPIC mode. */
  logicalId = 0;
  /** DFR: logical IDs are a mask of 8 processors, or clusters of 4. */
  model: "flat" | "cluster" = "flat";
  errors = 0;
  readonly #events = new Set<ProcessorEvent>();

  constructor(id: number) {
    this.id = id;
  }

  /** PPR: no vector of this class or a lower one is taken. Intel SDM vol. 3 §11.8.3.1. */
  get processorPriority(): number {
    const serving = Math.max(this.inService.highest(), 0) & 0xf0;
    return (this.taskPriority & 0xf0) >= serving ? this.taskPriority : serving;
  }

  /** What lowest-priority arbitration compares: the highest class of what the processor does and has been asked to do. */
  get arbitrationPriority(): number {
    return Math.max(this.processorPriority, Math.max(this.requested.highest(), 0) & 0xf0);
  }

  accept(interrupt: Readonly<Interrupt>): void {
    const event = eventOf(interrupt.deliveryMode);
    if (event !== undefined) this.signal(event);
    else this.#request(interrupt.vector, interrupt.trigger === "level");
  }

  /** INIT puts the APIC into its state after reset, but for its ID. Intel SDM vol. 3 §11.4.7.3. */
  signal(event: ProcessorEvent): void {
    if (event === "init") this.reset();
    this.#events.add(event);
  }

  takeEvent(): ProcessorEvent | undefined {
    const event = EVENTS.find((each) => this.#events.has(each));
    if (event !== undefined) this.#events.delete(event);
    return event;
  }

  acknowledge(): number {
    const vector = this.requested.highest();
    if (vector < 0 || vector >> 4 <= this.processorPriority >> 4) return -1;
    this.requested.delete(vector);
    this.inService.add(vector);
    return vector;
  }

  /** Ends what is in service; gives the vector if it was level-triggered, else -1. */
  endOfInterrupt(): number {
    const vector = this.inService.highest();
    if (vector < 0) return -1;
    this.inService.delete(vector);
    return this.levelTriggered.has(vector) ? vector : -1;
  }

  reset(): void {
    this.requested.clear();
    this.inService.clear();
    this.levelTriggered.clear();
    this.taskPriority = 0;
    this.logicalId = 0;
    this.model = "flat";
    this.errors = 0;
    this.#events.clear();
  }

  #request(vector: number, level: boolean): void {
    if (vector < 16) {
      this.errors |= RECEIVED_ILLEGAL_VECTOR;
      return;
    }
    this.requested.add(vector);
    if (level) this.levelTriggered.add(vector);
    else this.levelTriggered.delete(vector);
  }
}
