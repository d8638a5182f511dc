import { formatAddress } from "@iommu-lab/pci-bus";
import type { VgaDevice } from "./device.ts";
import type { MutableState } from "./vga-state.ts";

/** The bridges of the buses from a device's own up to the root; the root bus has none. */
const bridgesUp = (device: VgaDevice): (string | undefined)[] => [...device.bridges.map(({ address }) => formatAddress(address)), undefined];

/**
 * Finds out which devices still are the only VGA behind their nearest bridge now that one more is there; those share no
 * bridge's VGA Enable. Changes `bridgeHasOneVga` of the new and of the registered devices.
 *
 * As in the kernel a root bus counts as "no bridge", and no bridge equals no bridge: any later device clears the flag of every
 * device on a root bus, while a new device on a root bus keeps its own.
 */
export const updateBridgeSharing = (added: MutableState, registered: readonly MutableState[]): void => {
  added.bridgeHasOneVga = true;
  const [own] = bridgesUp(added.device);
  const above = bridgesUp(added.device);
  for (const other of registered) {
    const others = bridgesUp(other.device);
    if (above.includes(others[0])) other.bridgeHasOneVga = false;
    if (own !== undefined && others.includes(own)) added.bridgeHasOneVga = false;
  }
};
