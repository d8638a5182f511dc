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

/** What a reset of the function's bus reaches. */
export const hotResetInfo = (kernel: VfioKernel, seat: Attachment, quirks: DeviceQuirks): readonly HotResetEntry[] => {
  bridgeOf(seat, quirks);
  return below(seat.bus).map(({ address }) => ({ address, group: kernel.ownership.groupOf(address)?.id }));
};

/** Resets the bus when the caller's groups hold everything on it, and every function is a VFIO driver's. Linux vfio_pci_dev_set_hot_reset. */
export const hotReset = (kernel: VfioKernel, seat: Attachment, quirks: DeviceQuirks, groups: readonly Group[]): void => {
  const bridge = bridgeOf(seat, quirks);
  const affected = below(seat.bus);
  if (groups.length === 0 || groups.length > affected.length) throw new VfioError("EINVAL", `${groups.length} groups for ${affected.length} functions cannot be.`);
  const owned = new Set(groups.map(({ id }) => id));
  for (const { address } of affected) {
    if (!kernel.drivers.driverOf(address)?.vfio) throw new VfioError("EINVAL", `${formatAddress(address)} would be reset too, and is bound to no VFIO driver.`);
    const group = kernel.ownership.groupOf(address);
    if (!group || !owned.has(group.id)) throw new VfioError("EINVAL", `${formatAddress(address)} would be reset too, and its group ${group?.id ?? "(none)"} is not among those given.`);
  }
  const states = affected.map((each) => ({ each, saved: saveState(kernel.complex, each) }));
  resetBus(kernel.complex, bridge.address);
  const devices = new Map(kernel.openDevices.map((device) => [device.name, device]));
  for (const { each, saved } of states) devices.get(formatAddress(each.address))?.restoreAfterReset(saved);
};
