import { ALL_RESOURCES, VgaResource, type VgaResources } from "../legacy/resources.ts";
import type { VgaDevice } from "./device.ts";

/** Asks a driver to decode the legacy ranges (true) or to give them up (false); returns what it still decodes. */
export type SetDecode = (legacy: boolean) => VgaResources;

/** What the arbiter knows of one device. */
export interface VgaState {
  readonly device: VgaDevice;
  /** What it answers to if routed there. */
  readonly decodes: VgaResources;
  /** What is routed to it now. */
  readonly owns: VgaResources;
  /** Legacy ranges that somebody holds for it. */
  readonly locks: VgaResources;
  readonly ioLocks: number;
  readonly memoryLocks: number;
  readonly normalIoLocks: number;
  readonly normalMemoryLocks: number;
  /** No other VGA device is behind the nearest bridge: its VGA Enable alone switches the ranges. */
  readonly bridgeHasOneVga: boolean;
  /** Firmware drew its picture there. */
  readonly isFirmwareDefault: boolean;
  readonly setDecode: SetDecode | undefined;
}

/** The same record as the arbiter changes it. */
export type MutableState = { -readonly [K in keyof VgaState]: VgaState[K] };

/** A device that was just found: decodes everything, nothing is routed or locked. */
export const newState = (device: VgaDevice): MutableState => ({
  device,
  decodes: ALL_RESOURCES,
  owns: VgaResource.None,
  locks: VgaResource.None,
  ioLocks: 0,
  memoryLocks: 0,
  normalIoLocks: 0,
  normalMemoryLocks: 0,
  bridgeHasOneVga: true,
  isFirmwareDefault: false,
  setDecode: undefined,
});
