/** `pcie_acs_override=`: an out-of-tree option that declares isolation which the hardware does not give. Unsafe. */
export interface AcsOverride {
  readonly downstream: boolean;
  readonly multifunction: boolean;
  /** `idKey` values. */
  readonly ids: readonly number[];
}

/** `pci=disable_acs_redir=` or one part of `pci=config_acs=`: which functions, which bits. */
export interface AcsParameter {
  /** Clears and sets of ACS Control bits. */
  readonly clear: number;
  readonly set: number;
  readonly match: AcsDeviceMatch;
}

/** A device of a `pci=` parameter: an address, a path, or ids where 0xffff (0 in the text too) matches any. */
export type AcsDeviceMatch =
  | { readonly kind: "path"; readonly domain: number; readonly bus: number; readonly devfns: readonly number[] }
  | { readonly kind: "id"; readonly vendor: number; readonly device: number; readonly subsystemVendor: number; readonly subsystemDevice: number };

/** What the kernel and its options add to the hardware's facts. */
export interface GroupingPolicy {
  /** Kernel version as major * 1000 + minor; undefined: the newest rules. */
  readonly kernel?: number;
  /** An IVRS table exists (a condition of the AMD southbridge rule). */
  readonly ivrs: boolean;
  readonly override?: AcsOverride;
}

/** Version in the form `GroupingPolicy.kernel` wants. */
export const kernelVersion = (major: number, minor: number): number => major * 1000 + minor;
