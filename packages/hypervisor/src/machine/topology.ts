import { formatAddress, type Clock, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { MachineDescription, MachineFunction } from "@iommu-lab/pci-bus/machine";
import { Bridge, Endpoint, enumerate, virtualFunctionDescription, type Attachment, type Bus, type BusRange, type EnumerationReport, type FirmwarePolicy, type ModelFunction, type RootComplex } from "@iommu-lab/pci-bus/model";
import { EduFunction } from "../devices/edu.ts";
import { SharedLink, StreamDevice } from "../devices/stream.ts";
import { vgaCardOf } from "./vga-function.ts";
import type { AddressMap } from "./address-map.ts";
import { describeFunction } from "./make-description.ts";

/** Makes a function of a behaviour that the machine itself does not know. */
export type FunctionMaker = (fn: MachineFunction, description: ReturnType<typeof describeFunction>) => ModelFunction | undefined;

/** A function in its place, with what the description says of it. */
export interface PlacedFunction {
  readonly described: MachineFunction;
  readonly seat: Attachment;
}

const placeOf = (at: string): number => {
  const [device = "0", fn = "0"] = at.split(".");
  return (Number.parseInt(device, 16) << 3) | Number(fn);
};

/** Nanoseconds that a descriptor takes. */
const STREAM_TIME = 1000;

/** Virtual functions share one link with each other and with the physical one. */
const streamOf = (description: ReturnType<typeof describeFunction>, clock: Clock): StreamDevice => {
  const link = new SharedLink(STREAM_TIME);
  return new StreamDevice(description, { clock, link, virtualFunction: () => new StreamDevice(virtualFunctionDescription(description), { clock, link }) });
};

const functionOf = (fn: MachineFunction, behindPort: boolean, clock: Clock, make: FunctionMaker): ModelFunction => {
  const kind = fn.kind ?? "endpoint";
  const description = describeFunction(fn, behindPort);
  if (kind !== "endpoint") return new Bridge(kind, description);
  const made = make(fn, description);
  if (made) return made;
  if (fn.behaviour === "edu") return new EduFunction({ interrupts: fn.capabilities?.msix ? "msix" : "msi", ats: fn.capabilities?.ats ?? false });
  if (fn.behaviour === "vga") return vgaCardOf(fn, description, behindPort);
  return fn.behaviour === "stream" ? streamOf(description, clock) : new Endpoint(description);
};

/** Plugs a machine's functions into host bridges. Nothing is enumerated yet. */
export const plugFunctions = (complex: RootComplex, machine: MachineDescription, addresses: AddressMap, make: FunctionMaker): PlacedFunction[] => {
  const placed: PlacedFunction[] = [];
  const plug = (bus: Bus, functions: readonly MachineFunction[]): void => {
    for (const fn of functions) {
      const model = functionOf(fn, bus.bridge !== undefined, complex.clock, make);
      const seat = bus.plug(model, placeOf(fn.at));
      placed.push({ described: fn, seat });
      if (model.secondary) plug(model.secondary, fn.below ?? []);
    }
  };
  const shares = machine.hostBridges.length;
  for (const [i, { segment = 0, firstBus = 0, lastBus = 0xff, functions }] of machine.hostBridges.entries()) {
    const host = complex.addHostBridge({ domain: segment, firstBus, lastBus, memory: addresses.devices.map((window) => share(window, i, shares)), io: [share({ base: 0x1000, last: 0xffff }, i, shares)] });
    plug(host.bus, functions);
  }
  return placed;
};

/** Host bridges get equal parts of each window. */
const share = ({ base, last }: { readonly base: number; readonly last: number }, index: number, count: number): { base: number; last: number } => {
  const part = Math.floor((last + 1 - base) / count / 0x1000) * 0x1000;
  return { base: base + index * part, last: index === count - 1 ? last : base + (index + 1) * part - 1 };
};

/** Does what firmware does: buses get the numbers that the description has, BARs their places, VGA its way. */
export const runFirmware = (complex: RootComplex, placed: readonly PlacedFunction[], policy: FirmwarePolicy): EnumerationReport => {
  const busNumbers = (bridge: FunctionAddress): BusRange | undefined => {
    const fn = placed.find(({ seat }) => seat.isBridge && formatAddress(seat.address) === formatAddress(bridge))?.described;
    return fn?.secondaryBus === undefined ? undefined : { secondary: fn.secondaryBus, subordinate: fn.subordinateBus ?? fn.secondaryBus };
  };
  return enumerate(complex, { ...policy, busNumbers });
};

/** The bridges above a function, nearest first. */
export const bridgesAbove = (seat: Attachment): Attachment[] => {
  const found: Attachment[] = [];
  for (let bridge = seat.bus.bridge; bridge; bridge = bridge.bus.bridge) found.push(bridge);
  return found;
};
