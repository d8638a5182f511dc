export type { Engine, Guest, Machine, Vcpu, Vm, VmExit, VmOptions } from "./interfaces.ts";
