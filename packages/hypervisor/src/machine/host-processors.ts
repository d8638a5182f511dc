import { LocalApicsModel } from "@iommu-lab/interrupt-remap/apic";
import type { Interrupt, InterruptSink, Posting } from "@iommu-lab/pci-bus";

/** What the kernel does when an interrupt arrives; `vector` is for handlers of several. */
export type InterruptHandler = (vector: number, processor: number) => void;

/** A vector on a processor, with its handler. */
export interface HostVector {
  /** 0x20 to 0xef. */
  readonly vector: number;
  /** APIC ID. */
  readonly processor: number;
}

/** What arrived with nobody to take it. */
export interface StrayInterrupt {
  readonly processor: number;
  /** Of an NMI, SMI or INIT: its name. */
  readonly what: number | string;
}

const [FIRST_VECTOR, LAST_VECTOR] = [0x30, 0xef];

/** The processors of a machine as interrupts see them: local APICs, and the kernel's handlers behind them. */
export class HostProcessors implements InterruptSink {
  readonly apics: LocalApicsModel;
  /** APIC IDs. */
  readonly ids: readonly number[];
  /** Interrupts taken by a handler since power-on. */
  handled = 0;
  /** Those that nobody expected: how a forged message shows. */
  readonly stray: StrayInterrupt[] = [];
  readonly #handlers = new Map<number, InterruptHandler>();
  readonly #posted: ((posting: Posting) => void)[] = [];

  constructor(count: number, mode: "xapic" | "x2apic", endOfInterrupt: (vector: number) => void) {
    this.ids = Array.from({ length: count }, (_, i) => i);
    this.apics = new LocalApicsModel({ ids: this.ids, mode, broadcastEndOfInterrupt: endOfInterrupt });
  }

  /** Takes a free vector of a processor. @throws RangeError when it has none left */
  allocate(processor: number, handler: InterruptHandler): HostVector {
    for (let vector = FIRST_VECTOR; vector <= LAST_VECTOR; vector++) {
      const key = processor * 256 + vector;
      if (this.#handlers.has(key)) continue;
      this.#handlers.set(key, handler);
      return { vector, processor };
    }
    throw new RangeError(`Processor ${processor} has no vector left.`);
  }

  /** Gives a vector back. */
  free({ vector, processor }: HostVector): void {
    this.#handlers.delete(processor * 256 + vector);
  }

  /** Told of every posted interrupt before its notification is. */
  onPosting(listener: (posting: Posting) => void): void {
    this.#posted.push(listener);
  }

  deliver(interrupt: Readonly<Interrupt>): void {
    this.apics.deliver(interrupt);
    this.#serve();
  }

  post(posting: Posting): void {
    for (const listener of this.#posted) listener(posting);
    this.apics.post(posting);
    this.#serve();
  }

  /** Every processor takes what is requested of it, most urgent first. */
  #serve(): void {
    for (const processor of this.ids) {
      for (let event = this.apics.takeEvent(processor); event !== undefined; event = this.apics.takeEvent(processor)) if (event !== "doorbell") this.stray.push({ processor, what: event });
      for (let vector = this.apics.acknowledge(processor); vector >= 0; vector = this.apics.acknowledge(processor)) {
        const handler = this.#handlers.get(processor * 256 + vector);
        // The handler first: the end of a level-triggered interrupt looks at the wire again.
        if (handler) {
          this.handled++;
          handler(vector, processor);
        } else this.stray.push({ processor, what: vector });
        this.apics.endOfInterrupt(processor);
      }
    }
  }
}
