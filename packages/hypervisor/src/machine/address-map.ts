import type { RamRange } from "@iommu-lab/memory";
import type { Window } from "@iommu-lab/pci-bus/model";

const GIB = 2 ** 30;
/** RAM below this, as on most boards; between it and 4 GiB there are devices. */
const RAM_BELOW = 2 * GIB;
const DEVICES_BELOW: Window = { base: 0x8000_0000, last: 0xfe7f_ffff };
/** Registers of what is no PCI function. */
export const FIXED = { ioApic: 0xfec0_0000, iommus: 0xfed9_0000, amdIommus: 0xfe80_0000, iommuWindow: 0x8_0000 } as const;
/** Bytes that large BARs find above RAM. */
const DEVICES_ABOVE = 256 * GIB;

/** Which host-physical addresses are RAM and which belong to devices. */
export interface AddressMap {
  readonly ram: readonly RamRange[];
  /** For the host bridges, ascending. */
  readonly devices: readonly Window[];
}

/** Places so many bytes of RAM around the hole below 4 GiB, and the devices' addresses beside them. */
export const addressMap = (memory: number): AddressMap => {
  const size = Math.floor(memory / 4096) * 4096;
  const above = Math.max(0, size - RAM_BELOW);
  const top = Math.max(64 * GIB, Math.ceil((4 * GIB + above) / (64 * GIB)) * 64 * GIB);
  return {
    ram: [{ start: 0, size: Math.min(size, RAM_BELOW) }, ...(above > 0 ? [{ start: 4 * GIB, size: above }] : [])],
    devices: [DEVICES_BELOW, { base: top, last: top + DEVICES_ABOVE - 1 }],
  };
};
