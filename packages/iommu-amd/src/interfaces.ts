import type { Hpa } from "@iommu-lab/memory";
import type { Iommu, IommuDriver, PciFunction, RequesterId } from "@iommu-lab/pci-bus";

/** One AMD IOMMU: a PCI function with a capability block, and a register window. AMD-Vi §3 "Registers". */
export interface AmdIommu extends Iommu {
  /** The function that software finds it by. */
  readonly function: PciFunction;
  /** Its own DeviceID; no request of it is translated. */
  readonly deviceId: RequesterId;
  /** Where its register window is; 16 KiB aligned. */
  readonly registerBase: Hpa;
  readonly segment: number;
}

/** The kernel's side of the AMD IOMMUs that an IVRS table lists. */
export interface AmdDriver extends IommuDriver {
  readonly units: readonly AmdIommu[];
}
