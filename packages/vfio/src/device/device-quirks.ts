import type { MigrationBackend } from "../migration/migration.ts";

/** What a device does, or fails to do, beside what its configuration space says. */
export interface DeviceQuirks {
  /** Function-level reset is announced and does not work. Linux quirk_no_flr. */
  readonly noFlr?: boolean;
  /** A bus reset kills the device. Linux quirk_no_bus_reset. */
  readonly noBusReset?: boolean;
  /** The device's own way to be reset; tried first. */
  readonly reset?: () => void;
  /** Interrupt Disable does not work: INTx is masked at the interrupt controller. */
  readonly brokenIntxMasking?: boolean;
  /** The device's variant driver can migrate it. */
  readonly migration?: MigrationBackend;
}
