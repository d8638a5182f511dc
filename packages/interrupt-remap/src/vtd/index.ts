export { exploreInterleavings, type AtomicStep, type ConcurrentProtocol, type Exploration } from "./interleavings.ts";
export { InterruptFault } from "./interrupt-fault.ts";
export { newVtdInterruptVerdict, VtdInterruptRemapper, type VtdInterruptVerdict, type VtdRemapperOptions, type VtdRemapSettings } from "./interrupt-remapper.ts";
export { IO_APIC_ENTRY_REMAPPABLE, IRTE_POSTED, IRTE_REMAPPED, IRTE_REMAPPED_XAPIC, POSTED_INTERRUPT_DESCRIPTOR, POSTED_INTERRUPT_DESCRIPTOR_XAPIC, REMAPPABLE_ADDRESS, REMAPPABLE_DATA } from "./layouts.ts";
export { checkPosting, type PostedRequest, type PostingMistake, type PostingScenario } from "./posting-checker.ts";
export type { RemapMemory } from "./remap-memory.ts";
