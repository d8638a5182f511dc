import { HeaderOffset } from "../config/offsets.ts";
import { sizeBars, sizeRom, type BarRegister } from "./bar-register.ts";
import type { Space } from "./bridge-windows.ts";
import { isHotPlug, type ScannedBus, type ScannedFunction } from "./bus-numbering.ts";
import type { FirmwarePolicy, HotPlugReserve, ResourceName } from "./firmware-report.ts";

/** Where a resource may stand: I/O, memory below 4 GiB, the same but prefetchable, or prefetchable anywhere. */
export type ResourceClass = "io" | "memory" | "prefetchable32" | "prefetchable64";

/** Something that wants addresses: a BAR, or a bridge window with what is inside. */
export interface Demand {
  readonly owner: ScannedFunction;
  readonly resource: ResourceName;
  readonly kind: ResourceClass;
  /** Bytes and alignment; of a window they follow from what is inside. */
  size: number;
  align: number;
  /** Offset of a BAR register to write. */
  readonly register: BarRegister | undefined;
  /** Of a window. */
  readonly inside: readonly Demand[] | undefined;
  /** From the start of the window around it. */
  offset: number;
  /** Where it finally stands. */
  base: number | undefined;
  /** Found no room. */
  dropped: boolean;
}

export const spaceOf = (kind: ResourceClass): Space => (kind === "io" ? "io" : "memory");

const MEBIBYTE = 0x10_0000;
/** Granularity of windows. PCI-to-PCI Bridge Architecture §3.2.5.6, §3.2.5.8. */
const granularity = (kind: ResourceClass): number => (kind === "io" ? 0x1000 : MEBIBYTE);

const leaf = (owner: ScannedFunction, resource: ResourceName, kind: ResourceClass, size: number, align: number, register?: BarRegister): Demand => ({ owner, resource, kind, size, align, register, inside: undefined, offset: 0, base: undefined, dropped: false });

const classOf = ({ kind, prefetchable }: BarRegister): ResourceClass => {
  if (kind === "io") return "io";
  if (!prefetchable) return "memory";
  return kind === "memory64" ? "prefetchable64" : "prefetchable32";
};

const ownDemands = (fn: ScannedFunction, policy: FirmwarePolicy): Demand[] => {
  const { config, places } = fn;
  config.write(HeaderOffset.Command, 2, 0);
  const found = sizeBars(config, HeaderOffset.Bar0, fn.bridge ? 2 : 6).map((bar) => leaf(fn, { kind: "bar", index: bar.index }, classOf(bar), bar.size, bar.size, bar));
  const rom = policy.roms === false ? undefined : sizeRom(config, fn.bridge);
  // A ROM is read once: an ordinary memory window serves it.
  if (rom) found.push(leaf(fn, { kind: "rom", index: rom.index }, "memory", rom.size, rom.size, rom));
  if (!places.sriov || policy.virtualFunctions === false) return found;
  const total = config.read(places.sriov + 0x0e, 2);
  for (const bar of sizeBars(config, places.sriov + 0x24, 6)) found.push(leaf(fn, { kind: "vf-bar", index: bar.index }, classOf(bar), bar.size * total, bar.size, bar));
  return found.filter(({ size }) => size > 0);
};

/** What a bridge can forward: whether there is an I/O window, and how wide the prefetchable one is. Found by writing and reading back. */
const windowsOf = ({ config }: ScannedFunction): { readonly io: boolean; readonly prefetchable: 0 | 32 | 64 } => {
  config.write(HeaderOffset.IoBase, 1, 0xf0);
  const io = (config.read(HeaderOffset.IoBase, 1) & 0xf0) !== 0;
  config.write(HeaderOffset.PrefetchableBase, 2, 0xfff0);
  const base = config.read(HeaderOffset.PrefetchableBase, 2);
  return { io, prefetchable: (base & 0xfff0) === 0 ? 0 : (base & 0x0f) === 1 ? 64 : 32 };
};

const windowKind = (kind: ResourceClass, prefetchable: 0 | 32 | 64): ResourceClass => {
  if (kind === "io" || kind === "memory" || prefetchable === 0) return kind === "io" ? "io" : "memory";
  if (prefetchable === 32) return "prefetchable32";
  return kind === "prefetchable64" ? "prefetchable64" : "memory";
};

const DEFAULT_RESERVE: HotPlugReserve = { buses: 4, io: 0x1000, memory: 2 * MEBIBYTE, prefetchable: 2 * MEBIBYTE };
const WINDOW_INDEX: Readonly<Record<ResourceClass, number>> = { io: 0, memory: 1, prefetchable32: 2, prefetchable64: 2 };

const reserves = (bridge: ScannedFunction, kinds: readonly ResourceClass[], policy: FirmwarePolicy): Demand[] => {
  if (!isHotPlug(bridge)) return [];
  const wanted = { ...DEFAULT_RESERVE, ...policy.hotPlug };
  const bytes: Readonly<Record<ResourceClass, number>> = { io: wanted.io, memory: wanted.memory, prefetchable32: wanted.prefetchable, prefetchable64: wanted.prefetchable };
  return kinds.filter((kind) => bytes[kind] > 0).map((kind) => leaf(bridge, { kind: "reserve", index: WINDOW_INDEX[kind] }, kind, bytes[kind], granularity(kind)));
};

/** The windows of a bridge with everything below sorted into them. */
const bridgeDemands = (bridge: ScannedFunction, below: ScannedBus, policy: FirmwarePolicy): Demand[] => {
  const { io, prefetchable } = windowsOf(bridge);
  const kinds: ResourceClass[] = [...(io ? (["io"] as const) : []), "memory", ...(prefetchable === 64 ? (["prefetchable64"] as const) : prefetchable === 32 ? (["prefetchable32"] as const) : [])];
  const inside = [...collectDemands(below, policy), ...reserves(bridge, kinds, policy)];
  return kinds.map((kind) => ({ owner: bridge, resource: { kind: "window", index: WINDOW_INDEX[kind] }, kind, size: 0, align: granularity(kind), register: undefined, inside: inside.filter((each) => windowKind(each.kind, prefetchable) === kind), offset: 0, base: undefined, dropped: false }));
};

/** Everything on a bus that wants addresses; switches decoding off to look. */
export const collectDemands = (bus: ScannedBus, policy: FirmwarePolicy): Demand[] =>
  bus.functions.flatMap((fn) => [...ownDemands(fn, policy), ...(fn.below ? bridgeDemands(fn, fn.below, policy) : [])]);

const alignUp = (value: number, align: number): number => Math.ceil(value / align) * align;

/** Largest alignment first leaves the smallest gaps. */
export const byAlignment = (a: Demand, b: Demand): number => b.align - a.align || b.size - a.size;

/** Works out sizes, alignments and inner offsets of a window from what is still inside. */
export const measure = (demand: Demand): void => {
  if (!demand.inside) return;
  const wanted = demand.inside.filter((each) => {
    measure(each);
    return !each.dropped && each.size > 0;
  });
  let end = 0;
  demand.align = granularity(demand.kind);
  for (const each of wanted.sort(byAlignment)) {
    each.offset = alignUp(end, each.align);
    end = each.offset + each.size;
    demand.align = Math.max(demand.align, each.align);
  }
  demand.size = alignUp(end, granularity(demand.kind));
};
