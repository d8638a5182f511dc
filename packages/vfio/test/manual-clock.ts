import type { Cancel, Clock } from "@iommu-lab/pci-bus";

/** Time that a test moves on. */
export class ManualClock implements Clock {
  now = 0;
  #pending: { readonly at: number; readonly action: () => void }[] = [];

  after(delay: number, action: () => void): Cancel {
    const entry = { at: this.now + delay, action };
    this.#pending.push(entry);
    return () => {
      this.#pending = this.#pending.filter((each) => each !== entry);
    };
  }

  /** Lets `nanoseconds` pass, and what is due happen. */
  pass(nanoseconds: number): void {
    const end = this.now + nanoseconds;
    for (;;) {
      const next = this.#pending.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#pending = this.#pending.filter((each) => each !== next);
      this.now = next.at;
      next.action();
    }
    this.now = end;
  }

  get waiting(): number {
    return this.#pending.length;
  }
}
