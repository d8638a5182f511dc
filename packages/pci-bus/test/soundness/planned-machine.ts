import { ACS_CAPABILITY, accessControlServices, singleRootIov, type CapabilityImage, type FunctionDescription } from "@iommu-lab/pci-bus/capabilities";
import { Acs, Bridge, bridgeDescription, describeFunctions, Endpoint, enumerate, type Attachment, type BridgeKind, type Bus, type ModelFunction } from "@iommu-lab/pci-bus/model";
import { benchMachine, conventionalDescription, endpointDescription, TableIommu, type BenchMachine } from "../model/bench-machine.ts";
import type { AcsChoice, Below, MachinePlan, Port, Slot } from "./random-machine.ts";

/** A machine that runs: enumerated, ACS set, virtual functions up, an IOMMU in front of memory that refuses everything and remembers whom it heard. */
export interface RunningMachine {
  readonly bench: BenchMachine;
  readonly iommu: TableIommu;
  /** Every function that is no bridge, virtual ones among them. */
  readonly endpoints: readonly Attachment[];
}

const BAR = [{ index: 0, kind: "memory32", size: 0x1000 }] as const;
const VF_BUS_MASTER = 4;
const VF_ENABLE_AND_MEMORY = 9;

const acsImages = (acs: AcsChoice): CapabilityImage[] => (acs ? [accessControlServices({ Capability: ACS_CAPABILITY.decode(Uint32Array.of(acs.capability)) })] : []);

/** Builds what a plan says and keeps in mind what is to be written once buses have numbers. */
class Builder {
  readonly controls = new Map<ModelFunction, AcsChoice>();
  readonly virtualControls = new Map<ModelFunction, AcsChoice>();
  readonly virtualCounts = new Map<ModelFunction, number>();

  slot(bus: Bus, device: number, slot: Slot): void {
    if (slot.kind === "device") this.#functions(bus, device << 3, slot.functions);
    else if (slot.kind === "pci-bridge") this.#conventional(bus, device << 3, "pci-to-pci", slot.devices, slot.nested);
    else for (const [i, port] of slot.ports.entries()) this.#port(bus, (device << 3) | i, "root-port", port, i + 1, slot.ports.length > 1);
  }

  #port(bus: Bus, devfn: number, kind: "root-port" | "downstream-port", { acs, below }: Port, portNumber: number, multifunction: boolean): void {
    const port = this.#bridge(kind, acs, multifunction, portNumber);
    bus.plug(port, devfn);
    if (below) this.#below(port.secondary, below);
  }

  #bridge(kind: BridgeKind, acs: AcsChoice, multifunction = false, portNumber = 0): Bridge {
    const plain = bridgeDescription(kind, { multifunction, portNumber });
    const bridge = new Bridge(kind, { ...plain, capabilities: [...(plain.capabilities ?? []), ...acsImages(acs)] });
    this.controls.set(bridge, acs);
    return bridge;
  }

  #below(bus: Bus, below: Below): void {
    if (below.kind === "device") this.#functions(bus, 0, below.functions);
    else if (below.kind === "virtualized") this.#virtualized(bus, below);
    else if (below.kind === "pci-bridge") this.#conventional(bus, 0, "pcie-to-pci", below.devices, below.nested);
    else {
      const up = this.#bridge("upstream-port", below.up, below.beside.length > 0);
      bus.plug(up, 0);
      this.#functions(bus, 1, below.beside);
      for (const [i, port] of below.ports.entries()) this.#port(up.secondary, i << 3, "downstream-port", port, i + 1, false);
    }
  }

  #functions(bus: Bus, first: number, functions: readonly AcsChoice[]): void {
    for (const [i, acs] of functions.entries()) this.#endpoint(bus, first + i, endpointDescription({ multifunction: functions.length > 1, bars: BAR }, acsImages(acs)), acs);
  }

  #virtualized(bus: Bus, { physical, virtual, count, firstOffset }: Extract<Below, { kind: "virtualized" }>): void {
    const sriov = singleRootIov({ totalVfs: count, firstVfOffset: firstOffset, vfStride: 1, vfDevice: 0x4321, vfBars: BAR });
    const fn = this.#endpoint(bus, 0, endpointDescription({ bars: BAR }, [...acsImages(physical), sriov]), physical);
    this.virtualCounts.set(fn, count);
    // Virtual functions have the capabilities of their physical function.
    if (physical) this.virtualControls.set(fn, virtual);
  }

  #conventional(bus: Bus, devfn: number, kind: "pcie-to-pci" | "pci-to-pci", devices: number, nested: number): void {
    const bridge = new Bridge(kind);
    bus.plug(bridge, devfn);
    for (let i = 0; i < devices; i++) this.#endpoint(bridge.secondary, i << 3, conventionalDescription(), undefined);
    if (nested > 0) this.#conventional(bridge.secondary, 0x80, "pci-to-pci", 1, nested - 1);
  }

  #endpoint(bus: Bus, devfn: number, description: FunctionDescription, acs: AcsChoice): Endpoint {
    const fn = new Endpoint(description);
    bus.plug(fn, devfn);
    this.controls.set(fn, acs);
    return fn;
  }
}

/** Functions in creation order, in their places. */
const everySeat = ({ complex }: BenchMachine): Attachment[] => describeFunctions(complex).map(({ address }) => complex.find(address) as Attachment);

const setControl = (bench: BenchMachine, { requester, places }: Attachment, acs: AcsChoice): void => {
  if (!acs || !places.acs) return;
  if (acs.capability & Acs.EgressControl) bench.poke(requester, places.acs + 8, 4, acs.vector);
  bench.poke(requester, places.acs + 6, 2, acs.control);
};

/** Builds the machine of a plan and does what firmware and kernel do. */
export const run = (plan: MachinePlan): RunningMachine => {
  const bench = benchMachine();
  const builder = new Builder();
  for (const [i, slot] of plan.entries()) builder.slot(bench.host.bus, i + 1, slot);
  enumerate(bench.complex);
  for (const { fn, requester, places } of everySeat(bench)) {
    const count = builder.virtualCounts.get(fn);
    if (count === undefined) continue;
    bench.poke(requester, places.sriov + 0x10, 2, count);
    bench.poke(requester, places.sriov + 8, 2, VF_ENABLE_AND_MEMORY);
  }
  const seats = everySeat(bench);
  for (const seat of seats) {
    const physical = seat.virtualOf?.physical.fn;
    if (physical) bench.poke(seat.requester, 4, 2, VF_BUS_MASTER);
    setControl(bench, seat, physical ? builder.virtualControls.get(physical) : builder.controls.get(seat.fn));
  }
  const iommu = new TableIommu();
  bench.complex.addIommu(iommu);
  return { bench, iommu, endpoints: seats.filter(({ isBridge }) => !isBridge) };
};
