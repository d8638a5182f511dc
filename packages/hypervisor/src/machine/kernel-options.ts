import { parseCommandLine } from "@iommu-lab/pci-bus/groups";
import type { MachineDescription } from "@iommu-lab/pci-bus/machine";

/** What the host's kernel makes of its command line. Linux Documentation/admin-guide/kernel-parameters. */
export interface KernelOptions {
  /** DMA is translated. */
  readonly translation: boolean;
  /** Host-owned devices see host-physical addresses: `iommu=pt`. */
  readonly passthrough: boolean;
  /** Every unmapping is invalidated at once. */
  readonly strict: boolean;
  /** Device-TLBs are used. */
  readonly ats: boolean;
  /** Interrupts are remapped, where the hardware can. */
  readonly interruptRemapping: boolean;
  /** [major, minor]. */
  readonly version: readonly [number, number];
}

/**
 * Reads the options of a machine's kernel. AMD's IOMMU is on unless it is switched off; Intel's is on when it is switched on,
 * as distributions build it.
 */
export const kernelOptions = ({ kernel, iommus, firmware }: MachineDescription): KernelOptions => {
  const line = kernel.commandLine ?? "";
  const found = parseCommandLine(line);
  const [major = 0, minor = 0] = kernel.version.split(".").map(Number);
  const off = found.iommu.includes("off") || firmware.iommu === false;
  const intel = iommus[0]?.vendor === "intel";
  const on = intel ? found.intelIommu.includes("on") && !found.intelIommu.includes("off") : !found.amdIommu.includes("off");
  const strictWord = (intel ? found.intelIommu : found.amdIommu).includes("strict") || (!intel && found.amdIommu.includes("fullflush"));
  return {
    translation: iommus.length > 0 && on && !off,
    passthrough: found.passthrough ?? (found.iommu.includes("pt") && !found.iommu.includes("nopt")),
    // A caching-mode IOMMU is a virtual one, where batching costs more than it saves.
    strict: found.strict ?? (strictWord || iommus.some(({ cachingMode }) => cachingMode)),
    ats: !found.noAts,
    interruptRemapping: !/(?:^|\s)(?:intremap=off|nointremap)(?:\s|$)/.test(line),
    version: [major, minor],
  };
};
