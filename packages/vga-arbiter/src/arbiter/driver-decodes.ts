import { busOf } from "@iommu-lab/pci-bus";
import { ALL_RESOURCES, VgaResource, type VgaResources } from "../legacy/resources.ts";
import type { VgaDevice } from "./device.ts";

const NORMAL = VgaResource.NormalIo | VgaResource.NormalMemory;
const SUBORDINATE_BUS = 0x1a;
const DISPLAY_VGA = 0x0300;

/** What drivers of cards with a switch of their own answer (amdgpu, nouveau; i915 where the hardware lets it): everything, or the BARs alone. */
export const nativeDecodes = (legacy: boolean): VgaResources => (legacy ? ALL_RESOURCES : NORMAL);

/** What vfio-pci's answer depends on beside the device. */
export interface VfioVga {
  /** All functions of the machine. */
  readonly devices: readonly VgaDevice[];
  /** Module option disable_vga: guests get no VGA ranges. False by default in the kernel. */
  readonly disableVga: boolean;
}

/**
 * What vfio-pci says a device decodes. Without `disable_vga`, on a root bus, or with no other VGA device: everything. Otherwise
 * the legacy ranges only where a further VGA device is behind the same bridge, which would get them anyway. Linux
 * drivers/vfio/pci/vfio_pci_core.c, vfio_pci_set_decode().
 * @param legacy what the arbiter asks: true when the device is the only one
 */
export const vfioDecodes = (device: VgaDevice, legacy: boolean, { devices, disableVga }: VfioVga): VgaResources => {
  const [above] = device.bridges;
  if (legacy || !disableVga || !above) return ALL_RESOURCES;
  const [first, last] = [busOf(device.address.requester), above.config.read(SUBORDINATE_BUS, 1)];
  const shares = devices.some((other) => {
    const bus = busOf(other.address.requester);
    return other !== device && other.classCode >>> 8 === DISPLAY_VGA && other.address.domain === device.address.domain && other.bridges.length > 0 && bus >= first && bus <= last;
  });
  return shares ? ALL_RESOURCES : NORMAL;
};
