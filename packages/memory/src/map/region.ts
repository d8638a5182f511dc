import { hex, PHYSICAL_LIMIT, type Hpa } from "../address.ts";
import type { AddressSpace, MmioHandler, PhysicalMemory } from "../address-space.ts";
import { AliasBacking } from "./alias-backing.ts";
import { MmioBacking, RomBacking, WindowBacking, type Backing } from "./backing.ts";

/** Where a region is and what wins where two overlap. */
interface Placement<A extends number> {
  /** What people call it: "RAM below 4 GiB", "VGA window". */
  readonly name: string;
  /** First address. */
  readonly start: A;
  /** Higher wins. Default 0. Regions of one priority may not overlap while enabled. */
  readonly priority?: number;
  /** Default true; a disabled region decodes nothing and may overlap anything. */
  readonly enabled?: boolean;
}

/** RAM: `size` bytes of `memory` from HPA `offset` (default 0). */
export interface RamRegion<A extends number> extends Placement<A> {
  readonly kind: "ram";
  readonly size: number;
  readonly memory: PhysicalMemory;
  readonly offset?: Hpa;
}

/** ROM: reads `bytes`, drops writes. `size` defaults to their length and may not exceed it. */
export interface RomRegion<A extends number> extends Placement<A> {
  readonly kind: "rom";
  readonly size?: number;
  readonly bytes: Uint8Array;
}

/** Registers of a device, such as a BAR. */
export interface MmioRegion<A extends number> extends Placement<A> {
  readonly kind: "mmio";
  readonly size: number;
  readonly handler: MmioHandler;
}

/** A window on `size` bytes from `offset` (default 0) of another map, or of the same. */
export interface AliasRegion<A extends number> extends Placement<A> {
  readonly kind: "alias";
  readonly size: number;
  readonly target: AddressSpace<number>;
  readonly offset?: number;
}

/** What can be put into a map. */
export type RegionSpec<A extends number> = RamRegion<A> | RomRegion<A> | MmioRegion<A> | AliasRegion<A>;

/** A region in a map: what `add` gave, to remove, move or disable it later. */
export interface Region<A extends number> {
  readonly name: string;
  readonly kind: RegionSpec<A>["kind"];
  readonly start: A;
  readonly size: number;
  readonly priority: number;
  readonly enabled: boolean;
}

/** A region as its map keeps it. */
export interface PlacedRegion<A extends number> extends Region<A> {
  start: A;
  enabled: boolean;
  readonly backing: Backing;
}

/** Names a region with its range for messages. */
export const nameRegion = ({ name, start, size }: Pick<Region<number>, "name" | "start" | "size">): string => `"${name}" (${hex(start)}–${hex(start + size - 1)})`;

const backingOf = (spec: RegionSpec<number>): Backing => {
  switch (spec.kind) {
    case "ram":
      return new WindowBacking(spec.memory, spec.offset ?? 0);
    case "rom":
      return new RomBacking(spec.bytes);
    case "mmio":
      return new MmioBacking(spec.handler);
    case "alias":
      return new AliasBacking(spec.target, spec.offset ?? 0, spec.name);
  }
};

/** @throws RangeError when the range is empty, past 2^52 or not whole bytes */
export const demandRange = (name: string, start: number, size: number): void => {
  if (!Number.isInteger(start) || !Number.isInteger(size) || start < 0 || size <= 0 || start + size > PHYSICAL_LIMIT)
    throw new RangeError(`Region "${name}" of ${size} bytes at ${start} is impossible: a region has at least one byte and ends at or below ${hex(PHYSICAL_LIMIT)}.`);
};

/** Checks a region and makes what answers for it. */
export const placeRegion = <A extends number>(spec: RegionSpec<A>): PlacedRegion<A> => {
  const size = spec.kind === "rom" ? (spec.size ?? spec.bytes.length) : spec.size;
  const { name, kind, start, priority = 0, enabled = true } = spec;
  demandRange(name, start, size);
  if (!Number.isInteger(priority)) throw new RangeError(`Region "${name}" has priority ${priority}; priorities are integers.`);
  if (spec.kind === "rom" && size > spec.bytes.length) throw new RangeError(`Region "${name}" is ${hex(size)} bytes long but its ROM has ${hex(spec.bytes.length)}; make the region as long as the ROM or shorter.`);
  return { name, kind, start, size, priority, enabled, backing: backingOf(spec) };
};
