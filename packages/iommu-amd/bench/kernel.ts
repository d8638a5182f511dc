/**
 * Bare kernels: typed-array loops of the algorithms that the IOMMU runs, without registers, faults, policies or explanations.
 * Page numbers are two int32 words, results go to an Int32Array.
 */

import type { KernelTranslate } from "../../../scripts/bench/translate-loop.ts";

const SETS = 64;
const WAYS = 4;
const ENTRY = 4;
/** IR and IW in the high word of a host entry. */
const RIGHTS_SHIFT = 29;
/** IR: what the rows ask for. */
export const READ = 1;
/** P and U/S in the low word of a guest entry. */
const GUEST_READABLE = 5;
/** S and GN of an invalidation: more pages, a PASID's pages. */
const OTHER_PAGES = 1 | 4;
const DOMAIN_SHIFT = 16;
/** Page size bit of a guest entry. */
const GUEST_PAGE = 1 << 7;

const indexOf = (low: number, high: number, level: number): number => (level === 1 ? low & 511 : level === 2 ? (low >>> 9) & 511 : level === 3 ? (low >>> 18) & 511 : ((low >>> 27) | (high << 5)) & 511);
const insideOf = (low: number, level: number): number => low & ((1 << (9 * (level - 1))) - 1);

/**
 * Makes a translation over an IOTLB of 64 sets of 4 ways, replaced in turn, and host tables of four levels. A hit is judged by
 * the rights kept with it; a walk by PR and the rights of every level, and it goes where Next Level says, to an end where that
 * is 0. Large pages are kept by their 4 KiB pieces. `out[0]` is the page, `out[1]` the rights.
 */
export const translateKernel = (words: Uint32Array, top: number, out: Int32Array): KernelTranslate => {
  const iotlb = new Int32Array(SETS * WAYS * ENTRY).fill(-1);
  const next = new Uint8Array(SETS);
  const walk = (low: number, high: number, access: number): boolean => {
    let table = top;
    let rights = 3;
    for (let level = 4; ; ) {
      const at = (table << 10) + 2 * indexOf(low, high, level);
      const entry = words[at] as number; // the tables are in memory
      const above = words[at + 1] as number;
      rights &= above >>> RIGHTS_SHIFT;
      if ((entry & 1) === 0 || (access & ~rights) !== 0) return false;
      table = (above << 20) | (entry >>> 12);
      const down = (entry >>> 9) & 7;
      if (down === 0) {
        table |= insideOf(low, level);
        break;
      }
      if (down >= level) return false;
      level = down;
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

/** Makes a nested walk without any cache, from a GCR3 entry: every guest table and the result go through the host table, with the checks of presence, rights, levels and page size. */
export const nestedKernel = (words: Uint32Array, gcr3Entry: number, host: number, out: Int32Array): KernelTranslate => {
  let [pageLow, pageHigh] = [0, 0];
  const through = (low: number, high: number, access: number): boolean => {
    let table = host;
    for (let level = 4; ; ) {
      const at = (table << 10) + 2 * indexOf(low, high, level);
      const entry = words[at] as number; // the tables are in memory
      const above = words[at + 1] as number;
      if ((entry & 1) === 0 || (access & ~(above >>> RIGHTS_SHIFT)) !== 0) return false;
      table = (above << 20) | (entry >>> 12);
      const down = (entry >>> 9) & 7;
      if (down === 0) {
        table |= insideOf(low, level);
        break;
      }
      if (down >= level) return false;
      level = down;
    }
    pageLow = table;
    return true;
  };
  return (low, high, access) => {
    const pointer = words[gcr3Entry] as number; // as above
    if ((pointer & 1) === 0) return false;
    const pointerHigh = words[gcr3Entry + 1] as number;
    [pageLow, pageHigh] = [(pointerHigh << 20) | (pointer >>> 12), pointerHigh >>> 12];
    for (let level = 4; ; level--) {
      if (!through(pageLow, pageHigh, READ)) return false;
      const at = (pageLow << 10) + 2 * indexOf(low, high, level);
      const entry = words[at] as number; // as above
      // R/W has the place of IW.
      if ((entry & GUEST_READABLE) !== GUEST_READABLE || (access & 2 & ~entry) !== 0) return false;
      const above = words[at + 1] as number;
      pageLow = (above << 20) | (entry >>> 12);
      pageHigh = above >>> 12;
      if (level === 1) break;
      if ((entry & GUEST_PAGE) !== 0) {
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
 * Makes `run(head, tail)` over a ring of 256 commands: completion stores, and invalidations of one page of a domain in an IOTLB
 * of 64 sets of 4 ways whose entries have their domain with their rights. It reads each command's opcode and the flags that
 * say what its address is, and stops at any other.
 */
export const commandKernel = (words: Uint32Array, ring: number): ((head: number, tail: number) => void) => {
  const iotlb = new Int32Array(SETS * WAYS * ENTRY).fill(-1);
  return (from, tail) => {
    for (let head = from; head !== tail; head = (head + 16) & 0xfff) {
      const at = ring + (head >>> 2);
      const first = words[at] as number; // the ring is in memory
      const second = words[at + 1] as number;
      const third = words[at + 2] as number;
      const fourth = words[at + 3] as number;
      if (second >>> 28 === 1) {
        const store = ((second << 30) | (first >>> 2)) & ~1;
        words[store] = third;
        words[store + 1] = fourth;
      } else if (second >>> 28 === 3 && (third & OTHER_PAGES) === 0) {
        const low = (third >>> 12) | (fourth << 20);
        let entry = (low & (SETS - 1)) * WAYS * ENTRY;
        for (const end = entry + WAYS * ENTRY; entry < end; entry += ENTRY) if (iotlb[entry] === low && iotlb[entry + 1] === fourth >>> 12 && (iotlb[entry + 3] as number) >>> DOMAIN_SHIFT === (second & 0xffff)) iotlb[entry] = -1;
      } else return;
    }
  };
};
