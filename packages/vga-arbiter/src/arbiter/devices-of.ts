import { barBase, type Attachment, type Bus, type RootComplex } from "@iommu-lab/pci-bus/model";
import type { VgaDevice } from "./device.ts";

const CLASS_REVISION = 0x08;

/** What the bus does not tell of a function. */
export interface DeviceNotes {
  readonly isIntegrated?: boolean;
  readonly driver?: string;
}

const deviceOf = (seat: Attachment, bridges: readonly Attachment[], notes: DeviceNotes): VgaDevice => ({
  address: seat.address,
  config: seat.fn.config,
  classCode: seat.fn.config.read(CLASS_REVISION, 4) >>> 8,
  bridges: bridges.map((bridge) => ({ address: bridge.address, config: bridge.fn.config })),
  memoryBars: seat.bars.filter(({ kind }) => kind !== "io").map((bar) => ({ base: barBase(seat.fn.config, bar), size: bar.size })),
  ...notes,
});

/** The kernel finds all functions of a bus before those below its bridges. */
const collect = (bus: Bus, bridges: readonly Attachment[], notes: (seat: Attachment) => DeviceNotes, into: VgaDevice[]): void => {
  const seats = bus.functions();
  for (const seat of seats) if (!seat.isBridge) into.push(deviceOf(seat, bridges, notes(seat)));
  for (const seat of seats) if (seat.fn.secondary) collect(seat.fn.secondary, [seat, ...bridges], notes, into);
};

/**
 * The functions of a machine that are no bridges, in the order in which a kernel finds them, for `VgaArbiter.scan`, which
 * keeps those of a VGA class. Call it after enumeration: addresses and BARs are those of the moment.
 */
export const vgaDevicesOf = (complex: RootComplex, notes: (seat: Attachment) => DeviceNotes = () => ({})): VgaDevice[] => {
  const found: VgaDevice[] = [];
  for (const host of complex.hostBridges) collect(host.bus, [], notes, found);
  return found;
};
