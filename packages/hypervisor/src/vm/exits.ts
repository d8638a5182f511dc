/** Why a virtual processor left the guest. */
export type ExitReason = "io" | "mmio" | "ept-violation" | "external-interrupt" | "interrupt-window" | "halt" | "hypercall" | "kick" | "msr";

/** Who took care of it. */
export type HandledIn = "kernel" | "user";

/** Exits of a VM, counted exactly. */
export class ExitCounts {
  readonly #counts = new Map<string, number>();
  readonly #told: ((reason: ExitReason, handledIn: HandledIn) => void) | undefined;
  #kernel = 0;
  #user = 0;

  /** @param told hears of each */
  constructor(told?: (reason: ExitReason, handledIn: HandledIn) => void) {
    this.#told = told;
  }

  /** One exit. */
  note(reason: ExitReason, handledIn: HandledIn): void {
    const key = `${reason}, ${handledIn}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    if (handledIn === "kernel") this.#kernel++;
    else this.#user++;
    this.#told?.(reason, handledIn);
  }

  get total(): number {
    return this.#kernel + this.#user;
  }

  /** Exits that the kernel handled by itself. */
  get kernel(): number {
    return this.#kernel;
  }

  /** Exits that went on to the hypervisor's process. */
  get user(): number {
    return this.#user;
  }

  of(reason: ExitReason): number {
    return (this.#counts.get(`${reason}, kernel`) ?? 0) + (this.#counts.get(`${reason}, user`) ?? 0);
  }

  /** By reason and handler, in the order they first came. */
  entries(): readonly (readonly [string, number])[] {
    return [...this.#counts];
  }
}
