export { functionSchema, type MachineFunction, type MachineFunctionInput } from "./function-schema.ts";
export { machineSchema, type MachineDescription, type MachineInput, type MachineIommu, type MachineVm } from "./machine-schema.ts";
export { MachineError, parseMachine, type MachineProblem } from "./parse-machine.ts";
