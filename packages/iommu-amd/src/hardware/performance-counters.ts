import { EventCode } from "../layouts/index.ts";
import type { AmdCapabilities } from "./capabilities.ts";
import type { Events } from "./events.ts";
import type { UnitRegisters } from "./unit-registers.ts";

/** What has happened since power-on, by counter source. AMD-Vi §3.4 "Performance Counter Events"; the numbers are those Linux's `perf list` shows. */
export const COUNTER_SOURCES = {
  untranslated: 0x01,
  pretranslated: 0x02,
  excluded: 0x03,
  aborted: 0x04,
  translations: 0x05,
  iotlbHits: 0x06,
  iotlbMisses: 0x07,
  deviceEntryHits: 0x0a,
  deviceEntryMisses: 0x0b,
  tableReads: 0x0c,
  hostTableReads: 0x0d,
  guestTableReads: 0x0e,
  commands: 0x11,
  invalidations: 0x12,
  smis: 0x17,
  blockedSmis: 0x18,
} as const;

export type CounterSource = keyof typeof COUNTER_SOURCES;
/** Totals by source, owned by the IOMMU. */
export type CounterTotals = Record<CounterSource, number>;

/** Whose the events are that came since the last look. */
export interface CountedRequest {
  deviceId: number;
  domain: number;
  /** `NO_PASID` for none. */
  pasid: number;
}

const NAMES = new Map(Object.entries(COUNTER_SOURCES).map(([name, number]) => [number as number, name as CounterSource]));
const WRAP = 2 ** 48;
/** Registers that narrow what is counted. */
const MATCHES = ["PASID", "DOMAIN", "DEVICE"] as const;

/**
 * Performance counters. They are brought up to date when somebody looks, and after each request while one of them counts, so
 * that without them counting costs nothing. AMD-Vi §3.4 "Performance Counters".
 */
export class PerformanceCounters {
  /** Some counter counts. */
  active = false;
  readonly #registers: UnitRegisters;
  readonly #suffixes: readonly string[];
  readonly #totals: () => CounterTotals;
  readonly #events: Events;
  /** Total of each counter's source when it was last brought up to date. */
  readonly #seen: Float64Array;

  constructor(registers: UnitRegisters, { counterBanks, counters }: AmdCapabilities, totals: () => CounterTotals, events: Events) {
    this.#registers = registers;
    this.#suffixes = Array.from({ length: counterBanks * counters }, (_, i) => `${Math.floor(i / counters)}_${i % counters}`);
    this.#seen = new Float64Array(this.#suffixes.length);
    this.#totals = totals;
    this.#events = events;
  }

  /** Adds what came since the last look, as far as it is the given request's. */
  update(request?: Readonly<CountedRequest>): void {
    if (!this.active) return;
    const totals = this.#totals();
    for (const [i, suffix] of this.#suffixes.entries()) {
      const now = this.#selected(suffix, totals);
      const added = now - (this.#seen[i] as number); // as many as suffixes
      this.#seen[i] = now;
      if (added > 0 && this.#matches(suffix, request)) this.#add(suffix, added);
    }
  }

  /** Software wrote a counter's registers: count on from there. */
  written(): void {
    this.active = this.#suffixes.some((suffix) => this.#registers.get(`SOURCE${suffix}`, "CSource") !== 0);
    const totals = this.#totals();
    for (const [i, suffix] of this.#suffixes.entries()) this.#seen[i] = this.#selected(suffix, totals);
  }

  #selected(suffix: string, totals: CounterTotals): number {
    const name = NAMES.get(this.#registers.get(`SOURCE${suffix}`, "CSource"));
    return name === undefined ? 0 : totals[name];
  }

  /** The domain of an event with PASID is the device's all the same. */
  #matches(suffix: string, request: Readonly<CountedRequest> | undefined): boolean {
    return MATCHES.every((kind) => {
      const register = `${kind}${suffix}`;
      if (this.#registers.get(register, "En") === 0) return true;
      if (request === undefined) return false;
      const value = kind === "PASID" ? request.pasid : kind === "DOMAIN" ? request.domain : request.deviceId;
      return value >= 0 && ((value ^ this.#registers.get(register, "Match")) & this.#registers.get(register, "Mask")) === 0;
    });
  }

  /** A counter that passes zero tells of it. AMD-Vi §2.5.11. */
  #add(suffix: string, added: number): void {
    const registers = this.#registers;
    const sum = registers.get(`COUNT${suffix}`, "Count") + added;
    registers.set(`COUNT${suffix}`, "Count", sum % WRAP);
    if (sum < WRAP || registers.get(`REPORT${suffix}`, "CERE") === 0) return;
    const note = registers.get(`REPORT${suffix}`, "CounterNote");
    this.#events.log(0, EventCode.CounterZero << 28, Math.floor(note / 0x1_0000_0000), note % 0x1_0000_0000);
  }
}
