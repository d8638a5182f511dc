import type { Hpa } from "../address.ts";
import type { AddressSpace } from "../address-space.ts";
import { pieceSize, UndecodedBacking, type Backing } from "./backing.ts";
import { flatten, type FlatRange } from "./flatten.ts";
import { demandRange, nameRegion, placeRegion, type PlacedRegion, type Region, type RegionSpec } from "./region.ts";

/** One line of a map's description: a range of addresses and the region that decodes it. */
export interface MapRange<A extends number> {
  readonly start: A;
  /** Last address, inclusive. */
  readonly last: A;
  readonly name: string;
  readonly kind: Region<A>["kind"];
  readonly priority: number;
  /** Offset in the region at which this range starts: not 0 where a higher priority covers the region's beginning. */
  readonly offset: number;
}

const UNDECODED = new UndecodedBacking();
/** Halves of an 8-byte access that crosses a border, on its way to the caller. */
const LOW_HALF = 0;
const HIGH_HALF = 1;

/**
 * Address decoding as a host bridge or a processor's system agent does it: regions of RAM, ROM, device registers and aliases
 * with priorities; the highest enabled one decodes an address. Where none does, reads are all ones and writes are dropped.
 * An access inside one region goes to it whole, 8 bytes included. One that crosses a border is cut there, and each part
 * goes out lowest address first in the largest naturally aligned pieces of at most 4 bytes.
 */
export class MemoryMap<A extends number = Hpa> implements AddressSpace<A> {
  /** What people call this address space. */
  readonly name: string;
  readonly #regions = new Set<PlacedRegion<A>>();
  #flat: FlatRange<A>[] | undefined = undefined;
  // The range hit last: [#start, #end) is answered by #backing, whose offset 0 is address #base.
  #start = Infinity;
  #end = -Infinity;
  #base = 0;
  #backing: Backing = UNDECODED;

  constructor(name: string) {
    this.name = name;
  }

  /**
   * Adds a region.
   * @returns what to give to `remove`, `move` and `enable`
   * @throws RangeError when its range is impossible or, enabled, overlaps an enabled region of the same priority
   */
  add(spec: RegionSpec<A>): Region<A> {
    const region = placeRegion(spec);
    if (region.enabled) this.#demandRoom(region, region.start);
    this.#regions.add(region);
    this.#flat = undefined;
    this.#forget();
    return region;
  }

  /** Removes a region. @throws TypeError when it is not in this map */
  remove(region: Region<A>): void {
    this.#regions.delete(this.#own(region));
    this.#flat = undefined;
    this.#forget();
  }

  /**
   * Lets a region decode or not, as a function's Memory Space Enable bit does.
   * @throws RangeError when it would overlap an enabled region of the same priority
   */
  enable(region: Region<A>, enabled = true): void {
    const placed = this.#own(region);
    if (enabled && !placed.enabled) this.#demandRoom(placed, placed.start);
    placed.enabled = enabled;
    this.#flat = undefined;
    this.#forget();
  }

  /** Moves a region, as writing a BAR does. @throws RangeError as `add` does; the region then stays where it was */
  move(region: Region<A>, start: A): void {
    const placed = this.#own(region);
    demandRange(placed.name, start, placed.size);
    if (placed.enabled) this.#demandRoom(placed, start);
    placed.start = start;
    this.#flat = undefined;
    this.#forget();
  }

  /** The regions, enabled or not, in the order they were added. */
  get regions(): readonly Region<A>[] {
    return [...this.#regions];
  }

  /** What decodes where, by ascending address: disjoint ranges, without those that nothing decodes. */
  describe(): readonly MapRange<A>[] {
    return this.#ranges().flatMap(({ start, end, region }) =>
      region === undefined ? [] : [{ start: start as A, last: (end - 1) as A, name: region.name, kind: region.kind, priority: region.priority, offset: start - region.start }],
    );
  }

  read8(at: A): number {
    this.#locate(at);
    return this.#backing.read8(at - this.#base);
  }

  read16(at: A): number {
    this.#locate(at);
    return at + 2 <= this.#end ? this.#backing.read16(at - this.#base) : this.#readSplit(at, 2);
  }

  read32(at: A): number {
    this.#locate(at);
    return at + 4 <= this.#end ? this.#backing.read32(at - this.#base) : this.#readSplit(at, 4);
  }

  read64(at: A, into: Uint32Array): void {
    this.#locate(at);
    if (at + 8 <= this.#end) {
      this.#backing.read64(at - this.#base, into);
      return;
    }
    into[LOW_HALF] = this.read32(at);
    into[HIGH_HALF] = this.read32((at + 4) as A);
  }

  write8(at: A, value: number): void {
    this.#locate(at);
    this.#backing.write8(at - this.#base, value);
  }

  write16(at: A, value: number): void {
    this.#locate(at);
    if (at + 2 <= this.#end) this.#backing.write16(at - this.#base, value);
    else this.#writeSplit(at, 2, value);
  }

  write32(at: A, value: number): void {
    this.#locate(at);
    if (at + 4 <= this.#end) this.#backing.write32(at - this.#base, value);
    else this.#writeSplit(at, 4, value);
  }

  write64(at: A, low: number, high: number): void {
    this.#locate(at);
    if (at + 8 <= this.#end) {
      this.#backing.write64(at - this.#base, low, high);
      return;
    }
    this.write32(at, low);
    this.write32((at + 4) as A, high);
  }

  readInto(at: A, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const from = at + done;
      this.#locate(from);
      const step = Math.min(bytes.length - done, this.#end - from);
      this.#backing.readInto(from - this.#base, step === bytes.length ? bytes : bytes.subarray(done, done + step));
      done += step;
    }
  }

  writeFrom(at: A, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const to = at + done;
      this.#locate(to);
      const step = Math.min(bytes.length - done, this.#end - to);
      this.#backing.writeFrom(to - this.#base, step === bytes.length ? bytes : bytes.subarray(done, done + step));
      done += step;
    }
  }

  #readSplit(at: number, size: number): number {
    let value = 0;
    for (let done = 0; done < size; ) {
      const from = at + done;
      this.#locate(from);
      const piece = pieceSize(from, Math.min(size - done, this.#end - from));
      const offset = from - this.#base;
      // A piece of a crossing access of at most 4 bytes is 1 or 2 bytes long: 4 would not cross.
      value |= (piece === 1 ? this.#backing.read8(offset) : this.#backing.read16(offset)) << (8 * done);
      done += piece;
    }
    return value >>> 0;
  }

  #writeSplit(at: number, size: number, value: number): void {
    for (let done = 0; done < size; ) {
      const to = at + done;
      this.#locate(to);
      const piece = pieceSize(to, Math.min(size - done, this.#end - to));
      const offset = to - this.#base;
      if (piece === 1) this.#backing.write8(offset, (value >>> (8 * done)) & 0xff);
      else this.#backing.write16(offset, (value >>> (8 * done)) & 0xffff);
      done += piece;
    }
  }

  /** Makes the range hit last the one around `at`. */
  #locate(at: number): void {
    if (at >= this.#start && at < this.#end) return;
    const flat = this.#ranges();
    let low = 0;
    let high = flat.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((flat[middle] as FlatRange<A>).end <= at) low = middle + 1;
      else high = middle;
    }
    const { start, end, region } = flat[low] as FlatRange<A>; // the ranges cover every address
    this.#start = start;
    this.#end = end;
    this.#base = region?.start ?? 0;
    this.#backing = region?.backing ?? UNDECODED;
  }

  #ranges(): FlatRange<A>[] {
    return (this.#flat ??= flatten(this.#regions));
  }

  #forget(): void {
    this.#start = Infinity;
    this.#end = -Infinity;
  }

  #own(region: Region<A>): PlacedRegion<A> {
    const placed = region as PlacedRegion<A>;
    if (!this.#regions.has(placed)) throw new TypeError(`Region ${nameRegion(region)} is not in the map "${this.name}".`);
    return placed;
  }

  #demandRoom(region: PlacedRegion<A>, start: A): void {
    for (const other of this.#regions)
      if (other !== region && other.enabled && other.priority === region.priority && start < other.start + other.size && other.start < start + region.size)
        throw new RangeError(
          `Region ${nameRegion({ ...region, start })} overlaps region ${nameRegion(other)} of the map "${this.name}" at the same priority ${region.priority}; give one of them a higher priority, or disable one.`,
        );
  }
}
