/** How a walk ended. What a fault is called depends on the translation table mode: `LEGACY_REASON` and `SCALABLE_REASON`. */
export const WalkFault = {
  None: 0,
  TopUnreadable: 1,
  Unreadable: 2,
  NotPresent: 3,
  Reserved: 4,
  NoWrite: 5,
  NoRead: 6,
  NoExecute: 7,
  InterruptRange: 8,
  TooWide: 9,
  NoSnoopForFlags: 10,
  UpdateFailed: 11,
} as const;

/** Fault reasons of legacy mode by `WalkFault`; 0 where legacy mode has none. VT-d §7.1.3, Table 26. */
export const LEGACY_REASON = Uint8Array.of(0, 0x03, 0x07, 0x06, 0x0c, 0x05, 0x06, 0x06, 0x0e, 0x04, 0, 0);
/** Fault reasons of second-stage translation in scalable mode. VT-d §7.1.3, Table 26. */
export const SECOND_STAGE_REASON = Uint8Array.of(0, 0x7b, 0x78, 0x79, 0x7a, 0x85, 0x86, 0x82, 0x87, 0x84, 0x7c, 0x7d);
