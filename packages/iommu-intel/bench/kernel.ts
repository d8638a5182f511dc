/**
 * Bare kernels: typed-array loops of the algorithms that the unit runs, without registers, faults, policies or explanations.
 * Page numbers are two int32 words, results go to an Int32Array.
 */

const SETS = 64;
const WAYS = 4;
const ENTRY = 4;

/** Makes `translate(low, high)` over an IOTLB of 64 sets of 4 ways and second-stage tables of four levels. `out[0]` is the page, `out[1]` the rights. */
export const translateKernel = (words: Uint32Array, top: number, out: Int32Array): ((low: number, high: number) => boolean) => {
  const iotlb = new Int32Array(SETS * WAYS * ENTRY).fill(-1);
  const next = new Uint8Array(SETS);
  const walk = (low: number, high: number): boolean => {
    let table = top;
    let rights = 3;
    for (let level = 4; level > 0; level--) {
      const index = level === 1 ? low & 511 : level === 2 ? (low >>> 9) & 511 : level === 3 ? (low >>> 18) & 511 : ((low >>> 27) | (high << 5)) & 511;
      const entry = words[(table << 10) + 2 * index] as number; // the tables are in memory
      const above = words[(table << 10) + 2 * index + 1] as number;
      rights &= entry;
      if (rights === 0) return false;
      table = (above << 20) | (entry >>> 12);
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
  return (low, high) => {
    let at = (low & (SETS - 1)) * WAYS * ENTRY;
    for (const end = at + WAYS * ENTRY; at < end; at += ENTRY)
      if (iotlb[at] === low && iotlb[at + 1] === high) {
        out[0] = iotlb[at + 2] as number;
        out[1] = iotlb[at + 3] as number;
        return true;
      }
    return walk(low, high);
  };
};

/** Makes `translate(low, high)` of a nested walk without any cache: every first-stage table and the result go through the second stage. */
export const nestedKernel = (words: Uint32Array, first: number, second: number, out: Int32Array): ((low: number, high: number) => boolean) => {
  const indexOf = (low: number, high: number, level: number): number => (level === 1 ? low & 511 : level === 2 ? (low >>> 9) & 511 : level === 3 ? (low >>> 18) & 511 : ((low >>> 27) | (high << 5)) & 511);
  let [pageLow, pageHigh] = [0, 0];
  const through = (low: number, high: number): boolean => {
    let table = second;
    for (let level = 4; level > 0; level--) {
      const at = (table << 10) + 2 * indexOf(low, high, level);
      const entry = words[at] as number; // the tables are in memory
      if ((entry & 3) !== 3) return false;
      table = ((words[at + 1] as number) << 20) | (entry >>> 12);
    }
    pageLow = table;
    return true;
  };
  return (low, high) => {
    [pageLow, pageHigh] = [first, 0];
    for (let level = 4; level > 0; level--) {
      if (!through(pageLow, pageHigh)) return false;
      const at = (pageLow << 10) + 2 * indexOf(low, high, level);
      const entry = words[at] as number; // the tables are in memory
      if ((entry & 5) !== 5) return false;
      const above = words[at + 1] as number;
      pageLow = (above << 20) | (entry >>> 12);
      pageHigh = above >>> 12;
    }
    if (!through(pageLow, pageHigh)) return false;
    out[0] = pageLow;
    return true;
  };
};

/** Makes `run(head, tail)` over a ring of 16-byte descriptors: page-selective invalidations in an IOTLB of 64 sets of 4 ways, and status writes. */
export const queueKernel = (words: Uint32Array, ring: number): ((head: number, tail: number) => void) => {
  const iotlb = new Int32Array(SETS * WAYS * ENTRY).fill(-1);
  return (from, tail) => {
    for (let head = from; head !== tail; head = (head + 16) & 0xfff) {
      const at = ring + (head >>> 2);
      const first = words[at] as number; // the ring is in memory
      const third = words[at + 2] as number;
      const fourth = words[at + 3] as number;
      if ((first & 15) === 5) words[((fourth << 30) | (third >>> 2)) >>> 0] = words[at + 1] as number;
      else if ((first & 15) === 2) {
        const low = (third >>> 12) | (fourth << 20);
        let entry = (low & (SETS - 1)) * WAYS * ENTRY;
        for (const end = entry + WAYS * ENTRY; entry < end; entry += ENTRY) if (iotlb[entry] === low && iotlb[entry + 1] === fourth >>> 12) iotlb[entry] = -1;
      } else return;
    }
  };
};
