export { AmdInterruptFault, AmdInterruptRemapper, newAmdInterruptVerdict, type AmdInterruptFields, type AmdInterruptVerdict, type AmdRemapControl, type AmdRemapperOptions } from "./amd-remapper.ts";
export { checkAvic, type AvicMistake, type AvicScenario } from "./avic-checker.ts";
export { GA_LOG_ENTRY, IRTE_128, IRTE_128_GUEST, IRTE_32 } from "./layouts.ts";
