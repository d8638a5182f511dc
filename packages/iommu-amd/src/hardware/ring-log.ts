import type { TableMemory } from "./table-memory.ts";
import type { UnitRegisters } from "./unit-registers.ts";
import type { InterruptKind } from "./unit-interrupts.ts";

/** The registers of one ring in memory. */
export interface RingNames {
  readonly base: string;
  readonly head: string;
  readonly tail: string;
  /** STATUS bit of a full ring. */
  readonly overflow: string;
}

/** A log of events, page requests or guest interrupts, with one ring or two. */
export interface LogDescription {
  readonly rings: readonly [RingNames] | readonly [RingNames, RingNames];
  /** STATUS bits. */
  readonly run: string;
  readonly written: string;
  readonly active?: string;
  /** CONTROL bits. */
  readonly enable: string;
  readonly interruptEnable: string;
  readonly dual?: string;
  readonly interrupt: InterruptKind;
  readonly entryBytes: 8 | 16;
}

/** Raises one of the IOMMU's interrupts. */
export type RaiseInterrupt = (kind: InterruptKind) => void;

/** Fewer than 2^8 entries are reserved: such a ring never runs. */
const SMALLEST = 8;
const LARGEST = 15;
/** A GA log pointer has 16 bits. */
const LARGEST_GA = 12;
/** Dual log modes. Model: 1 uses ring B, 3 changes over when a ring is full; the others use ring A. */
const USE_B = 1;
const CHANGE_OVER = 3;

/**
 * A ring that the IOMMU writes and software reads. One slot stays free: an entry that finds the others taken sets the overflow
 * bit, and the log stops until software has cleared it and enabled the log again. AMD-Vi §2.5 "Event Logging", §2.5.1.
 */
export class RingLog {
  /** Entries are written. */
  running = false;
  readonly #registers: UnitRegisters;
  readonly #memory: TableMemory;
  readonly #names: LogDescription;
  readonly #raise: RaiseInterrupt;
  #enabled = false;
  #active = 0;

  constructor(registers: UnitRegisters, memory: TableMemory, names: LogDescription, raise: RaiseInterrupt) {
    this.#registers = registers;
    this.#memory = memory;
    this.#names = names;
    this.#raise = raise;
  }

  /** Registers of the ring in use. */
  get ring(): RingNames {
    return this.#names.rings[this.#active] ?? this.#names.rings[0];
  }

  /** Entries that software has not taken yet. */
  get pending(): number {
    const { head, tail, base } = this.ring;
    const size = this.#entries(base);
    return (this.#registers.get(tail, "Ptr") - this.#registers.get(head, "Ptr") + size) % size;
  }

  /** CONTROL was written: a log that is newly enabled starts, one that is not stops. */
  update(iommuEnabled: boolean): void {
    const registers = this.#registers;
    const { enable, dual } = this.#names;
    const enabled = iommuEnabled && registers.get("CONTROL", enable) === 1;
    if (dual !== undefined && this.#mode() !== CHANGE_OVER) this.#use(this.#mode() === USE_B ? 1 : 0);
    if (enabled !== this.#enabled) this.#run(enabled && this.#canStart(this.ring));
    this.#enabled = enabled;
  }

  /** Whether software may not write a register now: bases and tails belong to the IOMMU while the log runs. */
  owns(register: string): boolean {
    return this.running && this.#names.rings.some(({ base, tail }) => register === base || register === tail);
  }

  /** A base was written: its pointers start again. */
  baseWritten(register: string): void {
    for (const { base, head, tail } of this.#names.rings) {
      if (register !== base) continue;
      this.#registers.set(head, "Ptr", 0);
      this.#registers.set(tail, "Ptr", 0);
    }
  }

  /**
   * Writes an entry.
   * @returns false when the log does not run, or the entry found it full
   */
  append(words: Uint32Array): boolean {
    if (!this.running || !this.#room()) return false;
    const registers = this.#registers;
    const { entryBytes, written, interruptEnable, interrupt } = this.#names;
    const { base, tail } = this.ring;
    const size = this.#entries(base);
    const at = registers.get(tail, "Ptr") % size;
    const address = registers.get(base, "Base") * 4096 + at * entryBytes;
    for (let i = 0; i < entryBytes / 4; i++) this.#memory.write32(address + 4 * i, words[i] as number); // the caller's entry has so many words
    registers.set(tail, "Ptr", (at + 1) % size);
    registers.set("STATUS", written, 1);
    if (registers.get("CONTROL", interruptEnable) === 1) this.#raise(interrupt);
    return true;
  }

  reset(): void {
    this.running = false;
    this.#enabled = false;
    this.#active = 0;
  }

  /** Whether the ring in use has room, or the other one after a change-over. */
  #room(): boolean {
    if (!this.#full()) return true;
    const registers = this.#registers;
    const { rings, interruptEnable, interrupt } = this.#names;
    registers.set("STATUS", this.ring.overflow, 1);
    if (registers.get("CONTROL", interruptEnable) === 1) this.#raise(interrupt);
    const other = rings[1 - this.#active];
    if (other !== undefined && this.#mode() === CHANGE_OVER && this.#canStart(other)) {
      this.#use(1 - this.#active);
      if (!this.#full()) return true;
    }
    this.#run(false);
    return false;
  }

  #full(): boolean {
    const { head, tail, base } = this.ring;
    const size = this.#entries(base);
    return (this.#registers.get(tail, "Ptr") + 1) % size === this.#registers.get(head, "Ptr") % size;
  }

  #canStart({ base, overflow }: RingNames): boolean {
    const length = this.#registers.get(base, "Len");
    return length >= SMALLEST && length <= (this.#names.entryBytes === 8 ? LARGEST_GA : LARGEST) && this.#registers.get("STATUS", overflow) === 0;
  }

  #entries(base: string): number {
    // The GA log's entries are half as large, and a length of 8 means 512 of them.
    return 2 ** this.#registers.get(base, "Len") * (this.#names.entryBytes === 8 ? 2 : 1);
  }

  #mode(): number {
    return this.#names.dual === undefined ? 0 : this.#registers.get("CONTROL", this.#names.dual);
  }

  #use(ring: number): void {
    this.#active = ring;
    if (this.#names.active !== undefined) this.#registers.set("STATUS", this.#names.active, ring);
  }

  #run(on: boolean): void {
    this.running = on;
    this.#registers.set("STATUS", this.#names.run, on ? 1 : 0);
  }
}

const EVENT_A: RingNames = { base: "EVT_BASE", head: "EVT_HEAD", tail: "EVT_TAIL", overflow: "EventOverflow" };
const EVENT_B: RingNames = { base: "EVT_B_BASE", head: "EVT_B_HEAD", tail: "EVT_B_TAIL", overflow: "EventOverflowB" };
const PPR_A: RingNames = { base: "PPR_BASE", head: "PPR_HEAD", tail: "PPR_TAIL", overflow: "PprOverflow" };
const PPR_B: RingNames = { base: "PPR_B_BASE", head: "PPR_B_HEAD", tail: "PPR_B_TAIL", overflow: "PprOverflowB" };
const GA: RingNames = { base: "GA_BASE", head: "GA_HEAD", tail: "GA_TAIL", overflow: "GALOverflow" };

export const EVENT_LOG: LogDescription = { rings: [EVENT_A, EVENT_B], run: "EventLogRun", written: "EventLogInt", active: "EventLogActive", enable: "EventLogEn", interruptEnable: "EventIntEn", dual: "DualEventLogEn", interrupt: "general", entryBytes: 16 };
export const PPR_LOG: LogDescription = { rings: [PPR_A, PPR_B], run: "PprLogRun", written: "PprInt", active: "PprLogActive", enable: "PprLogEn", interruptEnable: "PprIntEn", dual: "DualPprLogEn", interrupt: "ppr", entryBytes: 16 };
export const GA_LOG: LogDescription = { rings: [GA], run: "GALogRun", written: "GAInt", enable: "GALogEn", interruptEnable: "GAIntEn", interrupt: "ga", entryBytes: 8 };
