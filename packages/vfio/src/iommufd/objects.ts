import type { FunctionAddress, IommuDomain } from "@iommu-lab/pci-bus";
import type { IoAddressSpace } from "./io-address-space.ts";

/** What an iommufd holds under a number. Linux enum iommufd_object_type. */
export type IommufdObject = IoasObject | HwptObject | DeviceObject | AccessObject;

interface Numbered {
  readonly id: number;
  /** Others that depend on it: it cannot be destroyed meanwhile. */
  users: number;
}

/** An address space. */
export interface IoasObject extends Numbered {
  readonly type: "ioas";
  readonly space: IoAddressSpace;
}

/** A hardware page table: a domain that shows an address space, or one nested on such. */
export interface HwptObject extends Numbered {
  readonly type: "hwpt";
  readonly domain: IommuDomain;
  /** The space of a paging one, the parent of a nested one. */
  readonly on: IoasObject | HwptObject;
  readonly nestParent: boolean;
  /** Made by attaching a device to an address space; goes with its last device. */
  readonly automatic: boolean;
}

/** A device that was bound. */
export interface DeviceObject extends Numbered {
  readonly type: "device";
  readonly address: FunctionAddress;
  readonly group: number;
  hwpt: HwptObject | undefined;
}

/** Software that reaches an address space without a device. */
interface AccessObject extends Numbered {
  readonly type: "access";
  readonly ioas: IoasObject;
  readonly stop: () => void;
}
