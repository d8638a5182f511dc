import type { AccessSize, Gpa } from "@iommu-lab/memory";
import type { VirtualMachine } from "./virtual-machine.ts";

/** A guest: code that touches its machine; every `yield` lets the other processors and the devices go on. */
export type GuestProgram = (vcpu: Vcpu) => Iterable<void>;

/** A virtual processor that is given what to do step by step; not an interpreter of instructions. */
export class Vcpu {
  readonly vm: VirtualMachine;
  /** APIC ID in the guest. */
  readonly id: number;
  /** Work done, nanoseconds of the machine's clock. */
  computed = 0;
  readonly #handlers = new Map<number, () => void>();

  constructor(vm: VirtualMachine, id: number) {
    this.vm = vm;
    this.id = id;
  }

  /** Computes for so many nanoseconds: no exit, and devices go on meanwhile. */
  compute(nanoseconds: number): void {
    this.computed += nanoseconds;
    this.vm.machine.clock.advance(nanoseconds);
    this.takeInterrupts();
  }

  /** Loads 1, 2 or 4 bytes: from memory and mapped BARs without an exit, from everything else with one. */
  load(gpa: Gpa, size: AccessSize): number {
    const bytes = new Uint8Array(4);
    this.vm.access(gpa, bytes.subarray(0, size), false);
    this.takeInterrupts();
    return new DataView(bytes.buffer).getUint32(0, true);
  }

  /** Stores 1, 2 or 4 bytes. */
  store(gpa: Gpa, size: AccessSize, value: number): void {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    this.vm.access(gpa, bytes.subarray(0, size), true);
    this.takeInterrupts();
  }

  /** IN: an exit each time. */
  in(port: number, size: AccessSize): number {
    const value = this.vm.portRead(port, size);
    this.takeInterrupts();
    return value;
  }

  /** OUT: an exit each time. */
  out(port: number, size: AccessSize, value: number): void {
    this.vm.portWrite(port, size, value);
    this.takeInterrupts();
  }

  /** Configuration space through ports 0xcf8 and 0xcfc, as guests do. */
  configRead(devfn: number, offset: number, size: AccessSize): number {
    this.out(0xcf8, 4, (0x8000_0000 | (devfn << 8) | (offset & 0xfc)) >>> 0);
    return this.in(0xcfc + (offset & 3), size);
  }

  configWrite(devfn: number, offset: number, size: AccessSize, value: number): void {
    this.out(0xcf8, 4, (0x8000_0000 | (devfn << 8) | (offset & 0xfc)) >>> 0);
    this.out(0xcfc + (offset & 3), size, value);
  }

  /** What the guest does on a vector. */
  handle(vector: number, handler: () => void): void {
    this.#handlers.set(vector, handler);
  }

  /** Takes pending interrupts now, most urgent first, and ends each. Happens by itself at every step. */
  takeInterrupts(): void {
    const { apics } = this.vm;
    for (let vector = apics.acknowledge(this.id); vector >= 0; vector = apics.acknowledge(this.id)) {
      const handler = this.#handlers.get(vector);
      if (handler) handler();
      else this.vm.strayVectors.push(vector);
      apics.endOfInterrupt(this.id);
    }
  }
}
