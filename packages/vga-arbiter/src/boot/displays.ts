import { compareAddresses, type FunctionAddress } from "@iommu-lab/pci-bus";
import { barBase, Command, type RootComplex } from "@iommu-lab/pci-bus/model";
import type { VgaDevice } from "../arbiter/device.ts";
import { vgaDevicesOf } from "../arbiter/devices-of.ts";
import { routedResources, setRouting } from "../arbiter/routing.ts";
import { LEGACY_RESOURCES, VgaResource } from "../legacy/resources.ts";

const DISPLAY_VGA = 0x0300;
const BOTH = Command.IoSpace | Command.MemorySpace;

/** The VGA-compatible displays of a machine, in the order in which firmware finds them. */
export const displaysOf = (complex: RootComplex): VgaDevice[] => vgaDevicesOf(complex).filter(({ classCode }) => classCode >>> 8 === DISPLAY_VGA);

/** Which displays would answer at 0xa_0000 now. */
export const ownersOf = (complex: RootComplex, displays: readonly VgaDevice[]): FunctionAddress[] =>
  displays.filter((device) => routedResources(device) & VgaResource.LegacyMemory && complex.find(device.address)?.fn.legacyVga).map(({ address }) => address);

/**
 * Lets one display, or none, answer the legacy ranges: opens the bridges above it and no others, and takes decoding from
 * displays behind the same bridges, which VGA Enable would serve as well.
 */
export const routeTo = (displays: readonly VgaDevice[], chosen: VgaDevice | undefined): void => {
  for (const other of displays) if (other !== chosen) setRouting(other, false, { command: 0, bridges: true });
  if (!chosen) return;
  setRouting(chosen, true, { command: BOTH, bridges: true });
  for (const other of displays) if (other !== chosen && routedResources(other) & LEGACY_RESOURCES) setRouting(other, false, { command: BOTH, bridges: false });
};

const ENABLE = 1;

/** Reads a display's option ROM through its BAR, which is switched on for that time alone; undefined where there is none, or it has no address. */
export const readRom = (complex: RootComplex, address: FunctionAddress): Uint8Array | undefined => {
  const seat = complex.find(address);
  if (!seat?.rom) return undefined;
  const { config } = seat.fn;
  const base = barBase(config, seat.rom);
  if (base === 0) return undefined;
  const [old, command] = [config.read(seat.rom.at, 4), config.read(0x04, 2)];
  const bytes = new Uint8Array(seat.rom.size);
  config.write(0x04, 2, command | Command.MemorySpace);
  config.write(seat.rom.at, 4, (old | ENABLE) >>> 0);
  complex.memoryRead(base, bytes);
  config.write(seat.rom.at, 4, (old & ~ENABLE) >>> 0);
  config.write(0x04, 2, command);
  return bytes;
};

/** The display at an address, or the first one. */
export const choosePrimary = (displays: readonly VgaDevice[], wanted: FunctionAddress | undefined): VgaDevice | undefined => (wanted ? displays.find(({ address }) => compareAddresses(address, wanted) === 0) : displays[0]);
