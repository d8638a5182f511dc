import type { FrameAllocator, PhysicalMemory } from "@iommu-lab/memory";
import type { Clock, IommuDomain } from "@iommu-lab/pci-bus";
import type { BouncePool } from "./bounce-pool.ts";
import type { ReservedIova } from "./iova-allocator.ts";
import type { SegmentLimits } from "./scatter.ts";

/** An address that a device is programmed with: an IOVA, or in identity mode an HPA. */
export type DmaAddress = number;
/** What `map` gives where it fails: no bounce buffer or IOVA is left, or the device cannot reach the memory. Linux DMA_MAPPING_ERROR (all ones). */
export const MAPPING_ERROR = -1;

/**
 * When translations go. `strict`: each unmap waits for its invalidation. `lazy`: many unmaps share one, later, and until then
 * the device reaches pages that are no longer its own. `identity`: IOVA = HPA, nothing is mapped or unmapped.
 */
export type DmaMode = "strict" | "lazy" | "identity";

/** A device and its address space for DMA. */
export interface DmaDeviceOptions {
  readonly mode: DmaMode;
  /** The paging domain the device is attached to, used by this device alone; none in identity mode. */
  readonly domain?: IommuDomain;
  readonly memory: PhysicalMemory;
  readonly clock: Clock;
  /** Bits of an address the device can drive, 12 to 64: Linux DMA_BIT_MASK. Default 64. */
  readonly maskBits?: number;
  /** Bits of an IOVA of the domain, 32 to 52. Default 48. */
  readonly addressWidth?: number;
  /** IOVAs never given out; default the MSI window. */
  readonly reserved?: readonly ReservedIova[];
  /** Pages that belong to the DMA API; needed by `allocateCoherent`. */
  readonly frames?: FrameAllocator;
  readonly bounce?: BouncePool;
  /** An external port's device, which must see no byte beside its buffers: partial pages are bounced. Linux dev_is_untrusted. */
  readonly untrusted?: boolean;
  /** Default: segments up to 64 KiB that cross no 4 GiB border. */
  readonly segments?: SegmentLimits;
  readonly processors?: number;
}
