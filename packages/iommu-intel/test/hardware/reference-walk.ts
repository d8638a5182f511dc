import type { SparseMemory } from "@iommu-lab/memory";
import { Access } from "@iommu-lab/pci-bus";

/**
 * An independent reading of VT-d's translation, in BigInt and without any optimisation: the oracle of random tables.
 * It keeps no accessed or dirty bits and knows no caches; faults are numbered as in §7.1.3.
 */
export interface ReferenceSettings {
  readonly memory: SparseMemory;
  readonly haw: number;
  readonly mgaw: number;
  readonly snoopControl: boolean;
  /** Bit 0: 2 MiB, bit 1: 1 GiB second-stage pages. */
  readonly large: number;
  readonly firstStageGiB: boolean;
}

/** Where a walk starts. */
export interface ReferenceTable {
  readonly table: bigint;
  readonly levels: number;
}

/** What a walk finds: a fault, or page, size and rights. */
export type ReferenceResult = { readonly fault: number } | { readonly fault: 0; readonly page: bigint; readonly shift: number; readonly rights: number };

const entryAt = (memory: SparseMemory, address: bigint): bigint | undefined => {
  if (address + 8n > BigInt(memory.size)) return undefined;
  return BigInt(memory.read32(Number(address))) | (BigInt(memory.read32(Number(address) + 4)) << 32n);
};
const field = (value: bigint, msb: number, lsb: number): bigint => (value >> BigInt(lsb)) & ((1n << BigInt(msb - lsb + 1)) - 1n);
const isInterrupt = (page: bigint): boolean => page >> 8n === 0xfeen;

/** Second stage of scalable mode. VT-d §3.7. */
export const walkSecondStage = (settings: ReferenceSettings, { table, levels }: ReferenceTable, page: bigint, access: Access): ReferenceResult => {
  const width = Math.min(settings.mgaw, 9 * levels + 12);
  if (page >> BigInt(width - 12) !== 0n) return { fault: 0x84 };
  let rights = 3n;
  let at = table;
  for (let level = levels; ; level--) {
    const entry = entryAt(settings.memory, at * 4096n + 8n * field(page, 9 * level - 1, 9 * (level - 1)));
    if (entry === undefined) return { fault: level === levels ? 0x7b : 0x78 };
    if (field(entry, 1, 0) === 0n) return { fault: 0x79 };
    const leaf = level === 1 || field(entry, 7, 7) === 1n;
    const reserved = [
      settings.haw <= 51 && field(entry, 51, settings.haw) !== 0n,
      field(entry, 62, 62) !== 0n,
      field(entry, 11, 11) === 1n && (!leaf || !settings.snoopControl),
      leaf && level === 2 && ((settings.large & 1) === 0 || field(entry, 20, 12) !== 0n),
      leaf && level === 3 && ((settings.large & 2) === 0 || field(entry, 29, 12) !== 0n),
      leaf && level > 3,
    ];
    if (reserved.includes(true)) return { fault: 0x7a };
    rights &= entry;
    if (!leaf) {
      at = field(entry, 51, 12);
      continue;
    }
    if ((access & Access.Write) !== 0 && (rights & 2n) === 0n) return { fault: 0x85 };
    if ((access & Access.Read) !== 0 && (rights & 1n) === 0n) return { fault: 0x86 };
    const inside = page & ((1n << BigInt(9 * (level - 1))) - 1n);
    const target = field(entry, 51, 12) + inside;
    return isInterrupt(target) ? { fault: 0x87 } : { fault: 0, page: target, shift: 12 + 9 * (level - 1), rights: Number(rights) };
  }
};

/** First stage, alone or nested in `second`. Rights are those of the kind of request. VT-d §3.6, §3.8. */
export const walkFirstStage = (settings: ReferenceSettings, { table, levels }: ReferenceTable, second: ReferenceTable | undefined, page: bigint, access: Access, supervisor: boolean, writeProtect: boolean): ReferenceResult => {
  const high = page >> BigInt(9 * levels - 1);
  if (high !== 0n && high !== (1n << BigInt(52 - (9 * levels - 1))) - 1n) return { fault: 0x80 };
  const locate = (guest: bigint, top: boolean): ReferenceResult => {
    if (second === undefined) return { fault: 0, page: guest, shift: 12, rights: 3 };
    const found = walkSecondStage(settings, second, guest, Access.Read);
    if (found.fault === 0x84) return { fault: 0x74 };
    return found.fault === 0x86 ? { fault: top ? 0x75 : 0x76 } : found;
  };
  let writable = true;
  let user = true;
  let guest = table;
  for (let level = levels; ; level--) {
    const place = locate(guest, level === levels);
    if (!("page" in place)) return place;
    const entry = entryAt(settings.memory, place.page * 4096n + 8n * field(page, 9 * level - 1, 9 * (level - 1)));
    if (entry === undefined) return { fault: level === levels ? 0x73 : 0x70 };
    if (field(entry, 0, 0) === 0n) return { fault: 0x71 };
    const leaf = level === 1 || field(entry, 7, 7) === 1n;
    const reserved = [settings.haw <= 51 && field(entry, 51, settings.haw) !== 0n, leaf && level === 2 && field(entry, 20, 13) !== 0n, leaf && level === 3 && (!settings.firstStageGiB || field(entry, 29, 13) !== 0n), leaf && level > 3];
    if (reserved.includes(true)) return { fault: 0x72 };
    writable &&= field(entry, 1, 1) === 1n;
    user &&= field(entry, 2, 2) === 1n;
    if (!leaf) {
      // Setting the accessed bit writes to the table.
      if (field(entry, 5, 5) === 0n && (place.rights & 2) === 0) return { fault: 0x77 };
      guest = field(entry, 51, 12);
      continue;
    }
    if (!supervisor && !user) return { fault: 0x81 };
    const mayWrite = writable || (supervisor && !writeProtect);
    if ((access & Access.Write) !== 0 && !mayWrite) return { fault: 0x85 };
    const inside = page & ((1n << BigInt(9 * (level - 1))) - 1n);
    const base = level === 1 ? field(entry, 51, 12) : field(entry, 51, 13) * 2n;
    const shift = 12 + 9 * (level - 1);
    const own = Access.Read | Access.Execute | (mayWrite ? Access.Write : 0);
    const flagged = field(entry, 5, 5) === 1n && (field(entry, 6, 6) === 1n || (access & Access.Write) === 0);
    const target = base + inside;
    if (second === undefined) {
      if (isInterrupt(target)) return { fault: 0x87 };
      return { fault: 0, page: target, shift, rights: own };
    }
    const found = walkSecondStage(settings, second, target, access);
    if (!("page" in found)) return found;
    if (!flagged && (place.rights & 2) === 0) return { fault: 0x77 };
    return { fault: 0, page: found.page, shift: Math.min(shift, found.shift), rights: own & (found.rights | Access.Execute) };
  }
};
