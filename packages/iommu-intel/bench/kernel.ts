/**
 * Bare kernels: typed-array loops of the algorithms that the unit runs, without registers, faults, policies or explanations.
 * Page numbers are two int32 words, results go to an Int32Array.
 */

import type { KernelTranslate } from "../../../scripts/bench/translate-loop.ts";

const SETS = 64;
const WAYS = 4;
const ENTRY = 4;
/** R in a second-stage entry: what the rows ask for. */
export const READ = 1;
/** P and U/S of a first-stage entry. */
const READABLE = 5;
/** Page size bit of both stages. */
const PAGE = 1 << 7;
/** Type and granularity of an IOTLB invalidation of pages, in a descriptor's first word; its domain is above. */
const PAGE_SELECTIVE = 2 | (3 << 4);
const DOMAIN_SHIFT = 16;

const indexOf = (low: number, high: number, level: number): number => (level === 1 ? low & 511 : level === 2 ? (low >>> 9) & 511 : level === 3 ? (low >>> 18) & 511 : ((low >>> 27) | (high << 5)) & 511);
const insideOf = (low: number, level: number): number => low & ((1 << (9 * (level - 1))) - 1);

/**
 * Makes a translation over an IOTLB of 64 sets of 4 ways, replaced in turn, and second-stage tables of four levels. A hit is
 * judged by the rights kept with it; a walk by those of every level, and it ends where an entry maps a page: the checks of
 * R, W and page size. Large pages are kept by their 4 KiB pieces. `out[0]` is the page, `out[1]` the rights.
 */
export const translateKernel = (words: Uint32Array, top: number, out: Int32Array): KernelTranslate => {
  const iotlb = new Int32Array(SETS * WAYS * ENTRY).fill(-1);
  const next = new Uint8Array(SETS);
  const walk = (low: number, high: number, access: number): boolean => {
    let table = top;
    let rights = 3;
    for (let level = 4; ; level--) {
      const at = (table << 10) + 2 * indexOf(low, high, level);
      const entry = words[at] as number; // the tables are in memory
      const above = words[at + 1] as number;
      rights &= entry;
      if ((access & ~rights) !== 0) return false;
      table = (above << 20) | (entry >>> 12);
      if (level === 1) break;
      if ((entry & PAGE) !== 0) {
        table |= insideOf(low, level);
        break;
      }
    }
    const set = low & (SETS - 1);
    const way = next[set] as number; // masked
    next[set] = (way + 1) & (WAYS - 1);
    const at = (set * WAYS + way) * ENTRY;
    iotlb[at] = low;
    iotlb[at + 1] = high;
    iotlb[at + 2] = table;
    iotlb[at + 3] = rights;
    out[0] = table;
    out[1] = rights;
    return true;
  };
  return (low, high, access) => {
    let at = (low & (SETS - 1)) * WAYS * ENTRY;
    for (const end = at + WAYS * ENTRY; at < end; at += ENTRY)
      if (iotlb[at] === low && iotlb[at + 1] === high) {
        const rights = iotlb[at + 3] as number;
        if ((access & ~rights) !== 0) break;
        out[0] = iotlb[at + 2] as number;
        out[1] = rights;
        return true;
      }
    return walk(low, high, access);
  };
};

/** Makes a nested walk without any cache: every first-stage table and the result go through the second stage, with the checks of rights and page size. */
export const nestedKernel = (words: Uint32Array, first: number, second: number, out: Int32Array): KernelTranslate => {
  let [pageLow, pageHigh] = [0, 0];
  const through = (low: number, high: number, access: number): boolean => {
    let table = second;
    for (let level = 4; ; level--) {
      const at = (table << 10) + 2 * indexOf(low, high, level);
      const entry = words[at] as number; // the tables are in memory
      if ((access & ~entry) !== 0) return false;
      table = ((words[at + 1] as number) << 20) | (entry >>> 12);
      if (level === 1) break;
      if ((entry & PAGE) !== 0) {
        table |= insideOf(low, level);
        break;
      }
    }
    pageLow = table;
    return true;
  };
  return (low, high, access) => {
    [pageLow, pageHigh] = [first, 0];
    for (let level = 4; ; level--) {
      if (!through(pageLow, pageHigh, READ)) return false;
      const at = (pageLow << 10) + 2 * indexOf(low, high, level);
      const entry = words[at] as number; // the tables are in memory
      // R/W has the place of W in the second stage.
      if ((entry & READABLE) !== READABLE || (access & 2 & ~entry) !== 0) return false;
      const above = words[at + 1] as number;
      pageLow = (above << 20) | (entry >>> 12);
      pageHigh = above >>> 12;
      if (level === 1) break;
      if ((entry & PAGE) !== 0) {
        pageLow |= insideOf(low, level);
        break;
      }
    }
    if (!through(pageLow, pageHigh, access)) return false;
    out[0] = pageLow;
    return true;
  };
};

/**
 * Makes `run(head, tail)` over a ring of 16-byte descriptors: status writes, and invalidations of one page of a domain in an
 * IOTLB of 64 sets of 4 ways whose entries have their domain with their rights. It reads each descriptor's type, granularity
 * and address mask, and stops at any other.
 */
export const queueKernel = (words: Uint32Array, ring: number): ((head: number, tail: number) => void) => {
  const iotlb = new Int32Array(SETS * WAYS * ENTRY).fill(-1);
  return (from, tail) => {
    for (let head = from; head !== tail; head = (head + 16) & 0xfff) {
      const at = ring + (head >>> 2);
      const first = words[at] as number; // the ring is in memory
      const third = words[at + 2] as number;
      const fourth = words[at + 3] as number;
      if ((first & 15) === 5) words[((fourth << 30) | (third >>> 2)) >>> 0] = words[at + 1] as number;
      else if ((first & 63) === PAGE_SELECTIVE && (third & 63) === 0) {
        const low = (third >>> 12) | (fourth << 20);
        let entry = (low & (SETS - 1)) * WAYS * ENTRY;
        for (const end = entry + WAYS * ENTRY; entry < end; entry += ENTRY) if (iotlb[entry] === low && iotlb[entry + 1] === fourth >>> 12 && (iotlb[entry + 3] as number) >>> DOMAIN_SHIFT === first >>> DOMAIN_SHIFT) iotlb[entry] = -1;
      } else return;
    }
  };
};
