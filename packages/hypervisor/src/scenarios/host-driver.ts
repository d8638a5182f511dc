import { PAGE_SIZE } from "@iommu-lab/memory";
import { barBase, type Attachment } from "@iommu-lab/pci-bus/model";
import type { DmaDevice } from "@iommu-lab/vfio/dma";
import { StreamDriver } from "../devices/stream-driver.ts";
import type { HostInterrupt } from "../machine/host-kernel.ts";
import type { Machine } from "../machine/machine.ts";

const MSIX_ENABLE = 0x8000;
const RING_ENTRIES = 64;
const COMMAND = 4;
const MEMORY_AND_MASTER = 6;

/** Where a function's BAR is. @throws RangeError when it has none */
export const barOf = (seat: Attachment, index: number): number => {
  const bar = seat.bars.find((each) => each.index === index);
  if (!bar) throw new RangeError(`This function has no BAR ${index}.`);
  return barBase(seat.fn.config, bar);
};

/** Programs a vector of a function's MSI-X table, by the processor's stores, and enables MSI-X. */
const programMsix = (machine: Machine, seat: Attachment, vector: number, { address, data }: { readonly address: number; readonly data: number }): void => {
  const { config } = seat.fn;
  const register = config.read(seat.places.msix + 4, 4);
  const at = barOf(seat, register & 7) + (register & ~7) + 16 * vector;
  for (const [i, word] of [address, 0, data, 0].entries()) machine.map.write32(at + 4 * i, word);
  config.write(seat.places.msix + 2, 2, MSIX_ENABLE);
};

/** A stream device driven by the host's kernel: its DMA API, its interrupt, its ring. */
export interface HostStream {
  readonly driver: StreamDriver;
  readonly dma: DmaDevice;
  readonly interrupt: HostInterrupt;
  /** Interrupts since the beginning. */
  readonly interrupts: () => number;
}

/** Takes a stream device for the host. @throws RangeError when there is no memory for its ring */
export const driveFromHost = (machine: Machine, address: string): HostStream => {
  const seat = machine.at(address);
  const dma = machine.kernel.dmaDevice(seat.address);
  seat.fn.config.write(COMMAND, 2, seat.fn.config.read(COMMAND, 2) | MEMORY_AND_MASTER);
  const ring = dma.allocateCoherent(PAGE_SIZE);
  const at = ring?.pages[0];
  if (!ring || at === undefined) throw new RangeError("There is no memory for a ring of descriptors.");
  const bar = barOf(seat, 0);
  let interrupts = 0;
  const interrupt = machine.kernel.requestInterrupt(seat.address, () => interrupts++);
  programMsix(machine, seat, 0, interrupt.message);
  const driver = new StreamDriver(
    {
      readRegister: (offset) => machine.map.read32(bar + offset),
      writeRegister: (offset, value) => { machine.map.write32(bar + offset, value); },
      writeRing: (offset, bytes) => { machine.memory.writeFrom(at + offset, bytes); },
      readRing: (offset, bytes) => { machine.memory.readInto(at + offset, bytes); },
    },
    ring.address,
    RING_ENTRIES,
  );
  return { driver, dma, interrupt, interrupts: () => interrupts };
};
