export { AssignedFunction } from "./assigned-function.ts";
export { createVms, type CreatedVm } from "./create-vms.ts";
export { ExitCounts, type ExitReason, type HandledIn } from "./exits.ts";
export { GuestMemory, type GuestMemoryOptions } from "./guest-memory.ts";
export type { InterruptPath } from "./guest-messages.ts";
export { Passthrough } from "./passthrough.ts";
export { Vcpu, type GuestProgram } from "./vcpu.ts";
export { VirtualIommu, type VirtualIommuOptions } from "./virtual-iommu.ts";
export { VirtualMachine, type VmOptions } from "./virtual-machine.ts";
