import type { AddressSpace, Gpa, PhysicalMemory } from "@iommu-lab/memory";
import type { Clock, InterruptSink, Iommu, RequesterId } from "@iommu-lab/pci-bus";
import type { VfioDevice } from "@iommu-lab/vfio";

/** A computer: memory, PCI, IOMMUs, and the virtual machines on it. */
export interface Machine {
  readonly clock: Clock;
  readonly memory: PhysicalMemory;
  readonly iommus: readonly Iommu[];
  createVm(options: VmOptions): Vm;
}

/** What a virtual machine is given. */
export interface VmOptions {
  /** Bytes of guest memory. */
  readonly memory: number;
  readonly devices?: readonly VfioDevice[];
  readonly vga?: "none" | "emulated" | RequesterId;
}

/** A virtual machine. */
export interface Vm {
  readonly memory: AddressSpace<Gpa>;
  readonly interrupts: InterruptSink;
  run(guest: Guest): VmExit;
}

/** What a guest does, step by step; each `yield` is a point where others may run. */
export type Guest = (vcpu: Vcpu) => Iterable<void>;

/** A virtual processor as a scripted guest uses it. */
export interface Vcpu {
  readonly memory: AddressSpace<Gpa>;
  /** Port input. */
  in(port: number, size: 1 | 2 | 4): number;
  out(port: number, size: 1 | 2 | 4, value: number): void;
}

/** Why a virtual machine stopped. */
export type VmExit = { readonly reason: "halted" } | { readonly reason: "fault"; readonly gpa: Gpa };

/** What runs a guest's instructions: scripts in this process, or an emulator outside it. */
export interface Engine {
  readonly name: string;
  /** Undefined when it can run here, else why not and what to do. */
  unavailable(): string | undefined;
  start(machine: Machine): Promise<void>;
  stop(): Promise<void>;
}
