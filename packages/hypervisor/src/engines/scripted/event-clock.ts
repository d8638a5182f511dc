import type { Cancel, Clock } from "@iommu-lab/pci-bus";

interface Event {
  readonly at: number;
  /** Of two at the same time the one that was asked for first. */
  readonly order: number;
  readonly action: () => void;
}

const demandDelay = (delay: number): void => {
  if (!Number.isInteger(delay) || delay < 0) throw new RangeError(`A delay of ${delay} ns is impossible; delays are integers from 0.`);
};

/** Time that moves only when it is told to: integer nanoseconds, no wall clock. */
export class EventClock implements Clock {
  #now = 0;
  #order = 0;
  #events: Event[] = [];

  get now(): number {
    return this.#now;
  }

  /** @throws RangeError when the delay is no integer from 0 */
  after(delay: number, action: () => void): Cancel {
    demandDelay(delay);
    const event = { at: this.#now + delay, order: this.#order++, action };
    this.#events.push(event);
    return () => {
      this.#events = this.#events.filter((each) => each !== event);
    };
  }

  /**
   * Runs what is due within so many nanoseconds, in order, and moves on to then. What it runs may move time on itself.
   * @throws RangeError when the delay is no integer from 0
   */
  advance(delay: number): void {
    demandDelay(delay);
    const end = this.#now + delay;
    for (let next = this.#next(); next !== undefined && next.at <= end; next = this.#next()) {
      this.#events = this.#events.filter((each) => each !== next);
      this.#now = next.at;
      next.action();
    }
    this.#now = Math.max(this.#now, end);
  }

  /** Moves to the next thing that is due and does it; false when nothing is. */
  skip(): boolean {
    const next = this.#next();
    if (next === undefined) return false;
    this.advance(next.at - this.#now);
    return true;
  }

  #next(): Event | undefined {
    let first: Event | undefined;
    for (const event of this.#events) if (first === undefined || event.at < first.at || (event.at === first.at && event.order < first.order)) first = event;
    return first;
  }
}
