import type { Processor } from "./processors.ts";

/** What is peculiar about a generation's IOMMU. */
export interface ProcessorQuirk {
  readonly id: "no-large-pages";
  readonly text: string;
  /** Who says so, in words. */
  readonly source: string;
}

const SANDY_BRIDGE = [42, 45] as const;

/** Peculiarities of the IOMMU of a processor's generation. */
export const processorQuirks = ({ vendor, family, model }: Processor): readonly ProcessorQuirk[] =>
  vendor === "GenuineIntel" && family === 6 && SANDY_BRIDGE.some((each) => each === model)
    ? [{ id: "no-large-pages", text: "Sandy Bridge's units map in 4 KiB pages only: DMA of a large guest misses their caches more often.", source: "J. Torres, \"IOMMU: Primer asalto\" (2015); CAP.SLLPS of such units is 0" }]
    : [];
