import { LEAF_LEVELS, visitedLevels, type PageSize, type WalkMode } from "./modes.ts";
import type { WalkSettings } from "./settings.ts";

/** Host memory that pages are given: from 5 GiB on, which every page size is aligned to. */
const HOST = 0x14_0000;
/** Guest memory that a guest's pages are given, from 2 GiB on. */
const GUEST = 0x8_0000;
/** Odd parts of the addresses, so that none is taken for another. */
const INSIDE = { "4K": 0x1_2345, "2M": 0x1_2200, "1G": 0 } as const;

export const hostPage = (size: PageSize): number => HOST + INSIDE[size];
export const guestPage = (size: PageSize): number => GUEST + (INSIDE[size] >>> 1) - ((INSIDE[size] >>> 1) % 2 ** (9 * (LEAF_LEVELS[size] - 1)));

/** Page number that is mapped: inside what the levels translate, with nothing set in levels left out. */
export const mappedPage = (mode: WalkMode, { mapped, size, skip }: Pick<WalkSettings, "mapped" | "size" | "skip">): number => {
  const asked = Number((BigInt(mapped) >> 12n) & ((1n << 45n) - 1n));
  const visited = visitedLevels(mode, size, skip);
  let page = 0;
  for (const level of visited) page += (Math.floor(asked / 2 ** (9 * (level - 1))) % 512) * 2 ** (9 * (level - 1));
  return page;
};
