import type { FunctionAddress } from "@iommu-lab/pci-bus";

/** What firmware does at one moment with one display. */
export type BootAction = "choose" | "route" | "copy-rom" | "run-vbios" | "start-gop" | "skip";

/** One step of the displays' initialisation, with who answers the legacy ranges after it. */
export interface BootStep {
  readonly action: BootAction;
  readonly device: FunctionAddress;
  /** Functions that the bridges and their own command registers let answer at 0xa_0000; more than one is a conflict. */
  readonly owners: readonly FunctionAddress[];
  /** A sentence. */
  readonly text: string;
}

/** How the displays came up. */
export interface BootReport {
  readonly steps: readonly BootStep[];
  /** The display with the screen; undefined when none could be started. */
  readonly primary: FunctionAddress | undefined;
  /** Displays that show something, in the order in which they were started. */
  readonly initialised: readonly FunctionAddress[];
}
