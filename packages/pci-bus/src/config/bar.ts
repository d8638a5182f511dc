import type { RegisterImage } from "./register.ts";

/** A base address register as it is wired, before anything is assigned. PCIe §7.5.1.2.1 "Base Address Registers". */
export interface BarDescription {
  /** 0 to 5 (bridges: 0 and 1); a 64-bit BAR also takes the next one. */
  readonly index: number;
  readonly kind: "io" | "memory32" | "memory64";
  /** Bytes, a power of two: I/O from 4, memory from 16 on; up to 2^31, memory64 up to 2^51. */
  readonly size: number;
  /** Reads have no side effects and writes may be merged. */
  readonly prefetchable?: boolean;
}

/** Where a BAR stands at the moment. */
export interface BarState {
  /** First byte in its space; undefined while decoding is off, the register holds the all-ones sizing value, or the address is past 2^52. */
  readonly address: number | undefined;
  /** The command register lets the function decode this BAR's space. */
  readonly enabled: boolean;
}

const SMALLEST = { io: 4, memory32: 16, memory64: 16 } as const;
const LARGEST = { io: 2 ** 31, memory32: 2 ** 31, memory64: 2 ** 51 } as const;

const check = ({ index, kind, size }: BarDescription, count: number): void => {
  const last = kind === "memory64" ? index + 1 : index;
  if (!Number.isInteger(index) || index < 0 || last >= count) throw new RangeError(`BAR ${index} (${kind}) does not exist: this header has ${count} BARs and a 64-bit one takes two.`);
  if (!Number.isInteger(Math.log2(size)) || size < SMALLEST[kind] || size > LARGEST[kind])
    throw new RangeError(`BAR ${index} has size 0x${size.toString(16)} bytes; ${kind} BARs are powers of two from 0x${SMALLEST[kind].toString(16)} to 0x${LARGEST[kind].toString(16)}.`);
};

const putDword = (into: Uint8Array, at: number, value: number): void => {
  for (let i = 0; i < 4; i++) into[at + i] = (value >>> (8 * i)) & 0xff;
};

/** Writes the writable mask of one BAR at byte `at`: the address bits that the size leaves. Writing all ones and reading back gives the size. */
export const putBarMask = (writable: Uint8Array, at: number, kind: BarDescription["kind"], size: number): void => {
  const low = size >= 2 ** 32 ? 0 : -size >>> 0;
  putDword(writable, at, low);
  if (kind === "memory64") putDword(writable, at + 4, size >= 2 ** 32 ? -(size / 2 ** 32) >>> 0 : 0xffff_ffff);
};

/**
 * Puts the type bits and masks of BARs at byte `at` on (0x10 of a header, 0x24 of an SR-IOV capability).
 * @throws RangeError when one does not exist, overlaps another or has an impossible size
 */
export const putBars = (image: Pick<RegisterImage, "bytes" | "writable">, at: number, count: number, bars: readonly BarDescription[]): void => {
  const taken = new Set<number>();
  for (const bar of bars) {
    check(bar, count);
    for (const index of bar.kind === "memory64" ? [bar.index, bar.index + 1] : [bar.index]) {
      if (taken.has(index)) throw new RangeError(`BAR ${index} is described twice; a 64-bit BAR takes the next index too.`);
      taken.add(index);
    }
    const type = bar.kind === "io" ? 1 : (bar.kind === "memory64" ? 4 : 0) | (bar.prefetchable ? 8 : 0);
    image.bytes[at + 4 * bar.index] = type;
    putBarMask(image.writable, at + 4 * bar.index, bar.kind, bar.size);
  }
};

const dword = (bytes: Uint8Array, at: number): number => ((bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0);

/** The address a BAR at byte `at` holds, or undefined for the sizing value (every writable bit one) and for addresses from 2^52 on. */
export const barAddress = (bytes: Uint8Array, writable: Uint8Array, at: number, wide: boolean): number | undefined => {
  const lowMask = dword(writable, at);
  const low = (dword(bytes, at) & lowMask) >>> 0;
  // A BAR of 2 GiB has one address bit, so its sizing value is also its only address other than 0.
  if (!wide) return lowMask !== 0x8000_0000 && lowMask !== 0 && low === lowMask ? undefined : low;
  const highMask = dword(writable, at + 4);
  const high = (dword(bytes, at + 4) & highMask) >>> 0;
  if ((low === lowMask && high === highMask) || high >= 2 ** 20) return undefined;
  return high * 2 ** 32 + low;
};
