import type { Access, ExplanationSink } from "@iommu-lab/pci-bus";
import { SECOND_STAGE_ENTRY } from "../layouts/index.ts";
import type { VtdCapabilities } from "./capabilities.ts";
import { explainStructure } from "./explain.ts";
import type { PagingStructureCache } from "./paging-structure-cache.ts";
import { FROM_8_TIB, lowPageIn, pageIn, numberOf, type TableMemory } from "./table-memory.ts";
import { WalkFault } from "./walk-fault.ts";

const READ = 1;
const WRITE = 2;
const EXECUTE = 4;
const PAGE = 1 << 7;
const ACCESSED = 1 << 8;
const DIRTY = 1 << 9;
const SNOOP = 1 << 11;
/** Bit 62 of an entry (TM), in its high word. */
const TRANSIENT = 1 << 30;
const LAST_ADDRESS_BIT = 51;

/** Page numbers of the interrupt address range, 0xfee0_0000 to 0xfeef_ffff. VT-d §3.14. */
export const INTERRUPT_PAGES = { FIRST: 0xf_ee00, LAST: 0xf_eeff } as const;
const { FIRST: INTERRUPT_FIRST_PAGE, LAST: INTERRUPT_LAST_PAGE } = INTERRUPT_PAGES;

/** How one second-stage table is walked: where it is and what its PASID entry allows. */
export interface SecondStage {
  /** Page number of the top table. */
  secondStageTable: number;
  /** 3, 4 or 5. */
  secondStageLevels: number;
  /** Accessed and dirty bits are kept. */
  secondStageFlags: boolean;
  /** Accessed and dirty bits may be written: walks snoop. */
  secondStageSnoops: boolean;
  /** Tag of what the walk leaves in the paging-structure caches; 0 for none. */
  secondStageSpace: number;
}

/**
 * Walks second-stage tables. VT-d §3.7 "Second-Stage Translation". The results are in the walker's own fields, so that
 * a walk makes no object.
 */
export class SecondStageWalker {
  /** 4 KiB page number that the page asked for translates to. */
  page = 0;
  /** log2 of the page's bytes: 12, 21 or 30. */
  shift = 12;
  /** `Access` bits that every level allows. */
  rights = 0;
  /** The leaf's low word: memory type, IPAT, SNP, D. */
  leaf = 0;
  /** A write through this translation has to set D first. */
  clean = false;
  readonly #memory: TableMemory;
  readonly #structures: PagingStructureCache;
  readonly #checkInterruptOutput: boolean;
  readonly #presentMask: number;
  readonly #highReserved: number;
  /** Bits of an entry's high word that `walkPlain` leaves to `walk`: the reserved ones, and addresses from 8 TiB on, whose page numbers are no int32. */
  readonly #plainReserved: number;
  /** Reserved bits of the low word, by 2 · level + (1 if the entry maps a page). */
  readonly #lowReserved = new Int32Array(12);
  /** Bits of a page number that a table of so many levels translates. */
  readonly #limitBits: Uint8Array;

  constructor(memory: TableMemory, { cap, ecap, hostAddressWidth }: VtdCapabilities, structures: PagingStructureCache, checkInterruptOutput = true) {
    this.#memory = memory;
    this.#structures = structures;
    this.#checkInterruptOutput = checkInterruptOutput;
    // X counts only where execute requests are supported. VT-d §9.8.
    this.#presentMask = ecap.ERS ? READ | WRITE | EXECUTE : READ | WRITE;
    this.#highReserved = reservedAbove(hostAddressWidth) | TRANSIENT;
    this.#plainReserved = this.#highReserved | FROM_8_TIB;
    for (let level = 1; level <= 5; level++) {
      this.#lowReserved[2 * level] = SNOOP;
      const large = level === 2 ? cap.SSLPS & 1 : level === 3 ? cap.SSLPS & 2 : level === 1 ? 1 : 0;
      this.#lowReserved[2 * level + 1] = large ? 2 ** (9 * (level - 1) + 12) - 2 ** 12 : PAGE;
      if (!ecap.SC) this.#lowReserved[2 * level + 1] = (this.#lowReserved[2 * level + 1] as number) | SNOOP;
    }
    this.#limitBits = Uint8Array.from({ length: 6 }, (_, levels) => Math.min(cap.MGAW + 1, 9 * levels + 12) - 12);
  }

  /**
   * Walks for one page that does not exceed the table's levels.
   * @param low    bits 31:0 of the page number, as int32
   * @param high   the bits above
   * @param access rights that the leaf must have; 0 asks for none
   * @param flag   a write: set D as well, where the leaf allows writing
   * @returns a `WalkFault`
   */
  walk(stage: Readonly<SecondStage>, low: number, high: number, access: Access, flag: boolean, explain?: ExplanationSink): number {
    const memory = this.#memory;
    const structures = this.#structures;
    const levels = stage.secondStageLevels;
    const space = stage.secondStageSpace;
    const keepFlags = stage.secondStageFlags;
    let table = stage.secondStageTable;
    let level = levels;
    let rights = READ | WRITE | EXECUTE;
    const known = space === 0 ? 0 : structures.find(space, low, high, levels);
    if (known !== 0) {
      level = known;
      table = numberOf(structures.tableLow, structures.tableHigh);
      rights = structures.rights;
    }
    for (;;) {
      const index = indexAt(low, high, level);
      const words = memory.wordsOf(table);
      if (words === undefined) {
        explain?.step({ structure: `second-stage entry, level ${level}`, address: table * 4096 + 8 * index, rule: "A table is in memory", section: "VT-d §3.7", outcome: "no memory there" });
        return level === levels ? WalkFault.TopUnreadable : WalkFault.Unreadable;
      }
      const at = memory.wordOf(table) + 2 * index;
      const first = (words[at] as number) | 0; // a page has 512 entries; int32 as what it is compared with
      const second = words[at + 1] as number;
      const isPage = level === 1 || (first & PAGE) !== 0;
      const fault = this.#judge(first, second, level, isPage);
      if (explain !== undefined) explainEntry(explain, level, table * 4096 + 8 * index, words, at, fault, isPage);
      if (fault !== WalkFault.None) return fault;
      rights &= first;
      if (isPage) {
        this.rights = rights & this.#presentMask;
        this.leaf = first;
        this.page = pageIn(first, second) + (low & ((1 << (9 * (level - 1))) - 1));
        this.shift = 12 + 9 * (level - 1);
        return this.#finish(stage, rights, table, index, access, flag);
      }
      if (keepFlags && (first & ACCESSED) === 0) {
        const denied = this.#writeFlags(stage, table, index, first | ACCESSED);
        if (denied !== WalkFault.None) return denied;
      }
      table = pageIn(first, second);
      level--;
      if (space !== 0 && level <= structures.keptLevels) structures.insert(space, low, high, level, table, rights);
    }
  }

  /**
   * The same walk where there is nothing to say: every entry in memory below 8 TiB, present and allowing the access, no bit
   * to be set, nobody who wants it explained. All in int32, which makes it several times as fast.
   * @returns false when it is not so, with nothing changed: `walk` has to find out
   */
  walkPlain(stage: Readonly<SecondStage>, low: number, high: number, access: Access, flag: boolean): boolean {
    const memory = this.#memory;
    const structures = this.#structures;
    const space = stage.secondStageSpace;
    const keepFlags = stage.secondStageFlags;
    const presentMask = this.#presentMask;
    const plainReserved = this.#plainReserved;
    let level = stage.secondStageLevels;
    let table = stage.secondStageTable | 0;
    let rights = READ | WRITE | EXECUTE;
    const known = space === 0 ? 0 : structures.find(space, low, high, level);
    if (known !== 0) {
      if (structures.tableHigh !== 0 || structures.tableLow < 0) return false;
      level = known;
      table = structures.tableLow;
      rights = structures.rights;
    } else if (table !== stage.secondStageTable) return false;
    for (;;) {
      const words = memory.wordsOf(table);
      if (words === undefined) return false;
      const at = memory.wordOf(table) + 2 * indexAt(low, high, level);
      const first = (words[at] as number) | 0; // a page has 512 entries
      const second = (words[at + 1] as number) | 0;
      const isPage = level === 1 || (first & PAGE) !== 0;
      if ((first & presentMask) === 0 || (first & (this.#lowReserved[2 * level + (isPage ? 1 : 0)] as number)) !== 0 || (second & plainReserved) !== 0) return false;
      if (keepFlags && (first & ACCESSED) === 0) return false;
      rights &= first;
      table = lowPageIn(first, second);
      if (isPage) {
        const page = table + (low & ((1 << (9 * (level - 1))) - 1));
        if ((access & ~rights) !== 0 || (this.#checkInterruptOutput && page >= INTERRUPT_FIRST_PAGE && page <= INTERRUPT_LAST_PAGE)) return false;
        this.clean = keepFlags && (first & DIRTY) === 0;
        if (this.clean && flag && (rights & WRITE) !== 0) return false;
        this.rights = rights & presentMask;
        this.leaf = first;
        this.page = page;
        this.shift = 12 + 9 * (level - 1);
        return true;
      }
      level--;
      if (space !== 0 && level <= structures.keptLevels) structures.insert(space, low, high, level, table, rights);
    }
  }

  /** Whether a page lies past what a table of so many levels translates. */
  exceeds(low: number, high: number, levels: number): boolean {
    const bits = this.#limitBits[levels] as number; // levels is 3 to 5
    return bits < 32 ? high !== 0 || low >>> bits !== 0 : high >>> (bits - 32) !== 0;
  }

  /** Order of VT-d §7.1.3: an entry without any right is not present, whatever else it holds; then reserved bits. */
  #judge(first: number, second: number, level: number, isPage: boolean): number {
    if ((first & this.#presentMask) === 0) return WalkFault.NotPresent;
    if ((first & (this.#lowReserved[2 * level + (isPage ? 1 : 0)] as number)) !== 0 || (second & this.#highReserved) !== 0) return WalkFault.Reserved;
    return WalkFault.None;
  }

  /** Judges the page that was found. Its entry is given by table and index: its address, a large number, would be allocated. */
  #finish(stage: Readonly<SecondStage>, rights: number, table: number, index: number, access: Access, flag: boolean): number {
    this.clean = false;
    const missing = access & ~rights;
    if (missing !== 0) return (missing & WRITE) !== 0 ? WalkFault.NoWrite : (missing & READ) !== 0 ? WalkFault.NoRead : WalkFault.NoExecute;
    if (this.#checkInterruptOutput && this.page >= INTERRUPT_FIRST_PAGE && this.page <= INTERRUPT_LAST_PAGE) return WalkFault.InterruptRange;
    if (!stage.secondStageFlags) return WalkFault.None;
    const first = this.leaf;
    const dirty = flag && (rights & WRITE) !== 0 ? DIRTY : 0;
    const wanted = first | ACCESSED | dirty;
    if (wanted !== first) {
      const denied = this.#writeFlags(stage, table, index, wanted);
      if (denied !== WalkFault.None) return denied;
      this.leaf = wanted;
    }
    this.clean = (wanted & DIRTY) === 0;
    return WalkFault.None;
  }

  /** Sets accessed and dirty bits in an entry by a locked update, which snoops. VT-d §3.7.2. */
  #writeFlags(stage: Readonly<SecondStage>, table: number, index: number, value: number): number {
    if (!stage.secondStageSnoops) return WalkFault.NoSnoopForFlags;
    if (this.#memory.canUpdate?.(table) === false) return WalkFault.UpdateFailed;
    this.#memory.write32(table * 4096 + 8 * index, value);
    return WalkFault.None;
  }
}

/** Index in the table of `level` for a page. */
export const indexAt = (low: number, high: number, level: number): number => (level < 4 ? (low >>> (9 * level - 9)) & 511 : level === 4 ? ((low >>> 27) | (high << 5)) & 511 : (high >>> 4) & 511);

/** Bits 51:HAW of an entry, in its high word. */
export const reservedAbove = (hostAddressWidth: number): number => {
  const bits = LAST_ADDRESS_BIT + 1 - hostAddressWidth;
  return bits <= 0 ? 0 : (2 ** bits - 1) * 2 ** (hostAddressWidth - 32);
};

const explainEntry = (explain: ExplanationSink, level: number, address: number, words: Uint32Array, at: number, fault: number, isPage: boolean): void => {
  explainStructure(explain, SECOND_STAGE_ENTRY, `second-stage entry, level ${level}`, address, words, at, RULES[fault] as string, "VT-d §3.7.1, §9.8", fault === 0 ? (isPage ? "page" : "next level") : "fault");
};

const RULES: readonly string[] = [
  "The entry allows something and no reserved bit is set",
  "The top table can be read",
  "A table can be read",
  "An entry that allows nothing is not present",
  "Reserved bits of a present entry are 0",
];
