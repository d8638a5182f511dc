import type { Hpa } from "@iommu-lab/memory";
import type { Iommu } from "@iommu-lab/pci-bus";

/** One VT-d remapping hardware unit: an IOMMU whose registers are a window in memory. VT-d §10 "Register Descriptions". */
export interface RemappingUnit extends Iommu {
  /** Where its register window is; 4 KiB aligned. */
  readonly registerBase: Hpa;
  /** PCI segment whose functions it serves. */
  readonly segment: number;
}
