import { LEGACY_RESOURCES, VgaResource, type VgaResources } from "../legacy/resources.ts";
import type { MutableState } from "./vga-state.ts";

/** A device that decodes a legacy range through its normal BARs' decoding needs both together: asking for the one asks for the other. */
export const withLegacy = (resources: VgaResources, decodes: VgaResources): VgaResources =>
  resources | (resources & VgaResource.NormalIo ? decodes & VgaResource.LegacyIo : 0) | (resources & VgaResource.NormalMemory ? decodes & VgaResource.LegacyMemory : 0);

/** Counts one more holder of each resource. */
export const addLocks = (state: MutableState, resources: VgaResources): void => {
  state.locks |= resources & LEGACY_RESOURCES;
  if (resources & VgaResource.LegacyIo) state.ioLocks++;
  if (resources & VgaResource.LegacyMemory) state.memoryLocks++;
  if (resources & VgaResource.NormalIo) state.normalIoLocks++;
  if (resources & VgaResource.NormalMemory) state.normalMemoryLocks++;
};

const dropNormal = (state: MutableState, resources: VgaResources): VgaResources => {
  let legacy = 0;
  if (resources & VgaResource.NormalIo && state.normalIoLocks > 0) {
    state.normalIoLocks--;
    legacy |= state.decodes & VgaResource.LegacyIo;
  }
  if (resources & VgaResource.NormalMemory && state.normalMemoryLocks > 0) {
    state.normalMemoryLocks--;
    legacy |= state.decodes & VgaResource.LegacyMemory;
  }
  return resources | legacy;
};

/**
 * Counts one holder less of each resource; nothing is routed away. Resources that nobody holds are let pass.
 * @returns whether a legacy range became free, so that those who wait should look again
 */
export const dropLocks = (state: MutableState, resources: VgaResources): boolean => {
  const before = state.locks;
  const dropped = dropNormal(state, resources);
  if (dropped & VgaResource.LegacyIo && state.ioLocks > 0) state.ioLocks--;
  if (dropped & VgaResource.LegacyMemory && state.memoryLocks > 0) state.memoryLocks--;
  if (state.ioLocks === 0) state.locks &= ~VgaResource.LegacyIo;
  if (state.memoryLocks === 0) state.locks &= ~VgaResource.LegacyMemory;
  return state.locks !== before;
};
