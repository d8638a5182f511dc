import type { Pages } from "../pages.ts";
import type { Random } from "../random.ts";
import type { EntryWords } from "./device-entries.ts";

/** An interrupt remapping table entry: low and high quadword; of 32 bits in the low one alone. */
type RemapEntry = readonly [bigint, bigint];

/** A device's interrupt fields, and its table. */
export interface InterruptTable {
  readonly words: EntryWords;
  /** Entries that were written, below 2^IntTabLen; what is beyond reads zeros. */
  readonly entries: readonly { readonly at: number; readonly index: number; readonly value: RemapEntry }[];
  /** Their indexes. */
  readonly indexes: readonly number[];
  /** IntCtl=1. */
  readonly forwards: boolean;
  /** SMIs pass; QEMU blocks them. */
  readonly smisPass: boolean;
  /** Another entry of its format. */
  readonly newEntry: () => RemapEntry;
}

const IV = 1n;
/** INITPass, EIntPass, NMIPass, Lint0Pass, Lint1Pass and IG. */
const PASS_BITS: readonly number[] = [56, 57, 58, 62, 63, 5];
/** Pages that hold 2048 entries of 128 bits behind any root: QEMU reads beyond IntTabLen, and finds zeros. */
const TABLE_PAGES = 16;
const ROOT_ALIGNMENT = 128;
/** Message types 0 and 1 make indexes up to here. */
const INDEXES = 512;

/** One entry; QEMU ignores reserved bits of those of 32 bits, so that they are left out. AMD-Vi §2.2.5.1, §2.2.5.2. */
const remapEntry = (random: Random, wide: boolean): RemapEntry => {
  // Away from processor 0, which stands still and must go on doing so.
  const destination = BigInt(random.between(0x10, 0xf0));
  const vector = BigInt(random.between(0x10, 0xfe));
  const type = BigInt(random.pick([0, 0, 0, 1, 1, random.between(2, 7)]));
  const flags = (random.chance(0.9) ? 1n : 0n) | (BigInt(random.below(2)) << 1n) | (type << 2n) | (BigInt(random.below(4)) << 5n) | (random.chance(0.08) ? 1n << 7n : 0n);
  if (!wide) return [flags | (destination << 8n) | (vector << 16n), 0n];
  const other = random.chance(0.5);
  return [flags | (destination << 8n) | (other ? random.wide() & ~0xffffn : 0n), vector | (other ? random.wide() & ~0xffn : 0n)];
};

/** The DMA half: nobody does DMA, but QEMU judges its reserved bits for messages too, and those of both halves whatever V and IV are. */
const dmaHalf = (random: Random): readonly [bigint, bigint] => (random.chance(0.5) ? [random.wide() & ~0x8000_0000_0000_007cn & (random.chance(0.5) ? ~1n : -1n), random.wide()] : [3n, 0n]);

/** A device table entry's interrupt half, with its table. AMD-Vi §2.2.2, Table 7; §2.2.5. */
export const interruptEntry = (random: Random, pages: Pages, wide: boolean): InterruptTable => {
  const first = pages.take(TABLE_PAGES) * 4096;
  const root = first + ROOT_ALIGNMENT * random.below(32);
  const kind = random.below(20);
  const length = kind === 0 ? random.between(12, 15) : random.between(0, 11);
  const control = kind === 1 || kind === 2 ? 0 : kind === 3 ? 3 : kind === 4 ? 1 : 2;
  const count = kind === 0 ? 0 : random.between(1, 8);
  const below = Math.min(2 ** length, INDEXES);
  const indexes = [...new Set(Array.from({ length: count }, () => random.below(below)))];
  const newEntry = (): RemapEntry => remapEntry(random, wide);
  const entries = indexes.map((index) => ({ at: root + index * (wide ? 16 : 4), index, value: newEntry() }));
  const passes = PASS_BITS.reduce((all, bit) => all | (random.chance(0.5) ? 1n << BigInt(bit) : 0n), 0n);
  const valid = kind === 5 ? 0n : IV;
  const table = BigInt(kind === 6 ? pages.hole() * 4096 : root);
  const reserved = kind === 7 ? random.pick<readonly [bigint, bigint]>([[1n << BigInt(random.between(52, 53)), 0n], [0n, 1n << BigInt(random.pick([0, 7, 14, 48, 53]))]]) : ([0n, 0n] as const);
  const [low, high] = dmaHalf(random);
  return {
    words: [low, high, valid | (BigInt(length) << 1n) | table | passes | (BigInt(control) << 60n) | reserved[0], (BigInt(random.below(1024)) << 54n) | reserved[1]],
    entries, indexes, forwards: control === 1, smisPass: valid === 0n || ((high >> 40n) & 3n) === 1n, newEntry,
  };
};
