import type { FunctionAddress } from "@iommu-lab/pci-bus";
import type { VfioErrorCode } from "../vfio-error.ts";

/** What a driver's table says about functions it can drive; what is not given matches anything. Linux struct pci_device_id. */
export interface PciDeviceId {
  readonly vendor?: number;
  readonly device?: number;
  readonly subsystemVendor?: number;
  readonly subsystemDevice?: number;
  /** 24 bits, compared where `classMask` has ones (default: all). */
  readonly classCode?: number;
  readonly classMask?: number;
}

/** A function's identity as drivers see it. */
export interface PciIdentity {
  readonly address: FunctionAddress;
  readonly vendor: number;
  readonly device: number;
  readonly subsystemVendor: number;
  readonly subsystemDevice: number;
  readonly classCode: number;
  readonly bridge: boolean;
}

/** Why a driver does not take a function. */
export interface ProbeFailure {
  readonly code: VfioErrorCode;
  readonly text: string;
}

/** A kernel driver for PCI functions. */
export interface PciDriver {
  readonly name: string;
  readonly ids: readonly PciDeviceId[];
  /** Leaves DMA alone or gives it to user space, so that its functions do not make a group unfit for VFIO. Linux `driver_managed_dma`. */
  readonly managesDma?: boolean;
  /** Offers its functions through VFIO. */
  readonly vfio?: boolean;
  /** Takes a function; undefined when it did, else the error. */
  probe?(of: PciIdentity): ProbeFailure | undefined;
  /** Lets a function go. */
  remove?(address: FunctionAddress): void;
}

/** Whether an entry fits a function. */
export const matchesId = (id: PciDeviceId, of: PciIdentity): boolean =>
  (id.vendor ?? of.vendor) === of.vendor &&
  (id.device ?? of.device) === of.device &&
  (id.subsystemVendor ?? of.subsystemVendor) === of.subsystemVendor &&
  (id.subsystemDevice ?? of.subsystemDevice) === of.subsystemDevice &&
  (((id.classCode ?? of.classCode) ^ of.classCode) & (id.classMask ?? 0xff_ffff)) === 0;

/** vfio-pci: takes what it is told to take, and nothing by itself. */
export const VFIO_PCI: PciDriver = {
  name: "vfio-pci",
  ids: [],
  managesDma: true,
  vfio: true,
  probe: ({ bridge }) => (bridge ? { code: "EINVAL", text: "only functions with a type 0 header can be assigned" } : undefined),
};
/** pci-stub: keeps other drivers away and does nothing. */
export const PCI_STUB: PciDriver = { name: "pci-stub", ids: [], managesDma: true };
/** pcieport: the driver of PCI Express ports, which do no DMA of a user's. */
export const PCIEPORT: PciDriver = { name: "pcieport", ids: [{ classCode: 0x06_0400, classMask: 0xff_ff00 }], managesDma: true };
