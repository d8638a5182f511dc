import { MemoryType } from "@iommu-lab/pci-bus";
import { FIXED_RANGE_BYTES, MTRR_FIXED_REGS } from "../layouts/index.ts";

/** What memory types depend on in a PASID-table entry. */
export interface TypeControls {
  readonly cacheDisable: boolean;
  readonly extendedTypes: boolean;
  readonly pat: number;
  readonly nested: boolean;
}

/** The unit's registers as this file reads them. */
interface Fields {
  get(register: string, field: string): number;
}

const UNCACHEABLE = MemoryType.Uncacheable;
const typeOf = (value: number): MemoryType => (value === 1 || value === 4 || value === 5 || value === 6 || value === 7 ? value : UNCACHEABLE);

/**
 * Which memory type an access has: an output only, in a model without processor caches. VT-d §3.10 "Memory Type".
 * Present with ECAP.MTS.
 */
export class MemoryTypes {
  readonly #registers: Fields;
  /** MTRRDEF_REG.E, in a field since every walk asks. */
  #rangesCount = false;

  constructor(registers: Fields) {
    this.#registers = registers;
  }

  /** MTRRDEF_REG may hold something else. */
  written(): void {
    this.#rangesCount = this.#registers.get("MTRRDEF_REG", "E") === 1;
  }

  /** Of a second-stage translation. VT-d §3.10.3. */
  ofSecondStage(controls: TypeControls, leaf: number, page: number): MemoryType {
    if (controls.cacheDisable) return UNCACHEABLE;
    return controls.extendedTypes ? typeOf((leaf >>> 3) & 7) : this.#rangeType(page);
  }

  /** Of a first-stage or nested translation: the page's PAT entry on top of what lies below. VT-d §3.10.4, §3.10.5. */
  ofFirstStage(controls: TypeControls, leaf: number, shift: number, secondLeaf: number, page: number): MemoryType {
    if (controls.cacheDisable) return UNCACHEABLE;
    const large = shift === 12 ? (leaf >>> 7) & 1 : (leaf >>> 12) & 1;
    const index = ((leaf >>> 3) & 3) | (large << 2);
    const own = typeOf((controls.pat >>> (4 * index)) & 7);
    if (!controls.nested || !controls.extendedTypes) return combine(this.#rangeType(page), own);
    const below = typeOf((secondLeaf >>> 3) & 7);
    // IPAT: the second stage alone decides.
    return (secondLeaf & (1 << 6)) !== 0 ? below : combine(below, own);
  }

  /** The MTRRs' type of a host page. Intel SDM vol. 3 §12.11. */
  #rangeType(page: number): MemoryType {
    if (!this.#rangesCount) return MemoryType.WriteBack;
    const registers = this.#registers;
    if (page < 0x100 && registers.get("MTRRDEF_REG", "FE") === 1) return this.#fixedType(page * 4096);
    let found = -1;
    for (let i = 0; i < 10; i++) {
      if (registers.get(`MTRR_PHYSMASK${i}_REG`, "V") === 0) continue;
      const mask = registers.get(`MTRR_PHYSMASK${i}_REG`, "PHYSMASK");
      if (!sameUnder(page, registers.get(`MTRR_PHYSBASE${i}_REG`, "PHYSBASE"), mask)) continue;
      const type = registers.get(`MTRR_PHYSBASE${i}_REG`, "TYPE");
      // Of overlapping ranges uncacheable wins, then write-through over write-back.
      if (type === 0 || (found === MemoryType.WriteBack && type === 4) || found < 0) found = type;
    }
    return typeOf(found < 0 ? registers.get("MTRRDEF_REG", "TYPE") : found);
  }

  #fixedType(address: number): MemoryType {
    let start = 0;
    for (const [i, register] of MTRR_FIXED_REGS.entries()) {
      const bytes = FIXED_RANGE_BYTES[i] ?? 0;
      const part = Math.floor((address - start) / bytes);
      if (part < 8) return typeOf((this.#registers.get(register.name, part < 4 ? "LOW" : "HIGH") >>> (8 * (part & 3))) & 0xff);
      start += 8 * bytes;
    }
    return UNCACHEABLE;
  }
}

const sameUnder = (page: number, base: number, mask: number): boolean => {
  const split = 0x1_0000_0000;
  const low = (page | 0) & (mask | 0);
  return low === ((base | 0) & (mask | 0)) && (Math.floor(page / split) & Math.floor(mask / split)) === (Math.floor(base / split) & Math.floor(mask / split));
};

/** A page's type on memory that has a type of its own. Intel SDM vol. 3, table "Effective Page-Level Memory Type". */
const combine = (below: MemoryType, own: MemoryType): MemoryType => {
  if (own === MemoryType.WriteCombining) return MemoryType.WriteCombining;
  if (own === UNCACHEABLE || below === UNCACHEABLE) return UNCACHEABLE;
  // UC- gives way to write-combining, and on write-protected memory becomes that.
  if (own === MemoryType.UncachedMinus) return below === MemoryType.WriteCombining || below === MemoryType.WriteProtected ? MemoryType.WriteCombining : UNCACHEABLE;
  if (own === MemoryType.WriteBack) return below;
  // Write-through and write-protected pages are so on all memory that is cached.
  return below === MemoryType.WriteCombining ? UNCACHEABLE : own;
};
