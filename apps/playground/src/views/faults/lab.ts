/** A place of the ring that holds a record. */
export interface RingSlot {
  readonly index: number;
  readonly words: readonly number[];
  /** Software has not taken it yet. */
  readonly pending: boolean;
}

/** What the hardware holds. */
export interface FaultLab {
  /** Places of the ring. */
  readonly size: number;
  readonly slots: readonly RingSlot[];
  readonly pending: number;
  readonly overflow: boolean;
  /** Where software begins to read. */
  readonly first: number;
  /** Registers in words. */
  readonly status: Readonly<Record<string, string>>;
  /** Requests that were refused. */
  readonly faults: number;
  /** Faults that were to be recorded and found no room. */
  readonly lost: number;
}
