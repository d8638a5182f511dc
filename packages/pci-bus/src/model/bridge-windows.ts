import type { ConfigAccess } from "./bar-register.ts";
import { HeaderOffset } from "../config/offsets.ts";

/** I/O ports or memory. */
export type Space = "io" | "memory";

/** Addresses from `base` to `last`, both included. */
export interface Window {
  readonly base: number;
  readonly last: number;
}

/** Command register bits. PCIe §7.5.1.1.3. */
export const Command = { IoSpace: 1, MemorySpace: 2, BusMaster: 4, InterruptDisable: 0x400 } as const;
/** Bridge control register bits. PCIe §7.5.1.3.13. */
export const BridgeControl = { IsaEnable: 4, VgaEnable: 8, Vga16Bit: 0x10, SecondaryBusReset: 0x40 } as const;

/** The legacy frame buffer: 128 KiB. */
export const VGA_MEMORY: Window = { base: 0xa_0000, last: 0xb_ffff };
/** The legacy registers: MDA's and CGA/EGA/VGA's. */
export const VGA_PORTS: readonly Window[] = [
  { base: 0x3b0, last: 0x3bb },
  { base: 0x3c0, last: 0x3df },
];

const holds = (window: Window | undefined, address: number): boolean => window !== undefined && address >= window.base && address <= window.last;
const opened = (base: number, last: number): Window | undefined => (last < base ? undefined : { base, last });

/** The I/O window, or undefined while its base is above its limit. PCIe §7.5.1.3.6. */
export const ioWindow = (config: ConfigAccess): Window | undefined => {
  const base = config.read(HeaderOffset.IoBase, 1);
  const limit = config.read(HeaderOffset.IoLimit, 1);
  const wide = (base & 0x0f) === 1;
  const upper = (at: number): number => (wide ? config.read(at, 2) * 0x1_0000 : 0);
  return opened(upper(HeaderOffset.IoBaseUpper) + ((base & 0xf0) << 8), upper(HeaderOffset.IoLimitUpper) + ((limit & 0xf0) << 8) + 0xfff);
};

/** The memory window, always below 4 GiB. PCIe §7.5.1.3.8. */
export const memoryWindow = (config: ConfigAccess): Window | undefined =>
  opened((config.read(HeaderOffset.MemoryBase, 2) & 0xfff0) * 0x1_0000, (config.read(HeaderOffset.MemoryLimit, 2) & 0xfff0) * 0x1_0000 + 0xf_ffff);

/** The prefetchable memory window, 32 or 64 bits. PCIe §7.5.1.3.9. */
export const prefetchableWindow = (config: ConfigAccess): Window | undefined => {
  const base = config.read(HeaderOffset.PrefetchableBase, 2);
  const limit = config.read(HeaderOffset.PrefetchableLimit, 2);
  // Not implemented: base, limit and their upper halves read as zero, which would otherwise mean the first MiB.
  if (base === 0 && limit === 0) return undefined;
  const wide = (base & 0x0f) === 1;
  const upper = (at: number): number => (wide ? config.read(at, 4) * 2 ** 32 : 0);
  return opened(upper(HeaderOffset.PrefetchableBaseUpper) + (base & 0xfff0) * 0x1_0000, upper(HeaderOffset.PrefetchableLimitUpper) + (limit & 0xfff0) * 0x1_0000 + 0xf_ffff);
};

/** Whether an address is one of VGA's; with `tenBit` port bits 15:10 are ignored, as ISA cards did. */
export const isVga = (space: Space, address: number, tenBit: boolean): boolean => {
  if (space === "memory") return holds(VGA_MEMORY, address);
  if (address > 0xffff) return false;
  const port = tenBit ? address & 0x3ff : address;
  return VGA_PORTS.some((window) => holds(window, port));
};

const inIoWindow = (config: ConfigAccess, address: number, control: number): boolean => {
  if (!holds(ioWindow(config), address)) return false;
  // ISA Enable gives the upper 768 bytes of each KiB below 64 KiB to ISA cards upstream.
  return !(control & BridgeControl.IsaEnable && address <= 0xffff && address & 0x300);
};

/**
 * Whether a bridge takes an address from its primary to its secondary side; the same addresses it does not take the other way.
 * PCI-to-PCI Bridge Architecture §4 "Address Decoding"; the command register's enables are part of it.
 */
export const forwardsDown = (config: ConfigAccess, space: Space, address: number): boolean => {
  const command = config.read(HeaderOffset.Command, 2);
  if (!(command & (space === "io" ? Command.IoSpace : Command.MemorySpace))) return false;
  const control = config.read(HeaderOffset.BridgeControl, 2);
  if (control & BridgeControl.VgaEnable && isVga(space, address, !(control & BridgeControl.Vga16Bit))) return true;
  if (space === "io") return inIoWindow(config, address, control);
  return holds(memoryWindow(config), address) || holds(prefetchableWindow(config), address);
};
