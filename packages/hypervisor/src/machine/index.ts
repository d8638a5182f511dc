export { addressMap, type AddressMap } from "./address-map.ts";
export { HostKernel, type HostGroup, type HostInterrupt } from "./host-kernel.ts";
export { HostProcessors, type HostVector, type InterruptHandler, type StrayInterrupt } from "./host-processors.ts";
export { kernelOptions, type KernelOptions } from "./kernel-options.ts";
export { Machine, type MachineOptions } from "./machine.ts";
export type { MachineUnit, UnitCounts } from "./machine-units.ts";
export type { FunctionMaker, PlacedFunction } from "./topology.ts";
export type { TappedUnit, UnitTaps } from "./unit-taps.ts";
export type { MachineWatch } from "./machine-watch.ts";
