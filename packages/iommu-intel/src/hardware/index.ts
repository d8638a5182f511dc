export { capabilitiesOf, LEGACY, SCALABLE, withCapabilities, type CapabilityChanges, type RawCapabilities, type VtdCapabilities } from "./capabilities.ts";
export type { SendMessage } from "./event-interrupt.ts";
export type { TableMemory } from "./table-memory.ts";
export { VtdUnit, type VtdPolicy, type VtdUnitOptions } from "./unit.ts";
