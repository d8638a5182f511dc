import type { FunctionAddress } from "@iommu-lab/pci-bus";
import type { ConfigAccess } from "@iommu-lab/pci-bus/model";

/** A PCI-to-PCI bridge or port on the way from a VGA device to the root. */
export interface VgaBridge {
  readonly address: FunctionAddress;
  readonly config: ConfigAccess;
}

/** A range of host-physical addresses that a memory BAR decodes. */
export interface MemoryRange {
  readonly base: number;
  /** Bytes. */
  readonly size: number;
}

/**
 * A PCI function as the arbiter looks at it. It may be a function of the bus model or a recorded one; the arbiter keeps its
 * state by object, so one function must always be given as the same object.
 */
export interface VgaDevice {
  readonly address: FunctionAddress;
  readonly config: ConfigAccess;
  /** 24 bits. */
  readonly classCode: number;
  /** The bridges above, the nearest first; empty on a root bus. */
  readonly bridges: readonly VgaBridge[];
  /** The ACPI companion has a video extension: graphics inside the processor or chipset. */
  readonly isIntegrated?: boolean | undefined;
  /** Memory BARs as assigned, for the test of the firmware's frame buffer. */
  readonly memoryBars?: readonly MemoryRange[] | undefined;
  /** Bound driver: log lines begin with its name, or with "pci". */
  readonly driver?: string | undefined;
}

/** The linear frame buffer that firmware handed to the kernel (screen_info); there is none after a boot in text mode. */
export interface FirmwareFramebuffer {
  /** Host-physical address. */
  readonly base: number;
  /** Bytes. */
  readonly size: number;
  /** The function it was matched to at boot: what newer kernels compare with. */
  readonly device?: FunctionAddress | undefined;
}
