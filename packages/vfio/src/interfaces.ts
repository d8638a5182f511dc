import type { Hpa } from "@iommu-lab/memory";
import type { Access, RequesterId } from "@iommu-lab/pci-bus";

/** A set of IOMMU groups that share one address space for DMA. Linux Documentation/driver-api/vfio. */
export interface VfioContainer {
  /** @throws VfioError EPERM when the group is not viable, EBUSY when it is elsewhere */
  addGroup(group: VfioGroup): void;
  /** Maps and pins. @throws VfioError EEXIST on overlap, EINVAL on misalignment, ENOMEM past the locked-memory limit */
  mapDma(iova: number | bigint, hpa: Hpa, size: number, permissions: Access): void;
  /** Bytes that were unmapped. */
  unmapDma(iova: number | bigint, size: number): number;
}

/** An IOMMU group as user space opens it. */
export interface VfioGroup {
  readonly id: number;
  /** Every function is bound to a VFIO driver, to none, or to one that leaves DMA alone. */
  readonly viable: boolean;
  readonly functions: readonly RequesterId[];
  open(requester: RequesterId): VfioDevice;
}

/** One region of a device: a BAR, the ROM, configuration space, or the VGA ranges. */
export interface VfioRegion {
  readonly index: number;
  /** Bytes. */
  readonly size: number;
  /** VFIO_REGION_INFO_FLAG_*: 1 read, 2 write, 4 mmap, 8 capabilities. */
  readonly flags: number;
}

/** An opened device. */
export interface VfioDevice {
  readonly regions: readonly VfioRegion[];
  readRegion(index: number, offset: number, into: Uint8Array): void;
  writeRegion(index: number, offset: number, from: Uint8Array): void;
  /** Vectors from `start` on go to these targets; undefined switches one off. */
  setInterrupts(kind: "intx" | "msi" | "msix", start: number, targets: readonly ((() => void) | undefined)[]): void;
  reset(): void;
}

/** A refusal as the kernel's ioctls give it. */
export class VfioError extends Error {
  override readonly name = "VfioError";
  readonly code: "EBUSY" | "EEXIST" | "EINVAL" | "ENODEV" | "ENOMEM" | "ENOTTY" | "EPERM";
  constructor(code: VfioError["code"], message: string) {
    super(message);
    this.code = code;
  }
}
