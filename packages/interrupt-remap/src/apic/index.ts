export { x2ApicLogicalId, type ApicMode } from "./destination.ts";
export { IoApicModel, type IoApicOptions } from "./io-apic.ts";
export { LocalApicsModel, type LocalApicsOptions } from "./local-apics.ts";
export { IO_APIC_ENTRY } from "./redirection-entry.ts";
