export { AssignedFunction } from "./assigned-function.ts";
export { AssignedVga, type LegacyVgaAccess } from "./assigned-vga.ts";
export { ExitCounts, type ExitReason, type HandledIn } from "./exits.ts";
export { GuestMemory, type GuestMemoryOptions } from "./guest-memory.ts";
export type { InterruptPath } from "./guest-messages.ts";
export { Passthrough } from "./passthrough.ts";
export { Vcpu, type GuestProgram } from "./vcpu.ts";
export { VirtualMachine, type VmOptions } from "./virtual-machine.ts";
