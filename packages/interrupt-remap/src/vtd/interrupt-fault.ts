/** Why an interrupt request is blocked: fault reasons of interrupt remapping. VT-d §7.1.3 "Fault Conditions". */
export const InterruptFault = {
  /** Reserved bits set in the request. */
  RequestReserved: 0x20,
  /** The index is past the end of the interrupt remapping table. */
  IndexTooLarge: 0x21,
  /** The IRTE is not present. */
  EntryNotPresent: 0x22,
  /** The IRTE could not be read. */
  EntryAccess: 0x23,
  /** The IRTE has reserved bits or values. */
  EntryReserved: 0x24,
  /** A request in compatibility format while that is blocked. */
  CompatibilityBlocked: 0x25,
  /** The IRTE does not allow this requester. */
  SourceRefused: 0x26,
  /** The posted-interrupt descriptor could not be read or written. */
  DescriptorAccess: 0x27,
  /** The posted-interrupt descriptor has reserved bits set. */
  DescriptorReserved: 0x28,
} as const;
export type InterruptFault = (typeof InterruptFault)[keyof typeof InterruptFault];

/** Whether FPD in the IRTE silences the fault: only those found after the entry was read. VT-d §7.1.3. */
export const isQualified = (fault: number): boolean =>
  fault === InterruptFault.EntryNotPresent || fault === InterruptFault.EntryReserved || (fault >= InterruptFault.SourceRefused && fault <= InterruptFault.DescriptorReserved);
