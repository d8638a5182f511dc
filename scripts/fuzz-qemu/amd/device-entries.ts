import type { Pages } from "../pages.ts";
import type { Random } from "../random.ts";
import type { Device } from "../transfers.ts";
import type { HostSpace } from "./host-table.ts";

/** The four quadwords of a device table entry. */
export type EntryWords = readonly [bigint, bigint, bigint, bigint];

/** A device with what its entry says. */
export interface EnteredDevice extends Device<HostSpace> {
  readonly words: EntryWords;
  /** DomainID, where the entry has one. */
  readonly id: number;
}

/** Bits that QEMU takes for reserved, whichever half of an entry is valid. */
const JUDGED_BY_QEMU: EntryWords = [0x8000_0000_0000_007cn, 0n, 3n << 52n, 0x003f_0000_0000_7fffn];
const V = 1n;
const TV = 2n;
const IR_SHIFT = 61n;

const field = (random: Random, width: number, at: number): bigint => BigInt(random.below(2 ** width)) << BigInt(at);

/**
 * Whatever an entry may hold beside what it is about: HAD, page requests, guest tables that nobody asks for (one level
 * of GCR3 is all that is supported), event suppression, caching hints. GIoV and SATS are reserved here and QEMU takes them.
 */
const besides = (random: Random): EntryWords => {
  if (random.chance(0.4)) return [0n, 0n, 0n, 0n];
  const guest = field(random, 1, 55) | field(random, 3, 58);
  const low = field(random, 2, 7) | field(random, 1, 52) | field(random, 1, 53) | guest;
  const high = (BigInt(random.below(0x1_0000)) << 16n) | field(random, 10, 32) | (BigInt(random.below(2 ** 21)) << 43n);
  // The interrupt half: not valid, so that what else is in it does not count.
  const third = random.wide() & ~V & ~(JUDGED_BY_QEMU[2] | (2n << 54n));
  const fourth = random.wide() & ~JUDGED_BY_QEMU[3];
  return [low, high, third, fourth];
};

const or = (a: EntryWords, b: EntryWords): EntryWords => [a[0] | b[0], a[1] | b[1], a[2] | b[2], a[3] | b[3]];

/**
 * A random entry: mostly sound, with every flaw on which QEMU and the architecture agree. AMD-Vi §2.2.2, Tables 7 and 8.
 * @param unused a DomainID for entries whose table is none: translations are tagged by domain, so that what another
 *               device of the domain left behind could answer
 */
export const deviceEntry = (random: Random, pages: Pages, bdf: string, domain: HostSpace, unused: number): EnteredDevice => {
  const id = BigInt(domain.id);
  const rights = BigInt(random.pick([3, 3, 3, 3, 3, 1, 2, 0])) << IR_SHIFT;
  const paged = (root: bigint, mode: number, tag = id): EntryWords => or(besides(random), [V | TV | (BigInt(mode) << 9n) | root | rights, tag, 0n, 0n]);
  const root = BigInt(domain.root) << 12n;
  const no = { bdf, id: domain.id, domain: undefined };
  switch (random.below(16)) {
    case 0:
      // V=0: nothing else counts; QEMU still judges reserved bits.
      return { ...no, words: [random.wide() & ~V & ~JUDGED_BY_QEMU[0], random.wide(), random.wide() & ~V & ~JUDGED_BY_QEMU[2], random.wide() & ~JUDGED_BY_QEMU[3]], passes: true };
    case 1:
      // TV=0: with rights QEMU lets it pass.
      return { ...no, words: or(besides(random), [V | root | (BigInt(random.below(8)) << 9n), id, 0n, 0n]) };
    case 2:
    case 3:
      return { ...no, words: or(besides(random), [V | TV | rights | (random.chance(0.5) ? root : 0n), id, 0n, 0n]), passes: true };
    case 4:
      return { ...no, words: paged(root, 7) };
    case 5:
      return { ...no, words: or(paged(root, domain.levels), [1n << BigInt(random.pick([2, 3, 4, 5, 6, 63])), 0n, 0n, 0n]) };
    case 6:
      return { ...no, id: unused, words: paged(random.chance(0.5) ? BigInt(pages.hole()) << 12n : root | (1n << BigInt(random.between(40, 51))), domain.levels, BigInt(unused)) };
    default:
      return { bdf, id: domain.id, domain, allRights: rights === 3n << IR_SHIFT, words: paged(root, domain.levels) };
  }
};
