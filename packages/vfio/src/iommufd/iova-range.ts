/** A range of bytes, both ends inclusive. */
export interface IovaRange {
  readonly start: bigint;
  readonly last: bigint;
}

/** The largest address of 64 bits: ULONG_MAX. */
export const LAST_ADDRESS = 2n ** 64n - 1n;

/** Whether two ranges have a byte in common. */
export const overlap = (a: IovaRange, b: IovaRange): boolean => a.start <= b.last && b.start <= a.last;
