import { BridgeControl, Command, type ConfigAccess } from "@iommu-lab/pci-bus/model";
import { VgaResource, type VgaResources } from "../legacy/resources.ts";
import type { VgaDevice } from "./device.ts";

const COMMAND = 0x04;
const BRIDGE_CONTROL = 0x3e;

/** I/O and memory decoding of a function's command register. */
export const decodingOf = (config: ConfigAccess): number => config.read(COMMAND, 2) & (Command.IoSpace | Command.MemorySpace);

/** Whether every bridge above passes the legacy ranges down. */
export const isRouted = (device: VgaDevice): boolean => device.bridges.every(({ config }) => (config.read(BRIDGE_CONTROL, 2) & BridgeControl.VgaEnable) !== 0);

/** The legacy ranges that reach a device as its registers and the bridges above stand. */
export const routedResources = (device: VgaDevice): VgaResources => {
  if (!isRouted(device)) return VgaResource.None;
  const command = decodingOf(device.config);
  return (command & Command.IoSpace ? VgaResource.LegacyIo : 0) | (command & Command.MemorySpace ? VgaResource.LegacyMemory : 0);
};

/** Which registers a change of routing touches. */
export interface RoutingChange {
  /** Bits of the command register, `Command.IoSpace` and `Command.MemorySpace`; 0 leaves it alone. */
  readonly command: number;
  /** VGA Enable of every bridge above. */
  readonly bridges: boolean;
}

/**
 * Switches a device's decoding and the bridges above on or off.
 * @returns false when a bridge does not keep VGA Enable: it cannot pass the ranges down; bridges further up stay as they were
 */
export const setRouting = (device: VgaDevice, on: boolean, { command, bridges }: RoutingChange): boolean => {
  if (command) {
    const old = device.config.read(COMMAND, 2);
    device.config.write(COMMAND, 2, on ? old | command : old & ~command);
  }
  if (!bridges) return true;
  for (const { config } of device.bridges) {
    const old = config.read(BRIDGE_CONTROL, 2);
    config.write(BRIDGE_CONTROL, 2, on ? old | BridgeControl.VgaEnable : old & ~BridgeControl.VgaEnable);
    if (on && !(config.read(BRIDGE_CONTROL, 2) & BridgeControl.VgaEnable)) return false;
  }
  return true;
};
