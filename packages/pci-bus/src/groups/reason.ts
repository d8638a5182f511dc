import type { FunctionAddress } from "../requester-id.ts";

/** What in the hardware (or in what was seen of it) a reason rests on. */
export interface Evidence {
  /** Register or structure, by the specification's name. */
  readonly register: string;
  /** Offset in configuration space of the function named by `at`, bytes; null where the structure is absent. */
  readonly offset: number | null;
  /** The value found, null where there is none. */
  readonly value: number | null;
  /** What would have to be there (or be set) for the pair to be apart. */
  readonly missing: readonly string[];
}

/** Which of the kernel's rules joined two functions. */
export type MergeRule =
  /** A bridge on the way to the root lets requests turn round before the IOMMU sees them. */
  | "acs-path"
  /** Functions of one slot that can talk to each other inside the device. */
  | "multifunction"
  /** Requests of one function carry, or may carry, the other's requester ID. */
  | "dma-alias"
  /** A device-specific rule denies isolation. */
  | "quirk";

/**
 * Why two functions are in one group. The reasons that name one pair belong together:
 * when all of them are taken away, the pair comes apart.
 */
export interface MergeReason {
  readonly rule: MergeRule;
  /** The two functions joined. */
  readonly members: readonly [FunctionAddress, FunctionAddress];
  /** The function at which the rule holds. */
  readonly at: FunctionAddress;
  readonly evidence: Evidence;
  /** Name of the device-specific rule, where one is behind it. */
  readonly quirk?: string;
  /** One sentence for people. */
  readonly text: string;
}
