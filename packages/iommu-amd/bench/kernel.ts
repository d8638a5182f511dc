/**
 * Bare kernels: typed-array loops of the algorithms that the IOMMU runs, without registers, faults, policies or explanations.
 * Page numbers are two int32 words, results go to an Int32Array.
 */

const SETS = 64;
const WAYS = 4;
const ENTRY = 4;
/** IR and IW in the high word of a host entry; P and U/S in the low word of a guest entry. */
const RIGHTS_SHIFT = 29;
const GUEST_READABLE = 5;

const indexOf = (low: number, high: number, level: number): number => (level === 1 ? low & 511 : level === 2 ? (low >>> 9) & 511 : level === 3 ? (low >>> 18) & 511 : ((low >>> 27) | (high << 5)) & 511);

/** Makes `translate(low, high)` over an IOTLB of 64 sets of 4 ways and host tables of four levels. `out[0]` is the page, `out[1]` the rights. */
export const translateKernel = (words: Uint32Array, top: number, out: Int32Array): ((low: number, high: number) => boolean) => {
  const iotlb = new Int32Array(SETS * WAYS * ENTRY).fill(-1);
  const next = new Uint8Array(SETS);
  const walk = (low: number, high: number): boolean => {
    let table = top;
    let rights = 3;
    for (let level = 4; level > 0; ) {
      const at = (table << 10) + 2 * indexOf(low, high, level);
      const entry = words[at] as number; // the tables are in memory
      const above = words[at + 1] as number;
      rights &= above >>> RIGHTS_SHIFT;
      if ((entry & 1) === 0 || rights === 0) return false;
      table = (above << 20) | (entry >>> 12);
      level = (entry >>> 9) & 7;
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

/** Makes `translate(low, high)` of a nested walk without any cache, from a GCR3 entry: every guest table and the result go through the host table. */
export const nestedKernel = (words: Uint32Array, gcr3Entry: number, host: number, out: Int32Array): ((low: number, high: number) => boolean) => {
  let [pageLow, pageHigh] = [0, 0];
  const through = (low: number, high: number): boolean => {
    let table = host;
    for (let level = 4; level > 0; ) {
      const at = (table << 10) + 2 * indexOf(low, high, level);
      const entry = words[at] as number; // the tables are in memory
      const above = words[at + 1] as number;
      if ((entry & 1) === 0 || above >>> RIGHTS_SHIFT !== 3) return false;
      table = (above << 20) | (entry >>> 12);
      level = (entry >>> 9) & 7;
    }
    pageLow = table;
    return true;
  };
  return (low, high) => {
    const pointer = words[gcr3Entry] as number; // as above
    if ((pointer & 1) === 0) return false;
    const pointerHigh = words[gcr3Entry + 1] as number;
    [pageLow, pageHigh] = [(pointerHigh << 20) | (pointer >>> 12), pointerHigh >>> 12];
    for (let level = 4; level > 0; level--) {
      if (!through(pageLow, pageHigh)) return false;
      const at = (pageLow << 10) + 2 * indexOf(low, high, level);
      const entry = words[at] as number; // as above
      if ((entry & GUEST_READABLE) !== GUEST_READABLE) return false;
      const above = words[at + 1] as number;
      pageLow = (above << 20) | (entry >>> 12);
      pageHigh = above >>> 12;
    }
    if (!through(pageLow, pageHigh)) return false;
    out[0] = pageLow;
    return true;
  };
};

/** Makes `run(head, tail)` over a ring of 256 commands: page invalidations in an IOTLB of 64 sets of 4 ways, and completion stores. */
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
      } else if (second >>> 28 === 3) {
        const low = (third >>> 12) | (fourth << 20);
        let entry = (low & (SETS - 1)) * WAYS * ENTRY;
        for (const end = entry + WAYS * ENTRY; entry < end; entry += ENTRY) if (iotlb[entry] === low && iotlb[entry + 1] === fourth >>> 12) iotlb[entry] = -1;
      } else return;
    }
  };
};
