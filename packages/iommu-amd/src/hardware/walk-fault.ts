/** How a walk ended. AMD-Vi §2.5.3 (which flags an IO_PAGE_FAULT has). */
export const WalkFault = {
  None: 0,
  /** An entry with PR=0, or nothing where an entry would be. */
  NotPresent: 1,
  /** A reserved bit of a present entry is set. */
  Reserved: 2,
  /** The rights of all levels together lack the access. */
  Permission: 3,
  /** Levels and sizes do not fit each other. */
  Level: 4,
  /** An entry is where no memory is. */
  Unreadable: 5,
} as const;

const PR = 1 << 20;
const PE = 1 << 22;
const RZ = 1 << 23;

/** Flags of an IO_PAGE_FAULT in its second word, by `WalkFault`. */
export const FAULT_FLAGS = Int32Array.of(0, 0, PR | RZ, PR | PE, PR, 0);

/** What an explanation says, by `WalkFault`. */
export const FAULT_TEXT = ["continue", "IO_PAGE_FAULT, not present", "IO_PAGE_FAULT, reserved bits", "IO_PAGE_FAULT, no permission", "IO_PAGE_FAULT, bad level", "PAGE_TAB_HARDWARE_ERROR"] as const;
