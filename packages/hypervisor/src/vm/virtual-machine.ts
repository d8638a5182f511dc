import { LocalApicsModel } from "@iommu-lab/interrupt-remap/apic";
import type { AccessSize, AddressSpace, Gpa, Hpa, MmioHandler } from "@iommu-lab/memory";
import { DeliveryMode, type Interrupt, type PciFunction, type Posting } from "@iommu-lab/pci-bus";
import { enumerate, isVga, RootComplex, VGA_MEMORY, type EnumerationReport, type ModelFunction } from "@iommu-lab/pci-bus/model";
import { decodeMessage, newInterrupt } from "@iommu-lab/interrupt-remap";
import type { MachineIommu } from "@iommu-lab/pci-bus/machine";
import type { HostVector } from "../machine/host-processors.ts";
import type { Machine } from "../machine/machine.ts";
import type { LegacyVgaAccess } from "./assigned-vga.ts";
import { ExitCounts, type HandledIn } from "./exits.ts";
import { GuestMemory } from "./guest-memory.ts";
import { PostedVectors } from "./posted-vectors.ts";
import { VirtualIommu } from "./virtual-iommu.ts";
import { Vcpu, type GuestProgram } from "./vcpu.ts";

/** What a virtual machine is made of. */
export interface VmOptions {
  readonly name: string;
  /** Bytes of guest memory. */
  readonly memory: number;
  /** Default 1. */
  readonly processors?: number;
  /** Functions on the guest's bus 0, by device and function number. */
  readonly devices?: readonly { readonly devfn: number; readonly fn: ModelFunction }[];
  /** An IOMMU of its own. */
  readonly iommu?: MachineIommu;
  /**
   * Whether the hypervisor is the system itself (device models are part of it: no exit wakes a process) or a process on one, whose
   * device models it goes on to. Default "type-2".
   */
  readonly layout?: "type-1" | "type-2";
}

/** A range of guest-physical addresses that leads to a BAR of the host without an exit. */
interface DirectMapping {
  readonly gpa: Gpa;
  readonly hpa: Hpa;
  readonly size: number;
}

/** The guest's addresses for devices, as on the host. */
const DEVICES = { base: 0x8000_0000, last: 0xfebf_ffff } as const;
const CONFIG_PORTS = { first: 0xcf8, last: 0xcff } as const;

/** A virtual machine on a machine: memory in second-stage tables, processors with countable exits, its own PCI bus and local APICs. */
export class VirtualMachine {
  readonly name: string;
  readonly machine: Machine;
  readonly layout: "type-1" | "type-2";
  readonly memory: GuestMemory;
  readonly complex: RootComplex;
  readonly apics: LocalApicsModel;
  readonly vcpus: readonly Vcpu[];
  /** The guest's own IOMMU. */
  readonly iommu: VirtualIommu | undefined;
  readonly exits: ExitCounts;
  /** Vectors that arrived and no handler of the guest took. */
  readonly strayVectors: number[] = [];
  /** Interrupts that reached the guest's local APICs. */
  injected = 0;
  readonly #posted: readonly { readonly vectors: PostedVectors; readonly notification: HostVector }[];
  readonly #direct: DirectMapping[] = [];
  #vga: LegacyVgaAccess | undefined;

  /** @throws RangeError when the machine has not enough memory or vectors */
  constructor(machine: Machine, options: VmOptions) {
    const { name, processors = 1, devices = [] } = options;
    this.name = name;
    this.machine = machine;
    const { watch } = machine;
    this.exits = new ExitCounts(watch?.exit && ((reason, handledIn) => watch.exit?.(name, reason, handledIn)));
    this.layout = options.layout ?? "type-2";
    this.memory = new GuestMemory({ memory: machine.memory, frames: machine.frames, size: options.memory });
    const ids = Array.from({ length: processors }, (_, i) => i);
    this.apics = new LocalApicsModel({ ids });
    this.vcpus = ids.map((id) => new Vcpu(this, id));
    // What the guest takes for host-physical addresses are its guest-physical ones.
    const memory: AddressSpace<number> = this.memory;
    this.complex = new RootComplex({ memory, clock: machine.clock, interrupts: { deliver: (interrupt) => { this.deliver(interrupt); }, post: () => undefined } });
    const { bus } = this.complex.addHostBridge({ memory: [DEVICES] });
    this.iommu = options.iommu && new VirtualIommu({ memory: this.memory, description: options.iommu, send: (address, data) => { this.#ownMessage(address, data); } });
    if (this.iommu) this.complex.addIommu(this.iommu.iommu);
    for (const { devfn, fn } of [...(this.iommu?.own ? [this.iommu.own] : []), ...devices]) bus.plug(fn, devfn);
    this.#posted = ids.map((id) => {
      const processor = id % machine.processors.ids.length;
      const notification = machine.processors.allocate(processor, () => undefined);
      return { notification, vectors: new PostedVectors(machine.units[0]?.vendor ?? "intel", machine.memory, machine.frames, notification.vector, processor) };
    });
    machine.processors.onPosting((posting) => { this.#takePosted(posting); });
  }

  /** Plugs a function into the guest's bus 0. Before `boot`, or as hot-plug. */
  plug(fn: PciFunction, devfn: number): void {
    this.complex.hostBridges[0]?.bus.plug(fn, devfn);
  }

  /** The guest's firmware: gives BARs their places. No exits are counted: it happens before the story. */
  boot(): EnumerationReport {
    return enumerate(this.complex);
  }

  /** Where posting for a virtual processor goes, and the processor of the host that runs it. */
  postingOf(vcpu: number): { readonly structure: Hpa; readonly running: number } {
    const entry = this.#posted[vcpu];
    if (!entry) throw new RangeError(`${this.name} has no processor ${vcpu}.`);
    return { structure: entry.vectors.structure, running: entry.notification.processor };
  }

  /** Raises a vector in the guest, as a hypervisor does that took an interrupt for it. */
  inject(vcpu: number, vector: number): void {
    this.deliver({ vector, deliveryMode: DeliveryMode.Fixed, destination: vcpu, destinationMode: "physical", trigger: "edge", redirectionHint: false });
  }

  /** Lets the guest reach a BAR of the host at its own addresses, by the second-stage tables: no exits. */
  mapDirect(gpa: Gpa, hpa: Hpa, size: number): void {
    this.#direct.push({ gpa, hpa, size });
  }

  unmapDirect(gpa: Gpa): void {
    const at = this.#direct.findIndex((each) => each.gpa === gpa);
    if (at >= 0) this.#direct.splice(at, 1);
  }

  /** Gives the guest the legacy VGA ranges, as `x-vga=on` does: its memory has a hole there, and every access leaves the guest. */
  passVga(vga: LegacyVgaAccess | undefined): void {
    this.#vga = vga;
  }

  /** A load or store of a virtual processor. */
  access(gpa: Gpa, bytes: Uint8Array, write: boolean): void {
    if (this.#vga && isVga("memory", gpa, false)) {
      this.exits.note("mmio", this.#deviceModels);
      this.#vga.memory(gpa - VGA_MEMORY.base, bytes, write);
      return;
    }
    if (gpa + bytes.length <= this.memory.size) {
      if (write) this.memory.writeFrom(gpa, bytes);
      else this.memory.readInto(gpa, bytes);
      return;
    }
    const { iommu } = this;
    if (iommu && gpa >= iommu.base && gpa + bytes.length <= iommu.base + iommu.size) {
      this.exits.note("mmio", this.#deviceModels);
      accessBytes(iommu.iommu.registers, gpa - iommu.base, bytes, write);
      return;
    }
    const direct = this.#direct.find((each) => gpa >= each.gpa && gpa + bytes.length <= each.gpa + each.size);
    const complex = direct ? this.machine.complex : this.complex;
    const at = direct ? direct.hpa + (gpa - direct.gpa) : gpa;
    // Nothing is mapped there: the processor leaves the guest, and the hypervisor's process asks its device models.
    if (!direct) this.exits.note("mmio", this.#deviceModels);
    if (write) complex.memoryWrite(at, bytes);
    else complex.memoryRead(at, bytes);
  }

  portRead(port: number, size: AccessSize): number {
    this.exits.note("io", this.#deviceModels);
    if (this.#vga && isVga("io", port, false)) return this.#vga.portRead(port, size);
    return isConfigPort(port) ? this.complex.configPorts.read(port - CONFIG_PORTS.first, size) : this.complex.ioRead(port, size);
  }

  portWrite(port: number, size: AccessSize, value: number): void {
    this.exits.note("io", this.#deviceModels);
    if (this.#vga && isVga("io", port, false)) this.#vga.portWrite(port, size, value);
    else if (isConfigPort(port)) this.complex.configPorts.write(port - CONFIG_PORTS.first, size, value);
    else this.complex.ioWrite(port, size, value);
  }

  /** Runs programs on the processors, in turn, until all have ended. Time goes on when all wait. */
  run(...programs: readonly GuestProgram[]): void {
    let running = programs.map((program, i) => {
      const vcpu = this.vcpus[i];
      if (!vcpu) throw new RangeError(`${this.name} has no processor ${i} for another program.`);
      return { vcpu, steps: program(vcpu)[Symbol.iterator]() };
    });
    while (running.length > 0) {
      running = running.filter(({ vcpu, steps }) => {
        vcpu.takeInterrupts();
        return steps.next().done !== true;
      });
      if (running.length > 0) this.machine.clock.skip();
    }
    for (const vcpu of this.vcpus) vcpu.takeInterrupts();
  }

  /** An interrupt for the guest's local APICs. */
  deliver(interrupt: Readonly<Interrupt>): void {
    this.injected++;
    this.apics.deliver(interrupt);
  }

  /** Where an access ends that the processor cannot make by itself. */
  get #deviceModels(): HandledIn {
    return this.layout === "type-1" ? "kernel" : "user";
  }

  /** The guest's IOMMU interrupts its own kernel; past remapping. */
  #ownMessage(address: number, data: number): void {
    const interrupt = newInterrupt();
    if (decodeMessage({ address, data }, interrupt)) this.deliver(interrupt);
  }

  /** The processor in guest mode takes a posted interrupt by itself: no exit. */
  #takePosted({ structure }: Posting): void {
    for (const [vcpu, { vectors }] of this.#posted.entries()) if (vectors.structure === structure) for (const vector of vectors.take()) this.inject(vcpu, vector);
  }
}

const accessBytes = (registers: MmioHandler, offset: number, bytes: Uint8Array, write: boolean): void => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const words = new Uint32Array(2);
  switch (bytes.length) {
    case 8:
      if (write) registers.write64(offset, view.getUint32(0, true), view.getUint32(4, true));
      else {
        registers.read64(offset, words);
        view.setUint32(0, words[0] as number, true); // two words
        view.setUint32(4, words[1] as number, true);
      }
      break;
    case 4:
      if (write) registers.write(offset, 4, view.getUint32(0, true));
      else view.setUint32(0, registers.read(offset, 4), true);
      break;
    default:
      if (!write) bytes.fill(0xff);
  }
};

const isConfigPort = (port: number): boolean => port >= CONFIG_PORTS.first && port <= CONFIG_PORTS.last;
