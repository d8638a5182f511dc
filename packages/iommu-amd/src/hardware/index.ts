export { capabilitiesOf, FULL, withCapabilities, ZEN, type AmdCapabilities, type CapabilityChanges, type RawCapabilities } from "./capabilities.ts";
export { AmdIommu, type AmdIommuOptions, type AmdPolicy } from "./iommu.ts";
export { IommuFunction } from "./iommu-function.ts";
export { COUNTER_SOURCES, type CounterSource, type CounterTotals } from "./performance-counters.ts";
export type { ReverseMap } from "./reverse-map.ts";
export type { SendMessage } from "./unit-interrupts.ts";
export type { TableMemory } from "./table-memory.ts";
