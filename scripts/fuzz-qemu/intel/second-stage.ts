import { write, type Pages } from "../pages.ts";
import type { Action } from "../program.ts";
import type { Random } from "../random.ts";
import type { AddressSpace, Target } from "../transfers.ts";
import type { Configuration } from "./configuration.ts";

/** A second-stage table with its targets. VT-d §3.7 "Second-Stage Translation". */
export interface Domain extends AddressSpace {
  readonly levels: 3 | 4;
  readonly root: number;
  readonly setup: readonly Action[];
}

const R = 1n;
const W = 2n;
const RW = 3n;
const shiftOf = (level: number): bigint => BigInt(12 + 9 * (level - 1));

/** Bits that second-stage entries ignore. VT-d §9.8 "Second-Stage Paging Entries"; leaf entries ignore memory types too while nothing enables them. */
const ignoredBits = (random: Random, leaf: boolean): bigint => {
  if (random.chance(0.6)) return 0n;
  const software = (BigInt(random.below(1024)) << 52n) | (random.chance(0.5) ? 1n << 63n : 0n) | (random.chance(0.5) ? 1n << 10n : 0n);
  return software | (leaf ? BigInt(random.below(32)) << 2n & 0x78n : 0n);
};

type Flaw = "none" | "read-only" | "write-only" | "read-only above" | "write-only above" | "rights exclude each other" | "not present" | "reserved" | "unreadable" | "to nowhere";
const FLAWS: readonly Flaw[] = ["none", "none", "none", "none", "read-only", "write-only", "read-only above", "write-only above", "rights exclude each other", "not present", "reserved", "reserved", "unreadable", "to nowhere"];

/** Builds one second-stage table: random places, random rights, one flaw at most on each way down. */
export class SecondStage {
  readonly #random: Random;
  readonly #pages: Pages;
  readonly #configuration: Configuration;
  readonly #levels: 3 | 4;
  readonly #tables = new Map<string, number>();
  readonly #setup: Action[] = [];
  readonly #targets: Target[] = [];
  readonly #root: number;

  constructor(random: Random, pages: Pages, configuration: Configuration, levels: 3 | 4) {
    this.#random = random;
    this.#pages = pages;
    this.#configuration = configuration;
    this.#levels = levels;
    this.#root = pages.take();
  }

  build(id: number, count: number): Domain {
    const regions = new Set<number>();
    while (regions.size < count) regions.add(this.#random.below(this.#levels === 3 ? 512 : this.#random.chance(0.5) ? 2048 : 2 ** 18));
    // A GiB each: no two targets share an entry below level 3, and at level 4 only sound ones do.
    for (const region of regions) this.#target(BigInt(region) << 30n);
    return { id, levels: this.#levels, root: this.#root, targets: this.#targets, setup: this.#setup };
  }

  #target(base: bigint): void {
    const random = this.#random;
    const flaw = random.pick(FLAWS);
    const leafLevel = random.pick([1, 1, 1, 2, 3]);
    const top = 3;
    const ownTop = this.#levels === 4 && flaw === "reserved" && !this.#tables.has(`3:${base >> 39n}`);
    /** Where the flaw is. Level 4 is shared between targets and mostly stays sound. */
    const flawLevel = ownTop && random.chance(0.7) ? 4 : random.between(leafLevel, top);
    const above = leafLevel < top ? random.between(leafLevel + 1, top) : leafLevel;
    const iova = base | (BigInt(random.below(2 ** 18)) << 12n & ((1n << shiftOf(3)) - 1n) & ~((1n << shiftOf(leafLevel)) - 1n));
    let table = this.#root;
    for (let level: number = this.#levels; level > leafLevel; level--) {
      const index = Number((iova >> shiftOf(level)) & 511n);
      const at = table * 4096 + 8 * index;
      const key = `${level - 1}:${iova >> shiftOf(level)}`;
      const known = this.#tables.get(key);
      if (known !== undefined) {
        table = known;
        continue;
      }
      const here = level === flawLevel;
      if (here && flaw === "not present") {
        this.#broken(at, random.wide() & ~RW, iova, leafLevel);
        return;
      }
      if (here && flaw === "unreadable") {
        this.#broken(at, (BigInt(this.#pages.hole()) << 12n) | RW, iova, leafLevel);
        return;
      }
      const child = this.#pages.take();
      if (here && flaw === "reserved") {
        this.#broken(at, (BigInt(child) << 12n) | RW | this.#reservedBit(level, false), iova, leafLevel);
        return;
      }
      const rights = level !== above || above === leafLevel ? RW : flaw === "read-only above" ? R : flaw === "write-only above" ? W : flaw === "rights exclude each other" ? R : RW;
      this.#setup.push(write(at, (BigInt(child) << 12n) | rights | ignoredBits(random, false)));
      this.#tables.set(key, child);
      table = child;
    }
    this.#leaf(table * 4096 + 8 * Number((iova >> shiftOf(leafLevel)) & 511n), iova, leafLevel, flaw, flawLevel);
  }

  #leaf(at: number, iova: bigint, level: number, flaw: Flaw, flawLevel: number): void {
    const random = this.#random;
    const size = 2 ** Number(shiftOf(level));
    const aligned = BigInt(~(size / 4096 - 1));
    const inRam = flaw === "to nowhere" ? this.#pages.hole() : level === 3 ? random.pick([0x10_0000, 0x14_0000, 0x18_0000, 0x4_0000]) : this.#pages.take(size / 4096);
    const page = BigInt(inRam) & aligned;
    const snoop = this.#configuration.snoopControl && random.chance(0.3) ? 1n << 11n : 0n;
    const value = (page << 12n) | (level > 1 ? 0x80n : random.chance(0.2) ? 0x80n : 0n) | snoop | ignoredBits(random, true);
    if (flawLevel === level && flaw === "not present") {
      this.#broken(at, random.wide() & ~RW, iova, level);
      return;
    }
    if (flawLevel === level && flaw === "reserved") {
      this.#broken(at, value | RW | this.#reservedBit(level, true), iova, level);
      return;
    }
    const rights = flaw === "read-only" ? R : flaw === "write-only" || flaw === "rights exclude each other" ? W : RW;
    this.#setup.push(write(at, value | rights));
    const within = level === 1 ? 0n : BigInt(random.below(Math.min(size / 4096, 2 ** 18))) << 12n;
    // Large pages end at a 4 KiB border somewhere inside; small ones at their own.
    this.#targets.push({ iova: iova | within, size: within === 0n && level === 1 ? 4096 : 8192 > size - Number(within) ? 4096 : 8192, memory: flaw === "to nowhere" ? undefined : Number((page << 12n) | within), leaf: { at, value: value | rights, level } });
  }

  #broken(at: number, value: bigint, iova: bigint, level: number): void {
    this.#setup.push(write(at, value));
    this.#targets.push({ iova: iova | (level > 1 ? BigInt(this.#random.below(16)) << 12n : 0n), size: 4096, memory: undefined, leaf: undefined });
  }

  /** One bit that must be zero in an entry that is otherwise sound. */
  #reservedBit(level: number, leaf: boolean): bigint {
    const { aw, snoopControl, scalable } = this.#configuration;
    const bits = [62, this.#random.between(aw, 51)];
    // In scalable mode QEMU takes SNP of a leaf, with and without ECAP.SC.
    if (!leaf || (!snoopControl && !scalable)) bits.push(11);
    if (level === 4) bits.push(7, 7);
    if (leaf && level > 1) bits.push(12 + this.#random.below(9 * (level - 1)), 11 + 9 * (level - 1));
    return 1n << BigInt(this.#random.pick(bits));
  }
}
