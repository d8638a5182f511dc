import type { SparseMemory } from "@iommu-lab/memory";

/** An independent reading of host page tables (AMD-Vi §2.2.3), in BigInt and without any optimisation: the oracle of random tables. */
export type ReferenceResult = { readonly kind: "fault"; readonly flags: string } | { readonly kind: "unreadable" } | { readonly kind: "page"; readonly page: bigint; readonly shift: number; readonly rights: number };

const field = (value: bigint, msb: number, lsb: number): bigint => (value >> BigInt(lsb)) & ((1n << BigInt(msb - lsb + 1)) - 1n);
const fault = (flags: string): ReferenceResult => ({ kind: "fault", flags });

/** @param width bits of a physical address; @param access 1 read, 2 write, 3 both */
export const walkHost = (memory: SparseMemory, width: number, table: bigint, levels: number, page: bigint, access: number): ReferenceResult => {
  const address = page << 12n;
  if (levels < 6 && address >> BigInt(12 + 9 * levels) !== 0n) return fault("PR");
  let rights = 3;
  let at = table;
  for (let level = levels; ; ) {
    const top = Math.min(20 + 9 * (level - 1), 63);
    const where = at * 4096n + 8n * field(address, top, 12 + 9 * (level - 1));
    if (where + 8n > BigInt(memory.size)) return { kind: "unreadable" };
    const entry = BigInt(memory.read32(Number(where))) | (BigInt(memory.read32(Number(where) + 4)) << 32n);
    const next = Number(field(entry, 11, 9));
    const leaf = next === 0 || next === 7;
    if ((entry & 1n) === 0n) return fault("");
    if (field(entry, 58, 52) !== 0n || (!leaf && (field(entry, 60, 59) !== 0n || (width < 52 && field(entry, 51, width) !== 0n)))) return fault("PR RZ");
    rights &= Number(field(entry, 62, 61));
    if ((access & ~rights) !== 0 || rights === 0) return fault("PR PE");
    if (leaf) {
      if (level === 6) return fault("PR");
      let shift = 12 + 9 * (level - 1);
      if (next === 7) {
        let zero = 12;
        while (zero < 52 && field(entry, zero, zero) === 1n) zero++;
        if (zero === 52 || zero + 1 <= shift || zero + 1 >= shift + 9) return fault("PR");
        shift = zero + 1;
      }
      const size = 1n << BigInt(shift);
      const base = (field(entry, 51, 12) << 12n) & ~(size - 1n);
      const target = (base + (address & (size - 1n))) >> 12n;
      if (target >> BigInt(width - 12) !== 0n) return fault("PR RZ");
      // Of a page that only begins below PAsize the part asked for is all that holds.
      return { kind: "page", page: target, shift: base + size > 1n << BigInt(width) ? 12 : shift, rights };
    }
    if (next >= level) return fault("PR");
    if (field(address, 12 + 9 * (level - 1) - 1, 12) >> BigInt(9 * next) !== 0n) return fault("PR");
    at = field(entry, 51, 12);
    level = next;
  }
};
