import type { ConfigSpace } from "../config-space.ts";
import { HeaderOffset } from "../config/offsets.ts";

/** A base address register as sizing shows it. PCIe §7.5.1.2.1 "Base Address Registers". */
export interface BarRegister {
  /** 0 to 5; `ROM_INDEX` for the expansion ROM. */
  readonly index: number;
  /** Offset of the register in configuration space. */
  readonly at: number;
  readonly kind: "io" | "memory32" | "memory64";
  /** Bytes, a power of two. */
  readonly size: number;
  readonly prefetchable: boolean;
}

/** What the expansion ROM is called where BARs have an index. */
export const ROM_INDEX = 6;

/** Reads and writes of one function's configuration space: directly, or through a configuration mechanism. */
export type ConfigAccess = Pick<ConfigSpace, "read" | "write">;

const sizeBar = (config: ConfigAccess, at: number, index: number): BarRegister | undefined => {
  const low = config.read(at, 4);
  config.write(at, 4, 0xffff_ffff);
  const mask = config.read(at, 4);
  config.write(at, 4, low);
  if (mask === 0) return undefined;
  if (mask & 1) {
    // A 16-bit I/O BAR may hardwire its upper half to zero.
    const bits = mask & 0xffff_fffc;
    return { index, at, kind: "io", size: bits & -bits, prefetchable: false };
  }
  const prefetchable = (mask & 8) !== 0;
  const lowBits = (mask & 0xffff_fff0) >>> 0;
  if ((mask & 6) !== 4) return { index, at, kind: "memory32", size: (lowBits & -lowBits) >>> 0, prefetchable };
  const high = config.read(at + 4, 4);
  config.write(at + 4, 4, 0xffff_ffff);
  const highBits = config.read(at + 4, 4);
  config.write(at + 4, 4, high);
  const size = lowBits ? (lowBits & -lowBits) >>> 0 : ((highBits & -highBits) >>> 0) * 2 ** 32;
  return size ? { index, at, kind: "memory64", size, prefetchable } : undefined;
};

/**
 * Finds `count` BARs from offset `at` on by writing all ones and reading back; the old values are restored.
 * Decoding should be off meanwhile, or the function shortly answers at the top of memory.
 */
export const sizeBars = (config: ConfigAccess, at: number, count: number): BarRegister[] => {
  const found: BarRegister[] = [];
  for (let index = 0; index < count; index++) {
    const bar = sizeBar(config, at + 4 * index, index);
    if (!bar) continue;
    found.push(bar);
    if (bar.kind === "memory64") index++;
  }
  return found;
};

/** The expansion ROM's register, sized like a BAR. PCIe §7.5.1.2.4. */
export const sizeRom = (config: ConfigAccess, bridge: boolean): BarRegister | undefined => {
  const at = bridge ? HeaderOffset.BridgeRom : HeaderOffset.Rom;
  const old = config.read(at, 4);
  config.write(at, 4, 0xffff_f800);
  const mask = (config.read(at, 4) & 0xffff_f800) >>> 0;
  config.write(at, 4, old);
  return mask ? { index: ROM_INDEX, at, kind: "memory32", size: (mask & -mask) >>> 0, prefetchable: true } : undefined;
};

/** The address that the register holds now, whether it decodes or not. */
export const barBase = (config: ConfigAccess, { at, kind, index }: BarRegister): number => {
  const low = config.read(at, 4);
  if (kind === "io") return (low & 0xffff_fffc) >>> 0;
  if (index === ROM_INDEX) return (low & 0xffff_f800) >>> 0;
  const base = (low & 0xffff_fff0) >>> 0;
  return kind === "memory64" ? config.read(at + 4, 4) * 2 ** 32 + base : base;
};
