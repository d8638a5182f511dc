import { write, type Pages } from "../pages.ts";
import type { Action } from "../program.ts";
import type { Random } from "../random.ts";
import type { AddressSpace, Target } from "../transfers.ts";
import { isSpecial } from "./special-addresses.ts";

/** A target and the entries that map it. */
export interface HostTarget extends Target {
  /** log2 of the bytes that the leaf maps. */
  readonly shift: number;
  /** Entries that hold the leaf, in a row: several for sizes between the levels'. */
  readonly copies: number;
  /** The entry that leads to the leaf's table, unless that is the top one. */
  readonly directory: { readonly at: number; readonly value: bigint } | undefined;
}

/** A host (v1) page table with its targets. AMD-Vi §2.2.3 "I/O Page Tables for Host Translations". */
export interface HostSpace extends AddressSpace {
  /** Mode: 1 to 6. */
  readonly levels: number;
  readonly root: number;
  readonly targets: readonly HostTarget[];
  readonly setup: readonly Action[];
  /** An address on the way to which an entry is empty. */
  readonly stray: () => Target | undefined;
}

const PRESENT = 1n;
const R = 1n << 61n;
const W = 2n << 61n;
const RW = 3n << 61n;
/** No leaf is at level 6; QEMU takes one there. */
const LEAF_LEVELS = 5;
const SIZED = 7n;
const TRIES = 40;
const shiftOf = (level: number): number => 12 + 9 * (level - 1);

/** Bits that entries ignore, or that matter to nothing a program does: A and D without HASup, U and FC of a page. AMD-Vi §2.2.3, Tables 15 to 18. */
const ignoredBits = (random: Random, leaf: boolean): bigint => {
  if (random.chance(0.6)) return 0n;
  const low = random.wide() & 0x1fen;
  return low | (random.chance(0.5) ? 1n << 63n : 0n) | (leaf ? BigInt(random.below(4)) << 59n : 0n);
};

/**
 * What is wrong on the way to a target. QEMU does not look at reserved bits of entries (58:52), at PR of a leaf that has
 * rights, at skipped address bits, nor whether Next Level goes down, so that none of these is among them but in forms
 * that end the same.
 */
type Flaw = "none" | "read-only" | "write-only" | "no rights" | "read-only above" | "write-only above" | "rights exclude each other" | "not present" | "zero" | "unreadable" | "beyond PAsize" | "to nowhere" | "level does not go down";
const FLAWS: readonly Flaw[] = [...new Array<Flaw>(10).fill("none"), "read-only", "write-only", "no rights", "read-only above", "write-only above", "rights exclude each other", "not present", "zero", "unreadable", "beyond PAsize", "to nowhere", "level does not go down"];
const RIGHTS_ABOVE: Readonly<Partial<Record<Flaw, bigint>>> = { "read-only above": R, "write-only above": W, "rights exclude each other": R };
const RIGHTS_OF_LEAF: Readonly<Partial<Record<Flaw, bigint>>> = { "read-only": R, "write-only": W, "no rights": 0n, "rights exclude each other": W };

interface Table {
  readonly page: number;
  readonly level: number;
  /** Tables that other targets may share; `undefined` for what is taken otherwise. */
  readonly entries: Map<number, Table | undefined>;
  /** The entry that leads here. */
  readonly directory: HostTarget["directory"];
}

/** What an entry leads to that other targets may share. */
const sharedIn = ({ entries }: Table): [number, Table][] => [...entries].filter((entry): entry is [number, Table] => entry[1] !== undefined);

/** Builds one host table: random depth, random places, sizes, skipped levels, and one flaw at most on each way down. */
export class HostTable {
  readonly #random: Random;
  readonly #pages: Pages;
  readonly #setup: Action[] = [];
  readonly #targets: HostTarget[] = [];
  readonly #root: Table;

  constructor(random: Random, pages: Pages) {
    this.#random = random;
    this.#pages = pages;
    this.#root = { page: pages.take(), level: random.pick([1, 2, 3, 3, 3, 4, 4, 4, 5, 6, 6]), entries: new Map(), directory: undefined };
  }

  build(id: number, count: number): HostSpace {
    for (let i = 0; i < count; i++) this.#target();
    return { id, levels: this.#root.level, root: this.#root.page, targets: this.#targets, setup: this.#setup, stray: () => this.#stray() };
  }

  #target(): void {
    const random = this.#random;
    const flaw = random.pick(FLAWS);
    const leafLevel = Math.min(random.pick([1, 1, 1, 2, 2, 3, 4, 5]), this.#root.level);
    const flawLevel = random.between(leafLevel, this.#root.level);
    let table = this.#root;
    let iova = 0n;
    let rightsAbove = RIGHTS_ABOVE[flaw];
    /** Of a directory that is not present, though all below it is. */
    let missing = false;
    while (table.level > leafLevel) {
      const { level } = table;
      const shared = sharedIn(table);
      if (shared.length > 0 && rightsAbove === undefined && random.chance(0.5)) {
        const [index, child] = random.pick(shared);
        iova |= BigInt(index) << BigInt(shiftOf(level));
        table = child;
        continue;
      }
      const index = this.#indexFor(table, (at) => !table.entries.has(at));
      if (index === undefined) return;
      iova |= BigInt(index) << BigInt(shiftOf(level));
      const hides = level === flawLevel && flaw === "not present" && random.chance(0.5);
      if (level === flawLevel && !hides && this.#breakDirectory(table, index, iova, flaw)) return;
      missing ||= hides;
      const next = level > 2 && random.chance(0.25) ? random.between(1, level - 1) : level - 1;
      const page = this.#pages.take();
      const directory = { at: entryAt(table, index), value: (BigInt(page) << 12n) | (BigInt(next) << 9n) | (hides ? 0n : PRESENT) | (rightsAbove ?? RW) | ignoredBits(random, false) };
      const child: Table = { page, level: next, entries: new Map(), directory };
      this.#setup.push(write(directory.at, directory.value));
      // What does not let everything through leads to this target alone.
      table.entries.set(index, rightsAbove === undefined && !hides ? child : undefined);
      rightsAbove = undefined;
      table = child;
    }
    this.#leaf(table, iova, missing ? "none" : flaw, missing);
  }

  /** A random index that suits, in the table's range; undefined when none does: large pages fill a table with few. */
  #indexFor({ level }: Table, suits: (index: number) => boolean): number | undefined {
    const suitable = Array.from({ length: level === 6 ? 128 : 512 }, (_, index) => index).filter(suits);
    return suitable.length === 0 ? undefined : this.#random.pick(suitable);
  }

  /** Makes a directory entry that nothing gets past; false when the flaw is of another kind. */
  #breakDirectory(table: Table, index: number, iova: bigint, flaw: Flaw): boolean {
    const random = this.#random;
    const down = BigInt(table.level - 1) << 9n;
    const entry = (page: number, next: bigint): bigint => (BigInt(page) << 12n) | next | PRESENT | RW;
    const value =
      flaw === "zero" ? 0n
      : flaw === "not present" ? this.#notPresent()
      : flaw === "unreadable" ? entry(this.#pages.hole(), down)
      : flaw === "beyond PAsize" ? entry(this.#pages.take(), down) | (1n << BigInt(random.between(40, 51)))
      // Into a table where everything is empty.
      : flaw === "level does not go down" ? entry(this.#pages.take(), BigInt(random.between(table.level, 6)) << 9n)
      : undefined;
    if (value === undefined) return false;
    this.#broken(table, index, iova, value, 1);
    return true;
  }

  /** PR=0 without rights; QEMU takes a leaf that has some. */
  #notPresent(): bigint {
    return this.#random.wide() & ~(RW | PRESENT);
  }

  #leaf(table: Table, above: bigint, flaw: Flaw, missing: boolean): void {
    const random = this.#random;
    const { level } = table;
    // Up to 2^52 bytes: the size code has no room for more.
    const bits = random.chance(0.5) ? random.between(1, level === LEAF_LEVELS ? 4 : 8) : 0;
    const copies = 2 ** bits;
    const free = (from: number, count: number): boolean => Array.from({ length: count }, (_, i) => from + i).every((at) => at < 512 && !table.entries.has(at));
    // After a page of 4 KiB nothing is mapped, for transfers that go on there.
    const needed = level === 1 && bits === 0 ? 2 : copies;
    let index = -1;
    for (let tries = 0; tries < TRIES && index < 0; tries++) {
      const at = random.below(512 / copies) * copies;
      if (free(at, needed)) index = at;
    }
    if (index < 0 || level > LEAF_LEVELS) return;
    for (let i = 0; i < needed; i++) table.entries.set(index + i, undefined);
    const iova = above | (BigInt(index) << BigInt(shiftOf(level)));
    if (flaw === "zero" || flaw === "not present") {
      this.#broken(table, index, iova, flaw === "zero" ? 0n : this.#notPresent(), copies);
      return;
    }
    const shift = shiftOf(level) + bits;
    const inPages = 1n << BigInt(shift - 12);
    const pages = shift === 12 ? 1 : 2;
    const page = BigInt(flaw === "to nowhere" ? this.#pages.hole() & ~1 : this.#pages.take(pages));
    const within = page & (inPages - 1n);
    // The size code: ones up to the bit below half the size.
    const code = bits === 0 ? 0n : (inPages >> 1n) - 1n;
    const beyond = flaw === "beyond PAsize" && shift <= 51 ? 1n << BigInt(random.between(Math.max(40, shift), 51)) : 0n;
    const value = ((page - within) << 12n) | (code << 12n) | (bits === 0 ? 0n : SIZED << 9n) | PRESENT | (RIGHTS_OF_LEAF[flaw] ?? RW) | beyond | ignoredBits(random, true);
    this.#put(table, index, value, copies);
    const target = iova + (within << 12n);
    if (isSpecial(target)) return;
    const reaches = flaw !== "to nowhere" && beyond === 0n && !missing;
    this.#targets.push({ iova: target, size: 4096 * pages, memory: reaches ? Number(page) * 4096 : undefined, leaf: { at: entryAt(table, index), value, level }, shift, copies, directory: table.directory, rightsAtLeaf: RIGHTS_ABOVE[flaw] === undefined });
  }

  #put(table: Table, index: number, value: bigint, copies: number): void {
    this.#setup.push(write(entryAt(table, index), ...new Array<bigint>(copies).fill(value)));
  }

  #broken(table: Table, index: number, iova: bigint, value: bigint, copies: number): void {
    this.#put(table, index, value, copies);
    table.entries.set(index, undefined);
    const shift = shiftOf(table.level);
    const target = iova + this.#inside(shift);
    if (!isSpecial(target)) this.#targets.push({ iova: target, size: 4096, memory: undefined, leaf: undefined, shift, copies, directory: undefined });
  }

  /** A page inside 2^shift bytes, but the last of several: transfers may go on in the next. */
  #inside(shift: number): bigint {
    const page = this.#random.wide() & ((1n << BigInt(shift)) - 1n) & ~0xfffn;
    return shift > 12 && page === (1n << BigInt(shift)) - 0x1000n ? 0n : page;
  }

  #stray(): Target | undefined {
    let table = this.#root;
    let iova = 0n;
    for (;;) {
      const { level, entries } = table;
      const deeper = sharedIn(table);
      if (deeper.length > 0 && this.#random.chance(0.7)) {
        const [index, child] = this.#random.pick(deeper);
        iova |= BigInt(index) << BigInt(shiftOf(level));
        table = child;
        continue;
      }
      // With the next entry empty too, where a page is all that the entry covers.
      const index = this.#indexFor(table, (at) => !entries.has(at) && (level > 1 || (at < 511 && !entries.has(at + 1))));
      if (index === undefined) return undefined;
      const page = iova + (BigInt(index) << BigInt(shiftOf(level))) + this.#inside(shiftOf(level));
      return isSpecial(page) ? undefined : { iova: page, size: 4096, memory: undefined, leaf: undefined };
    }
  }
}

const entryAt = ({ page }: Table, index: number): number => page * 4096 + 8 * index;
