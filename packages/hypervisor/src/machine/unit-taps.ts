import type { Hpa, SparseMemory } from "@iommu-lab/memory";
import type { Iommu, PciFunction } from "@iommu-lab/pci-bus";
import type { BoardTaps } from "../board/taps.ts";

/** An IOMMU that is about to be put into its machine. */
export interface TappedUnit {
  readonly vendor: "intel" | "amd";
  readonly registerBase: Hpa;
  /** Bytes of the register window. */
  readonly windowSize: number;
  /** Bits of a host-physical address. */
  readonly addressWidth: number;
}

/** What stands between one IOMMU of a machine and the rest, to watch or to disturb: each gets a part and gives what takes its place. */
export interface UnitTaps extends Pick<BoardTaps, "tableMemory" | "ownMessage"> {
  /** Memory as devices reach it, past this IOMMU and all others. */
  deviceMemory?(memory: SparseMemory): SparseMemory;
  /** The IOMMU's own function. Before `iommu`. */
  ownFunction?(fn: PciFunction): PciFunction;
  /** The IOMMU as processors and the root complex see it. */
  iommu?(iommu: Iommu, unit: TappedUnit): Iommu;
}
