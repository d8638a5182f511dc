import { formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { Attachment, Bus } from "@iommu-lab/pci-bus/model";
import type { Group } from "../groups/group.ts";
import type { VfioKernel } from "../vfio-kernel.ts";
import { VfioError } from "../vfio-error.ts";
import type { DeviceQuirks } from "./device-quirks.ts";
import { resetBus, saveState } from "./reset-methods.ts";

/** A function that a bus reset reaches. */
export interface HotResetEntry {
  readonly address: FunctionAddress;
  /** Undefined where no IOMMU translates it. */
  readonly group: number | undefined;
}

const below = (bus: Bus): Attachment[] => bus.everything().flatMap((seat) => [seat, ...(seat.fn.secondary ? below(seat.fn.secondary) : [])]);

const bridgeOf = ({ bus, virtualOf }: Attachment, { noBusReset }: DeviceQuirks): Attachment => {
  const bridge = noBusReset || virtualOf ? undefined : bus.bridge;
  if (!bridge) throw new VfioError("ENODEV", "Neither the slot nor the bus of this function can be reset.");
  return bridge;
};

/** Who asks for a hot reset. */
export interface HotResetCaller {
  /** A device opened from its own file belongs to an iommufd, which owns groups; undefined for one opened through its group. */
  readonly ownsGroup: ((group: number) => boolean) | undefined;
}

/**
 * What a reset of the function's bus reaches. Linux vfio_pci_ioctl_get_pci_hot_reset_info.
 * @param room entries that the caller has room for
 */
export const hotResetInfo = (kernel: VfioKernel, seat: Attachment, quirks: DeviceQuirks, { ownsGroup }: HotResetCaller, room: number): readonly HotResetEntry[] => {
  bridgeOf(seat, quirks);
  const entries = below(seat.bus).map(({ address }) => ({ address, group: kernel.ownership.groupOf(address)?.id }));
  const bare = ownsGroup ? undefined : entries.find(({ group }) => group === undefined);
  if (bare) throw new VfioError("EPERM", `${formatAddress(bare.address)} would be reset too, and is in no group.`);
  if (entries.length > room) throw new VfioError("ENOSPC", `A reset reaches ${entries.length} functions; there is room for ${room}.`);
  return entries;
};

/** Resets the bus when the caller's groups, or his iommufd, hold everything on it, and every function is a VFIO driver's. Linux vfio_pci_ioctl_pci_hot_reset. */
export const hotReset = (kernel: VfioKernel, seat: Attachment, quirks: DeviceQuirks, { ownsGroup }: HotResetCaller, groups: readonly Group[]): void => {
  if ((groups.length === 0) !== (ownsGroup !== undefined)) throw new VfioError("EINVAL", ownsGroup ? "A device opened from its own file is reset without groups: its iommufd shows who owns what." : "No group is given that shows who owns what is reset.");
  const bridge = bridgeOf(seat, quirks);
  const affected = below(seat.bus);
  if (groups.length > affected.length) throw new VfioError("EINVAL", `${groups.length} groups for ${affected.length} functions cannot be.`);
  const given = new Set(groups.map(({ id }) => id));
  const owned = ownsGroup ?? ((group: number) => given.has(group));
  for (const { address } of affected) {
    if (!kernel.drivers.driverOf(address)?.vfio) throw new VfioError("EINVAL", `${formatAddress(address)} would be reset too, and is bound to no VFIO driver.`);
    const group = kernel.ownership.groupOf(address);
    if (!group || !owned(group.id)) throw new VfioError("EINVAL", `${formatAddress(address)} would be reset too, and its group ${group?.id ?? "(none)"} is not the caller's.`);
  }
  const states = affected.map((each) => ({ each, saved: saveState(kernel.complex, each) }));
  resetBus(kernel.complex, bridge.address);
  const devices = new Map(kernel.openDevices.map((device) => [device.name, device]));
  for (const { each, saved } of states) devices.get(formatAddress(each.address))?.restoreAfterReset(saved);
};
