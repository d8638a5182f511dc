/** Watches a machine and says, after every event, what must never be: a DMA past its IOMMU, a lost interrupt, a frame of two owners. */
import { PAGE_SIZE } from "@iommu-lab/memory";
import { Completion, formatAddress, type InterruptMessage, type PostingNotification } from "@iommu-lab/pci-bus";
import type { BusHop, BusRequest, BusTraceSink, InterruptOutcome } from "@iommu-lab/pci-bus/model";
import type { MachineDescription } from "@iommu-lab/pci-bus/machine";
import type { MachineOptions } from "../../src/machine/machine.ts";
import { Machine } from "../../src/machine/machine.ts";
import type { VirtualMachine } from "../../src/vm/index.ts";

/** A machine whose every event is checked. */
export class WatchedMachine implements BusTraceSink {
  readonly machine: Machine;
  /** What was wrong, in order. */
  readonly violations: string[] = [];
  /** VMs whose memory is watched. */
  readonly vms: VirtualMachine[] = [];
  /** Interrupts that left the root complex for a handler of the host, and for a virtual processor. */
  readonly sent = { delivered: 0, posted: 0, notifications: 0 };
  /** Requests that reached memory. */
  reached = 0;
  /** Who came to which frame since somebody looked last. */
  landed: { readonly from: string; readonly frame: number }[] = [];
  #path: BusHop[] = [];

  constructor(description: MachineDescription, options: Pick<MachineOptions, "iommu"> = {}) {
    this.machine = new Machine(description, { ...options, trace: this });
  }

  hop(hop: BusHop): void {
    if (hop.decision === "sent") this.#path = [];
    this.#path.push(hop);
  }

  request({ from, completion, hpa, write, address }: BusRequest): void {
    const path = this.#path;
    this.#path = [];
    const toMemory = path.some(({ decision }) => decision === "memory");
    if (!toMemory) return;
    this.reached++;
    const what = `${formatAddress(from)} ${write ? "writes" : "reads"} 0x${address.toString(16)}`;
    const before = path.slice(0, path.findIndex(({ decision }) => decision === "memory"));
    if (this.machine.unitOf(from) && !before.some(({ kind, decision }) => kind === "iommu" && decision === "translated")) this.violations.push(`${what}: past its IOMMU, to memory`);
    if (hpa !== undefined) this.landed.push({ from: formatAddress(from).slice(5), frame: Math.floor(hpa / PAGE_SIZE) });
    if (completion !== Completion.Successful || hpa === undefined) this.violations.push(`${what}: refused, and yet in memory`);
  }

  interrupt(_domain: number, _message: Readonly<InterruptMessage>, outcome: InterruptOutcome): void {
    this.#path = [];
    if (outcome.kind === "delivered") this.sent.delivered++;
    else if (outcome.kind === "posted") {
      this.sent.posted++;
      if (notifies(outcome.posting.notification)) this.sent.notifications++;
    }
  }

  /** Everything that must hold at rest. @param held frames that are in use beside those of VMs, with how often each is pinned */
  check(held: ReadonlyMap<number, number>): readonly string[] {
    const { frames, processors } = this.machine;
    frames.check();
    const owners = new Map<number, string>();
    for (const vm of this.vms)
      for (let page = 0; page < vm.memory.size / PAGE_SIZE; page++) {
        const frame = vm.memory.hostPage(page) ?? -1;
        const other = owners.get(frame);
        if (other !== undefined) this.violations.push(`Frame 0x${frame.toString(16)} is ${vm.name}'s and ${other}'s`);
        owners.set(frame, vm.name);
        if (frames.ownersOf(frame) !== 1) this.violations.push(`Frame 0x${frame.toString(16)} of ${vm.name} has ${frames.ownersOf(frame)} owners`);
        if (frames.pinsOf(frame) !== (held.get(frame) ?? 0)) this.violations.push(`Frame 0x${frame.toString(16)} of ${vm.name} is pinned ${frames.pinsOf(frame)} times, and ${held.get(frame) ?? 0} mappings hold it`);
      }
    if (processors.handled + processors.stray.length !== this.sent.delivered + this.sent.notifications) this.violations.push(`${this.sent.delivered} interrupts and ${this.sent.notifications} notifications left the root complex, ${processors.handled} were handled and ${processors.stray.length} were stray`);
    return this.violations;
  }
}

/** AMD's doorbell is no interrupt: the processor in guest mode takes it by itself. */
const notifies = ({ kind }: PostingNotification): boolean => kind === "interrupt";
