import type { SparseMemory } from "@iommu-lab/memory";
import type { CachePolicy, ConfigSpace, Iommu } from "@iommu-lab/pci-bus";
import type { TraceHeader } from "./trace-header.ts";
import type { TracedMessage } from "./trace-step.ts";

/** A machine that a trace is replayed on: memory, and the IOMMU between it and the devices. */
export interface TracedMachine {
  readonly memory: SparseMemory;
  readonly iommu: Iommu;
  /** Messages that the IOMMU itself sent, oldest first; who compares them takes them out. */
  readonly messages: TracedMessage[];
  /** Configuration space of an IOMMU that is a PCI function. Its traces show the IOMMU's own messages by `irqs` steps only. */
  readonly config?: ConfigSpace;
  /** DMA to where no memory is aborts; by default it reads zeros and writes nothing. */
  readonly abortsWithoutMemory?: boolean;
  /** Whether the register at this offset tells of faults, so that the request before explains it. */
  tellsOfFaults(offset: number): boolean;
}

/** What a replay may choose that no trace says. */
interface MachineChoices {
  readonly caches: CachePolicy;
}

/** Builds the machine of a trace. @throws TraceError when the header describes none that can be built */
export type MachineBuilder = (header: TraceHeader, choices: MachineChoices) => TracedMachine;
