import { barBase, findCapabilities, sizeBars } from "@iommu-lab/pci-bus/model";
import { StreamDriver } from "../devices/stream-driver.ts";
import type { Vcpu } from "../vm/vcpu.ts";

const COMMAND = 4;
const MEMORY_AND_MASTER = 6;
const MSIX_ENABLE = 0x8000;
const RING_ENTRIES = 16;

/** What a guest's driver has of its device. */
export interface GuestStream {
  readonly driver: StreamDriver;
  /** Interrupts since the beginning. */
  readonly interrupts: () => number;
}

/**
 * A guest's driver for a stream device: finds its BARs and capabilities by configuration accesses, switches it on, programs vector 0
 * of its MSI-X for a vector of this processor, and sets up a ring. Everything it does, it does through its processor; every
 * address that it gives the device is guest-physical.
 * @param ring guest-physical address of 4 KiB
 */
export const driveFromGuest = (vcpu: Vcpu, devfn: number, ring: number, vector: number): GuestStream => {
  const config = {
    read: (offset: number, size: 1 | 2 | 4) => vcpu.configRead(devfn, offset, size),
    write: (offset: number, size: 1 | 2 | 4, value: number) => { vcpu.configWrite(devfn, offset, size, value); },
    size: 256,
  };
  const bars = sizeBars(config, 0x10, 6);
  const { msix } = findCapabilities(config);
  const baseOf = (index: number): number => {
    const bar = bars.find((each) => each.index === index);
    return bar ? barBase(config, bar) : 0;
  };
  config.write(COMMAND, 2, MEMORY_AND_MASTER);
  const table = config.read(msix + 4, 4);
  const entry = baseOf(table & 7) + (table & ~7);
  for (const [i, word] of [0xfee0_0000 + vcpu.id * 0x1000, 0, vector, 0].entries()) vcpu.store(entry + 4 * i, 4, word);
  config.write(msix + 2, 2, MSIX_ENABLE);
  let interrupts = 0;
  vcpu.handle(vector, () => interrupts++);
  const registers = baseOf(0);
  const { memory } = vcpu.vm;
  const driver = new StreamDriver(
    {
      readRegister: (offset) => vcpu.load(registers + offset, 4),
      writeRegister: (offset, value) => { vcpu.store(registers + offset, 4, value); },
      writeRing: (offset, bytes) => { memory.writeFrom(ring + offset, bytes); },
      readRing: (offset, bytes) => { memory.readInto(ring + offset, bytes); },
    },
    ring,
    RING_ENTRIES,
  );
  return { driver, interrupts: () => interrupts };
};
