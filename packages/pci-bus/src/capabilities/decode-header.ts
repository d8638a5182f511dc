import { BRIDGE_CONTROL, COMMAND, SECONDARY_STATUS, STATUS } from "../config/header.ts";
import { HeaderOffset } from "../config/offsets.ts";
import { wordsAt } from "../config/register.ts";
import type { DecodedBar, DecodedBridge, DecodedHeader, DecodedRom, DecodedWindow } from "./decoded.ts";

const word = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8);
const dword = (bytes: Uint8Array, at: number): number => (word(bytes, at) | (word(bytes, at + 2) << 16)) >>> 0;

const KINDS = { 0: "memory32", 2: "below1MiB", 4: "memory64", 6: "reserved" } as const;

const barsOf = (bytes: Uint8Array, count: number): DecodedBar[] => {
  const bars: DecodedBar[] = [];
  for (let index = 0; index < count; index++) {
    const low = dword(bytes, HeaderOffset.Bar0 + 4 * index);
    if ((low & 1) !== 0) {
      bars.push({ index, kind: "io", address: (low & ~3) >>> 0, prefetchable: false });
      continue;
    }
    const kind = KINDS[(low & 6) as 0 | 2 | 4 | 6];
    const wide = kind === "memory64" && index + 1 < count;
    const high = wide ? dword(bytes, HeaderOffset.Bar0 + 4 * index + 4) : 0;
    if (low !== 0 || high !== 0) bars.push({ index, kind, address: high * 2 ** 32 + ((low & ~15) >>> 0), prefetchable: (low & 8) !== 0 });
    if (wide) index++;
  }
  return bars;
};

const romOf = (bytes: Uint8Array, at: number): DecodedRom | undefined => {
  const value = dword(bytes, at);
  return value === 0 ? undefined : { address: (value & ~0x7ff) >>> 0, enabled: (value & 1) !== 0 };
};

const windowOf = (base: number, limit: number, addressing: DecodedWindow["addressing"]): DecodedWindow => ({ base, limit, disabled: limit < base, addressing });

const ioWindow = (bytes: Uint8Array): DecodedWindow => {
  const base = bytes[HeaderOffset.IoBase]!;
  const limit = bytes[HeaderOffset.IoLimit]!;
  const wide = (base & 15) === 1;
  const upper = (at: number): number => (wide ? word(bytes, at) * 0x1_0000 : 0);
  return windowOf((base & 0xf0) * 0x100 + upper(HeaderOffset.IoBaseUpper), (limit & 0xf0) * 0x100 + 0xfff + upper(HeaderOffset.IoLimitUpper), wide ? 32 : 16);
};

const memoryWindow = (bytes: Uint8Array, at: number, upper: number | undefined): DecodedWindow => {
  const base = word(bytes, at);
  const limit = word(bytes, at + 2);
  const wide = upper !== undefined && (base & 15) === 1;
  const high = (which: number): number => (wide ? dword(bytes, upper + which) * 2 ** 32 : 0);
  return windowOf((base & 0xfff0) * 0x1_0000 + high(0), (limit & 0xfff0) * 0x1_0000 + 0xf_ffff + high(4), wide ? 64 : 32);
};

const bridgeOf = (bytes: Uint8Array): DecodedBridge => ({
  primary: bytes[HeaderOffset.PrimaryBus]!,
  secondary: bytes[HeaderOffset.SecondaryBus]!,
  subordinate: bytes[HeaderOffset.SubordinateBus]!,
  secondaryLatencyTimer: bytes[HeaderOffset.SecondaryLatencyTimer]!,
  io: ioWindow(bytes),
  memory: memoryWindow(bytes, HeaderOffset.MemoryBase, undefined),
  prefetchable: memoryWindow(bytes, HeaderOffset.PrefetchableBase, HeaderOffset.PrefetchableBaseUpper),
  secondaryStatus: SECONDARY_STATUS.decode(wordsAt(bytes, HeaderOffset.SecondaryStatus, 16)),
  control: BRIDGE_CONTROL.decode(wordsAt(bytes, HeaderOffset.BridgeControl, 16)),
});

const type0Of = (bytes: Uint8Array) => ({
  subsystemVendor: word(bytes, HeaderOffset.SubsystemVendor),
  subsystemDevice: word(bytes, HeaderOffset.SubsystemDevice),
  minGrant: bytes[HeaderOffset.MinGrant]!,
  maxLatency: bytes[HeaderOffset.MaxLatency]!,
});

const BARS: Readonly<Record<number, number>> = { 0: 6, 1: 2 };

/** Reads the header; `bytes` are at least 64. PCIe §7.5.1. */
export const decodeHeader = (bytes: Uint8Array): DecodedHeader => {
  const type = bytes[HeaderOffset.HeaderType]! & 0x7f;
  const rom = type > 1 ? undefined : romOf(bytes, type === 1 ? HeaderOffset.BridgeRom : HeaderOffset.Rom);
  return {
    type,
    multifunction: (bytes[HeaderOffset.HeaderType]! & 0x80) !== 0,
    vendor: word(bytes, HeaderOffset.Vendor),
    device: word(bytes, HeaderOffset.Device),
    classCode: dword(bytes, HeaderOffset.Revision) >>> 8,
    revision: bytes[HeaderOffset.Revision]!,
    cacheLineSize: bytes[HeaderOffset.CacheLineSize]!,
    latencyTimer: bytes[HeaderOffset.LatencyTimer]!,
    bist: bytes[HeaderOffset.Bist]!,
    command: COMMAND.decode(wordsAt(bytes, HeaderOffset.Command, 16)),
    status: STATUS.decode(wordsAt(bytes, HeaderOffset.Status, 16)),
    bars: barsOf(bytes, BARS[type] ?? 0),
    ...(rom ? { rom } : {}),
    interruptLine: bytes[HeaderOffset.InterruptLine]!,
    interruptPin: bytes[HeaderOffset.InterruptPin]!,
    ...(type === 0 ? type0Of(bytes) : {}),
    ...(type === 1 ? { bridge: bridgeOf(bytes) } : {}),
  };
};
