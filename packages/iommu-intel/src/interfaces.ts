import type { Hpa } from "@iommu-lab/memory";
import type { Iommu, IommuDriver } from "@iommu-lab/pci-bus";

/** One VT-d remapping hardware unit: an IOMMU whose registers are a window in memory. VT-d §10 "Register Descriptions". */
export interface RemappingUnit extends Iommu {
  /** Where its register window is; 4 KiB aligned. */
  readonly registerBase: Hpa;
  /** PCI segment whose functions it serves. */
  readonly segment: number;
}

/** The kernel's side of one or more remapping units that share a DMAR table. */
export interface VtdDriver extends IommuDriver {
  readonly units: readonly RemappingUnit[];
}
