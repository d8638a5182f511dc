import type { Interrupt } from "@iommu-lab/pci-bus";

/** An interrupt vector of the host that calls a handler. */
export interface HostVector {
  readonly interrupt: Readonly<Interrupt>;
  free(): void;
}

/** Where interrupts of assigned devices end: the host kernel's vectors. */
export interface HostVectors {
  /** @returns undefined when all vectors are taken */
  allocate(handler: () => void): HostVector | undefined;
}

const FIRST = 0x22;
const LAST = 0xeb;

/** Vectors 0x22 to 0xeb of some processors, given out one after the other. A machine's `InterruptSink` passes on what arrives. */
export class HostVectorTable implements HostVectors {
  readonly #apicIds: readonly number[];
  readonly #handlers = new Map<number, () => void>();
  #spurious = 0;

  constructor(apicIds: readonly number[] = [0]) {
    this.#apicIds = apicIds;
  }

  /** Interrupts that no handler was there for. */
  get spurious(): number {
    return this.#spurious;
  }

  /** Vectors given out now. */
  get used(): number {
    return this.#handlers.size;
  }

  allocate(handler: () => void): HostVector | undefined {
    for (const apicId of this.#apicIds)
      for (let vector = FIRST; vector <= LAST; vector++) {
        const key = apicId * 256 + vector;
        if (this.#handlers.has(key)) continue;
        this.#handlers.set(key, handler);
        return {
          interrupt: { vector, deliveryMode: 0, destination: apicId, destinationMode: "physical", trigger: "edge", redirectionHint: false },
          free: () => {
            this.#handlers.delete(key);
          },
        };
      }
    return undefined;
  }

  /** An interrupt arrived at a local APIC. */
  deliver({ destination, vector }: Readonly<Interrupt>): void {
    const handler = this.#handlers.get(destination * 256 + vector);
    if (handler) handler();
    else this.#spurious++;
  }
}
