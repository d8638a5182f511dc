import { bit, bits, layout } from "@iommu-lab/memory/layout";
import { putBars, type BarDescription } from "../config/bar.ts";
import { register, type RegisterMap } from "../config/register.ts";
import type { CapabilityDefinition, FieldValues } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type Placement } from "./image.ts";

/** SR-IOV Capabilities register. PCIe §9.3.3.2. */
export const SRIOV_CAPABILITIES = layout("SR-IOV Capabilities", 32, "PCIe §9.3.3.2", {
  VFMigrationCapable: bit(0, "VFs can migrate between hierarchies; withdrawn"),
  ARICapableHierarchyPreserved: bit(1, "FLR of the function keeps ARICapableHierarchy"),
  VF10BitTagRequesterSupported: bit(2, "VFs can send 10-bit tags"),
  VF14BitTagRequesterSupported: bit(3, "VFs can send 14-bit tags"),
  VFMigrationInterruptMessageNumber: bits(31, 21, "Vector of migration interrupts; withdrawn"),
});
/** SR-IOV Control register. PCIe §9.3.3.3. */
export const SRIOV_CONTROL = layout("SR-IOV Control", 16, "PCIe §9.3.3.3", {
  VFEnable: bit(0, "The VFs exist"),
  VFMigrationEnable: bit(1, "VFs may migrate; withdrawn"),
  VFMigrationInterruptEnable: bit(2, "Migration interrupts; withdrawn"),
  VFMSE: bit(3, "Memory space enable of all VFs"),
  ARICapableHierarchy: bit(4, "VFs may have function numbers above 7"),
  VF10BitTagRequesterEnable: bit(5, "VFs may send 10-bit tags"),
  VF14BitTagRequesterEnable: bit(6, "VFs may send 14-bit tags"),
});
/** SR-IOV Status register. PCIe §9.3.3.4. */
export const SRIOV_STATUS = layout("SR-IOV Status", 16, "PCIe §9.3.3.4", { VFMigrationStatus: bit(0, "A migration request waits; withdrawn") });

const word = (name: string, section: string, text: string) => layout(name, 16, section, { Value: bits(15, 0, text) });
/** PCIe §9.3.3.5. */
export const SRIOV_INITIAL_VFS = word("InitialVFs", "PCIe §9.3.3.5", "VFs there at first; equals TotalVFs without migration");
/** PCIe §9.3.3.6. */
export const SRIOV_TOTAL_VFS = word("TotalVFs", "PCIe §9.3.3.6", "Most VFs there can be");
/** PCIe §9.3.3.7. */
export const SRIOV_NUM_VFS = word("NumVFs", "PCIe §9.3.3.7", "VFs that VFEnable brings up");
/** PCIe §9.3.3.8. */
export const SRIOV_DEPENDENCY_LINK = layout("Function Dependency Link", 8, "PCIe §9.3.3.8", { Value: bits(7, 0, "Function this one depends on; itself when none") });
/** PCIe §9.3.3.9. */
export const SRIOV_FIRST_VF_OFFSET = word("First VF Offset", "PCIe §9.3.3.9", "Requester ID of the first VF minus that of the function");
/** PCIe §9.3.3.10. */
export const SRIOV_VF_STRIDE = word("VF Stride", "PCIe §9.3.3.10", "Distance of VFs' requester IDs");
/** PCIe §9.3.3.11. */
export const SRIOV_VF_DEVICE_ID = word("VF Device ID", "PCIe §9.3.3.11", "Device ID of the VFs");
/** PCIe §9.3.3.12. */
export const SRIOV_SUPPORTED_PAGE_SIZES = layout("Supported Page Sizes", 32, "PCIe §9.3.3.12", { Sizes: bits(31, 0, "Bit n: pages of 4 KiB << n") });
/** PCIe §9.3.3.13. */
export const SRIOV_SYSTEM_PAGE_SIZE = layout("System Page Size", 32, "PCIe §9.3.3.13", { Size: bits(31, 0, "One bit n: pages of 4 KiB << n; VF BARs are aligned to it") });
/** PCIe §9.3.3.14. */
export const SRIOV_VF_BAR = layout("VF BAR", 32, "PCIe §9.3.3.14", { Value: bits(31, 0, "As a BAR of type 0; every VF has one such range, one after the other") });
/** PCIe §9.3.3.15. */
export const SRIOV_MIGRATION_STATE = layout("VF Migration State Array Offset", 32, "PCIe §9.3.3.15", { BIR: bits(2, 0, "Index of the BAR it is in"), Offset: bits(31, 3, "Offset in the BAR, in 8-byte units") });

const VF_BARS = 0x24;

const registersOf = (): RegisterMap => {
  const registers: Record<string, RegisterMap[string]> = {
    Capabilities: register(4, SRIOV_CAPABILITIES),
    Control: register(8, SRIOV_CONTROL, { writable: ["VFEnable", "VFMSE", "ARICapableHierarchy", "VF10BitTagRequesterEnable", "VF14BitTagRequesterEnable"] }),
    Status: register(0xa, SRIOV_STATUS),
    InitialVFs: register(0xc, SRIOV_INITIAL_VFS),
    TotalVFs: register(0xe, SRIOV_TOTAL_VFS),
    NumVFs: register(0x10, SRIOV_NUM_VFS, { writable: "all" }),
    DependencyLink: register(0x12, SRIOV_DEPENDENCY_LINK),
    FirstVFOffset: register(0x14, SRIOV_FIRST_VF_OFFSET),
    VFStride: register(0x16, SRIOV_VF_STRIDE),
    VFDeviceID: register(0x1a, SRIOV_VF_DEVICE_ID),
    SupportedPageSizes: register(0x1c, SRIOV_SUPPORTED_PAGE_SIZES),
    SystemPageSize: register(0x20, SRIOV_SYSTEM_PAGE_SIZE, { writable: "all" }),
    MigrationState: register(0x3c, SRIOV_MIGRATION_STATE),
  };
  for (let i = 0; i < 6; i++) registers[`VFBAR${i}`] = register(VF_BARS + 4 * i, SRIOV_VF_BAR);
  return registers;
};
const shape = { id: 0x10, extended: true, version: 1, length: 0x40, registers: registersOf() };

/** A physical function's VFs. */
export interface SriovDescription {
  readonly totalVfs: number;
  readonly vfDevice: number;
  readonly firstVfOffset: number;
  readonly vfStride: number;
  readonly initialVfs?: number;
  readonly numVfs?: number;
  readonly dependencyLink?: number;
  /** Bit n: pages of 4 KiB << n; the default 0x553 (4 and 8 KiB, 64 and 256 KiB, 1 and 4 MiB) is what every function must have. */
  readonly supportedPageSizes?: number;
  readonly systemPageSize?: number;
  /** BARs of one VF; `size` is per VF. */
  readonly vfBars?: readonly BarDescription[];
  /** Initial values of the VF BAR registers, for functions already set up by firmware. */
  readonly vfBarValues?: readonly number[];
  readonly capabilities?: FieldValues<typeof SRIOV_CAPABILITIES>;
  readonly control?: FieldValues<typeof SRIOV_CONTROL>;
  readonly status?: FieldValues<typeof SRIOV_STATUS>;
  readonly migrationState?: FieldValues<typeof SRIOV_MIGRATION_STATE>;
}

/**
 * Single Root I/O Virtualization (extended id 0x10). PCIe §9.3.3.
 * Model: NumVFs stays writable while VFEnable is set; what software does then is undefined in the specification.
 * @throws RangeError when a value does not fit or a VF BAR is impossible
 */
export const singleRootIov = (description: SriovDescription, placement?: Placement): CapabilityImage => {
  const values: Record<string, Record<string, number>> = {
    Capabilities: { ...description.capabilities },
    Control: { ...description.control },
    Status: { ...description.status },
    InitialVFs: { Value: description.initialVfs ?? description.totalVfs },
    TotalVFs: { Value: description.totalVfs },
    NumVFs: { Value: description.numVfs ?? 0 },
    DependencyLink: { Value: description.dependencyLink ?? 0 },
    FirstVFOffset: { Value: description.firstVfOffset },
    VFStride: { Value: description.vfStride },
    VFDeviceID: { Value: description.vfDevice },
    SupportedPageSizes: { Sizes: description.supportedPageSizes ?? 0x553 },
    SystemPageSize: { Size: description.systemPageSize ?? 1 },
    MigrationState: { ...description.migrationState },
  };
  for (const [i, Value] of (description.vfBarValues ?? []).entries()) values[`VFBAR${i}`] = { Value };
  const image = capabilityImage(shape, values, placement);
  if (description.vfBars) putBars(image, VF_BARS, 6, description.vfBars);
  return image;
};

/** How to read an SR-IOV capability. */
export const SINGLE_ROOT_IOV: CapabilityDefinition = { id: 0x10, extended: true, shape: () => shape };
