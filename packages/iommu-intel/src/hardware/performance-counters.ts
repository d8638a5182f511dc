import type { EventInterrupt } from "./event-interrupt.ts";
import { PERF_COUNTER_WIDTH, PERF_COUNTERS, PERF_EVENTS } from "./register-map.ts";
import type { UnitRegisters } from "./unit-registers.ts";

/** What has happened since power-on, by event. */
export type EventTotals = Readonly<Record<keyof typeof PERF_EVENTS, number>>;

const NAMES = Object.keys(PERF_EVENTS) as (keyof typeof PERF_EVENTS)[];

/**
 * Performance counters: each adds up the events it selects while it is enabled and not frozen. They are brought up to date
 * when somebody looks, so that counting costs nothing. VT-d §6.6 "Performance Monitoring".
 */
export class PerformanceCounters {
  readonly #registers: UnitRegisters;
  readonly #totals: () => EventTotals;
  readonly #event: EventInterrupt;
  readonly #enabled = new Uint8Array(PERF_COUNTERS);
  #active = false;
  /** Total of the selected events when the register was last brought up to date. */
  readonly #seen = new Float64Array(PERF_COUNTERS);

  constructor(registers: UnitRegisters, totals: () => EventTotals, event: EventInterrupt) {
    this.#registers = registers;
    this.#totals = totals;
    this.#event = event;
  }

  /** Some counter counts: a plain field, since every translation asks. */
  get active(): boolean {
    return this.#active;
  }

  /** Brings all counters up to date and tells of overflows. */
  update(): void {
    for (let i = 0; i < PERF_COUNTERS; i++) if (this.#counts(i)) this.#add(i);
  }

  /** Software wrote a counter or its configuration: count on from there. */
  rebase(): void {
    for (let i = 0; i < PERF_COUNTERS; i++) this.#seen[i] = this.#selected(i);
  }

  /** Commands F0h and F1h. @returns whether there is such a counter */
  enable(counter: number, on: boolean): boolean {
    if (counter >= PERF_COUNTERS) return false;
    this.update();
    this.#enabled[counter] = on ? 1 : 0;
    this.#active = this.#enabled.includes(1);
    this.#seen[counter] = this.#selected(counter);
    return true;
  }

  /** Commands F4h and F5h: all counters stop or go on. */
  freeze(on: boolean): void {
    this.update();
    this.#registers.set("PERFFRZ_REG", "FRZ", on ? 2 ** PERF_COUNTERS - 1 : 0);
    this.rebase();
  }

  reset(): void {
    this.#enabled.fill(0);
    this.#active = false;
    this.rebase();
  }

  #counts(counter: number): boolean {
    return this.#enabled[counter] === 1 && ((this.#registers.get("PERFFRZ_REG", "FRZ") >>> counter) & 1) === 0;
  }

  #selected(counter: number): number {
    const events = this.#registers.get(`PERFCNTRCFG${counter}_REG`, "ES");
    if (this.#registers.get(`PERFCNTRCFG${counter}_REG`, "EGI") !== 0) return 0;
    const totals = this.#totals();
    return NAMES.reduce((sum, name) => sum + ((events >>> PERF_EVENTS[name]) & 1) * totals[name], 0);
  }

  #add(counter: number): void {
    const registers = this.#registers;
    const now = this.#selected(counter);
    const sum = registers.get(`PERFCNTR${counter}_REG`, "COUNT") + now - (this.#seen[counter] as number); // counter is below PERF_COUNTERS
    this.#seen[counter] = now;
    registers.set(`PERFCNTR${counter}_REG`, "COUNT", sum % 2 ** PERF_COUNTER_WIDTH);
    if (sum < 2 ** PERF_COUNTER_WIDTH) return;
    registers.set("PERFOVF_REG", "OVF", registers.get("PERFOVF_REG", "OVF") | (1 << counter));
    if (registers.get(`PERFCNTRCFG${counter}_REG`, "IE") === 0 || registers.get("PERFINTRSTS_REG", "PIS") === 1) return;
    registers.set("PERFINTRSTS_REG", "PIS", 1);
    this.#event.raise();
  }
}
