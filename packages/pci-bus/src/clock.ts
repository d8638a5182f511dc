/** Undoes a `Clock.after`; harmless once the action has run. */
export type Cancel = () => void;

/** A machine's time: integer nanoseconds, moved on by the machine's event core, never by the wall. */
export interface Clock {
  /** Nanoseconds since reset; an integer. */
  readonly now: number;
  /** Runs `action` once, `delay` nanoseconds (an integer ≥ 0) from now. */
  after(delay: number, action: () => void): Cancel;
}
