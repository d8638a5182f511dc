import type { AccessSize } from "@iommu-lab/memory";

/** A function's 4096 (PCIe) or 256 (conventional) bytes of configuration space, little-endian. Reads past its end give all ones. */
export interface ConfigSpace {
  /** Bytes that exist: 256 or 4096. */
  readonly size: number;
  /** `offset` is a multiple of `size`. */
  read(offset: number, size: AccessSize): number;
  /** Applies the write masks of the registers it touches. */
  write(offset: number, size: AccessSize, value: number): void;
}
