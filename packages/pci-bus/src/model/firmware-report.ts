import type { FunctionAddress } from "../requester-id.ts";
import type { Space } from "./bridge-windows.ts";

/** The bus numbers below a bridge. */
export interface BusRange {
  readonly secondary: number;
  /** Inclusive. */
  readonly subordinate: number;
}

/** What firmware decides; everything has a default. */
export interface FirmwarePolicy {
  /** 64-bit prefetchable resources may stand above 4 GiB; default true. */
  readonly above4G?: boolean;
  /** Kept free behind hot-plug ports: bus numbers and bytes. The default is 4 buses, 4 KiB of I/O, 2 MiB of each kind of memory. */
  readonly hotPlug?: Partial<HotPlugReserve>;
  /** Switch ARI forwarding on where port and device have it; default true. */
  readonly ari?: boolean;
  /** Keep bus numbers and memory for all virtual functions; default true. */
  readonly virtualFunctions?: boolean;
  /** Give expansion ROMs an address (they stay disabled); default true. */
  readonly roms?: boolean;
  /** Set Bus Master Enable of endpoints too; bridges always get it. Default true. */
  readonly busMaster?: boolean;
  /** The display that gets the legacy VGA ranges; "first" is the default. */
  readonly vga?: "first" | "none" | FunctionAddress;
  /** Numbers that the buses below a bridge are to get, such as another firmware gave; where they are taken, or undefined, the next free ones. */
  readonly busNumbers?: (bridge: FunctionAddress) => BusRange | undefined;
}

/** What a hot-plug port keeps for the device to come. */
export interface HotPlugReserve {
  readonly buses: number;
  readonly io: number;
  readonly memory: number;
  readonly prefetchable: number;
}

/** Something that needs addresses. */
export interface ResourceName {
  readonly kind: "bar" | "rom" | "vf-bar" | "window" | "reserve";
  /** BAR index; of a window or reserve 0 I/O, 1 memory, 2 prefetchable memory. */
  readonly index: number;
}

/** A function that enumeration found. */
export interface EnumeratedFunction {
  readonly address: FunctionAddress;
  /** 16 bits each. */
  readonly vendor: number;
  readonly device: number;
  /** 24 bits. */
  readonly classCode: number;
  /** The bridge above; undefined on a root bus. */
  readonly parent: FunctionAddress | undefined;
  /** Of a bridge that got bus numbers. */
  readonly secondaryBus?: number;
  readonly subordinateBus?: number;
}

/** A resource and where it was put. */
export interface Placement {
  readonly address: FunctionAddress;
  readonly resource: ResourceName;
  readonly space: Space;
  readonly base: number;
  /** Bytes; of VF BARs all of them together. */
  readonly size: number;
  readonly prefetchable: boolean;
}

/** A resource that found no room and stays disabled. */
export interface Shortage {
  readonly address: FunctionAddress;
  /** Undefined when bus numbers ran out. */
  readonly resource: ResourceName | undefined;
  /** The bridge on the root bus whose window could not be made large enough; undefined for a function of the root bus itself. */
  readonly bridge: FunctionAddress | undefined;
  /** Bytes it needs. */
  readonly size: number;
  /** Bytes that the largest free range of its kind lacked. */
  readonly short: number;
  /** The same as a sentence. */
  readonly text: string;
}

/** What enumeration did. */
export interface EnumerationReport {
  readonly functions: readonly EnumeratedFunction[];
  readonly placements: readonly Placement[];
  readonly shortages: readonly Shortage[];
  /** The display that owns the legacy VGA ranges. */
  readonly vga: FunctionAddress | undefined;
}
