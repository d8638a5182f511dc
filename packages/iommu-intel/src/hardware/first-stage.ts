import { Access, type ExplanationSink } from "@iommu-lab/pci-bus";
import { FIRST_STAGE_ENTRY } from "../layouts/index.ts";
import type { VtdCapabilities } from "./capabilities.ts";
import { explainStructure } from "./explain.ts";
import type { PagingStructureCache } from "./paging-structure-cache.ts";
import { indexAt, INTERRUPT_PAGES, reservedAbove, type SecondStage, type SecondStageWalker } from "./second-stage.ts";
import { FROM_8_TIB, highOf, highPageIn, lowPageIn, pageIn, numberOf, type TableMemory } from "./table-memory.ts";
import { SECOND_STAGE_REASON, WalkFault } from "./walk-fault.ts";

// The module's own: an imported constant is looked up at every use, which hits and walks feel.
const { Execute, Read, Write } = Access;
const { FIRST: INTERRUPT_FIRST_PAGE, LAST: INTERRUPT_LAST_PAGE } = INTERRUPT_PAGES;
const PRESENT = 1;
const WRITABLE = 1 << 1;
const USER = 1 << 2;
const ACCESSED = 1 << 5;
const DIRTY = 1 << 6;
const PAGE = 1 << 7;
const EXTENDED_ACCESSED = 1 << 10;
/** XD, bit 63. */
const EXECUTE_DISABLE = 0x8000_0000 | 0;

/** Not a reason: the walk must start again from the top. */
const NEEDS_GUEST_TABLE = -1;

/** How one first-stage table is walked. VT-d §3.6 "First-Stage Translation". */
export interface FirstStage extends SecondStage {
  /** Page number of the top table: of an HPA, or of a GPA when `nested`. */
  firstStageTable: number;
  /** 4 or 5. */
  firstStageLevels: number;
  /** Every table address and the result go through the second stage. */
  nested: boolean;
  /** Supervisor writes obey R/W. */
  writeProtect: boolean;
  /** XD counts. */
  noExecute: boolean;
  /** Set EA as well as A. */
  extendedAccessed: boolean;
  /** Accessed and dirty bits may be written: walks snoop. */
  firstStageSnoops: boolean;
  /** Tag of what the walk leaves in the paging-structure caches; 0 for none. */
  firstStageSpace: number;
}

/** Walks first-stage tables, nested in the second stage or alone. Faults are the specification's reasons. VT-d §3.6, §3.8 "Nested Translation". */
export class FirstStageWalker {
  /** 4 KiB page number that the page asked for translates to, after both stages. */
  page = 0;
  /** log2 of what the translation covers: the smaller of both stages' pages. */
  shift = 12;
  /** `Access` bits for user requests. */
  userRights = 0;
  /** `Access` bits for supervisor requests. */
  supervisorRights = 0;
  /** The leaf's low word of the first stage. */
  leaf = 0;
  /** The leaf's low word of the second stage; 0 without nesting. */
  secondLeaf = 0;
  /** A write through this translation has to set D first, in one stage or both. */
  clean = false;
  readonly #memory: TableMemory;
  readonly #structures: PagingStructureCache;
  readonly #second: SecondStageWalker;
  readonly #checkInterruptOutput: boolean;
  readonly #highReserved: number;
  /** What `walkPlain` leaves to `walk`, as in the second stage. */
  readonly #plainReserved: number;
  readonly #largeReserved = new Int32Array(6);
  /** The table being read, and the guest page, in two words, that the next second-stage walk is for. Fields, because large numbers as arguments would be allocated. */
  #hostTable = 0;
  #guestLow = 0;
  #guestHigh = 0;
  /** The guest page of the table being read is known: it is not after a hit in the paging-structure caches. */
  #guestKnown = false;
  /** The guest page that the first stage ends in. */
  #endLow = 0;
  #endHigh = 0;

  constructor(memory: TableMemory, { cap, hostAddressWidth }: VtdCapabilities, second: SecondStageWalker, structures: PagingStructureCache, checkInterruptOutput = true) {
    this.#memory = memory;
    this.#structures = structures;
    this.#checkInterruptOutput = checkInterruptOutput;
    this.#second = second;
    this.#highReserved = reservedAbove(hostAddressWidth);
    this.#plainReserved = this.#highReserved | FROM_8_TIB;
    // Bit 12 of a large page is its PAT bit. Intel SDM vol. 3 §4.5.
    this.#largeReserved.set([0, 0, 0x1f_e000, cap.FS1GP ? 0x3fff_e000 : PAGE, PAGE, PAGE]);
  }

  /**
   * Walks for one canonical page.
   * @param access     Read, Write, Execute: what the leaf must allow; 0 asks for nothing
   * @param privileged a supervisor request
   * @param flag       a write: set D as well, where the leaf allows writing
   * @returns a fault reason, 0 for none
   */
  walk(stage: Readonly<FirstStage>, low: number, high: number, access: Access, privileged: boolean, flag: boolean, explain?: ExplanationSink): number {
    const fault = this.#walk(stage, low, high, access, privileged, flag, stage.firstStageSpace, explain);
    // The paging-structure caches know where a table is, not its guest address, which setting its bits needs.
    return fault === NEEDS_GUEST_TABLE ? this.#walk(stage, low, high, access, privileged, flag, 0, explain) : fault;
  }

  #walk(stage: Readonly<FirstStage>, low: number, high: number, access: Access, privileged: boolean, flag: boolean, space: number, explain?: ExplanationSink): number {
    const memory = this.#memory;
    const levels = stage.firstStageLevels;
    let level = levels;
    let gathered = WRITABLE | USER;
    let executable = true;
    this.#hostTable = stage.firstStageTable;
    this.#guestLow = stage.firstStageTable | 0;
    this.#guestHigh = highOf(stage.firstStageTable);
    this.#guestKnown = true;
    const start = this.#structures.find(space, low, high, levels);
    if (start !== 0) {
      level = start;
      this.#hostTable = numberOf(this.#structures.tableLow, this.#structures.tableHigh);
      gathered = this.#structures.rights & (WRITABLE | USER);
      executable = (this.#structures.rights & 1) !== 0;
      this.#guestKnown = false;
    } else if (stage.nested) {
      const fault = this.#locate(stage, true, explain);
      if (fault !== 0) return fault;
    }
    for (;;) {
      const table = this.#hostTable;
      const index = indexAt(low, high, level);
      const words = memory.wordsOf(table);
      if (words === undefined) {
        explain?.step({ structure: `first-stage entry, level ${level}`, address: table * 4096 + 8 * index, rule: "A table is in memory", section: "VT-d §3.6", outcome: "no memory there" });
        return level === levels ? 0x73 : 0x70;
      }
      const at = memory.wordOf(table) + 2 * index;
      const first = (words[at] as number) | 0; // a page has 512 entries; int32 as what it is compared with
      const second = words[at + 1] as number;
      const isPage = level === 1 || (first & PAGE) !== 0;
      const fault = this.#judge(first, second, level);
      if (explain !== undefined) explainEntry(explain, level, table * 4096 + 8 * index, words, at, fault, isPage);
      if (fault !== 0) return fault;
      gathered &= first;
      if (stage.noExecute && (second & EXECUTE_DISABLE) !== 0) executable = false;
      if (isPage) {
        const inside = low & ((1 << (9 * (level - 1))) - 1);
        const leaf = level === 1 ? first : first & ~0x1000; // bit 12 of a large page is PAT
        if (stage.nested) {
          this.#endLow = lowPageIn(leaf, second) | inside;
          this.#endHigh = highPageIn(second);
        } else this.page = pageIn(leaf, second) + inside;
        this.shift = 12 + 9 * (level - 1);
        return this.#finish(stage, first, gathered, executable, index, access, privileged, flag, explain);
      }
      const used = first | ACCESSED | (stage.extendedAccessed ? EXTENDED_ACCESSED : 0);
      if (used !== first) {
        const denied = this.#writeFlags(stage, index, used, explain);
        if (denied !== 0) return denied;
      }
      level--;
      if (stage.nested) {
        this.#guestLow = lowPageIn(first, second);
        this.#guestHigh = highPageIn(second);
        this.#guestKnown = true;
        const denied = this.#locate(stage, false, explain);
        if (denied !== 0) return denied;
      } else this.#hostTable = pageIn(first, second);
      if (space !== 0 && level <= this.#structures.keptLevels) this.#structures.insert(space, low, high, level, this.#hostTable, gathered | (executable ? 1 : 0));
    }
  }

  /**
   * The same walk where there is nothing to say, as `SecondStageWalker.walkPlain`.
   * @returns false when it is not so, with nothing changed: `walk` has to find out
   */
  walkPlain(stage: Readonly<FirstStage>, low: number, high: number, access: Access, privileged: boolean, flag: boolean): boolean {
    const memory = this.#memory;
    const structures = this.#structures;
    const second = this.#second;
    const space = stage.firstStageSpace;
    const nested = stage.nested;
    const secondLevels = stage.secondStageLevels;
    // Guest pages come in two words: nothing of them is too large.
    const plainReserved = nested ? this.#highReserved : this.#plainReserved;
    const needed = PRESENT | ACCESSED | (stage.extendedAccessed ? EXTENDED_ACCESSED : 0);
    let level = stage.firstStageLevels;
    let table = stage.firstStageTable | 0;
    let gathered = WRITABLE | USER;
    let executable = 1;
    const known = space === 0 ? 0 : structures.find(space, low, high, level);
    if (known !== 0) {
      if (structures.tableHigh !== 0 || structures.tableLow < 0) return false;
      level = known;
      table = structures.tableLow;
      gathered = structures.rights & (WRITABLE | USER);
      executable = structures.rights & 1;
    } else {
      const above = highOf(stage.firstStageTable);
      if (nested) {
        if (second.exceeds(table, above, secondLevels) || !second.walkPlain(stage, table, above, Read, false)) return false;
        table = second.page;
      } else if (above !== 0 || table < 0) return false;
    }
    for (;;) {
      const words = memory.wordsOf(table);
      if (words === undefined) return false;
      const at = memory.wordOf(table) + 2 * indexAt(low, high, level);
      const entry = (words[at] as number) | 0; // a page has 512 entries
      const above = (words[at + 1] as number) | 0;
      const large = level > 1 && (entry & PAGE) !== 0;
      if ((entry & needed) !== needed || (above & plainReserved) !== 0 || (large && (entry & (this.#largeReserved[level] as number)) !== 0)) return false;
      gathered &= entry;
      if (above < 0 && stage.noExecute) executable = 0;
      if (level === 1 || large) {
        const page = lowPageIn(large ? entry & ~0x1000 : entry, above) | (low & ((1 << (9 * (level - 1))) - 1)); // bit 12 of a large page is PAT
        this.shift = 12 + 9 * (level - 1);
        return this.#finishPlain(stage, entry, page, highPageIn(above), gathered, executable, access, privileged, flag);
      }
      level--;
      table = lowPageIn(entry, above);
      if (nested) {
        const far = highPageIn(above);
        if (second.exceeds(table, far, secondLevels) || !second.walkPlain(stage, table, far, Read, false)) return false;
        table = second.page;
      }
      if (space !== 0 && level <= structures.keptLevels) structures.insert(space, low, high, level, table, gathered | executable);
    }
  }

  #finishPlain(stage: Readonly<FirstStage>, entry: number, page: number, far: number, gathered: number, executable: number, access: Access, privileged: boolean, flag: boolean): boolean {
    const execute = executable !== 0 ? Execute : 0;
    const write = (gathered & WRITABLE) !== 0 ? Write : 0;
    let user = (gathered & USER) !== 0 ? Read | write | execute : 0;
    let supervisor = Read | (stage.writeProtect ? write : Write) | execute;
    const rights = privileged ? supervisor : user;
    const writes = flag && (rights & Write) !== 0;
    if (rights === 0 || (access & ~rights) !== 0 || (writes && (entry & DIRTY) === 0)) return false;
    let clean = !writes && (entry & DIRTY) === 0;
    let end = page;
    this.secondLeaf = 0;
    if (stage.nested) {
      const second = this.#second;
      if (second.exceeds(page, far, stage.secondStageLevels) || !second.walkPlain(stage, page, far, throughSecond(access), writes)) return false;
      const both = second.rights | Execute;
      user &= both;
      supervisor &= both;
      clean ||= !writes && second.clean;
      end = second.page;
      if (second.shift < this.shift) this.shift = second.shift;
      this.secondLeaf = second.leaf;
    } else if (this.#checkInterruptOutput && page >= INTERRUPT_FIRST_PAGE && page <= INTERRUPT_LAST_PAGE) return false;
    this.leaf = entry;
    this.page = end;
    this.userRights = user;
    this.supervisorRights = supervisor;
    this.clean = clean;
    return true;
  }

  #judge(first: number, second: number, level: number): number {
    if ((first & PRESENT) === 0) return 0x71;
    const large = level > 1 && (first & PAGE) !== 0;
    // Without XD support in force bit 63 is reserved in the processor's format, but ignored here. VT-d §9.7.
    if ((second & this.#highReserved) !== 0 || (large && (first & (this.#largeReserved[level] as number)) !== 0)) return 0x72;
    return 0;
  }

  /** Finds the host page of a first-stage table in the second stage. VT-d §3.8. */
  #locate(stage: Readonly<FirstStage>, top: boolean, explain?: ExplanationSink): number {
    const second = this.#second;
    if (second.exceeds(this.#guestLow, this.#guestHigh, stage.secondStageLevels)) return 0x74;
    const fault = second.walk(stage, this.#guestLow, this.#guestHigh, Read, false, explain);
    if (fault === WalkFault.NoRead) return top ? 0x75 : 0x76;
    if (fault !== WalkFault.None) return SECOND_STAGE_REASON[fault] as number;
    this.#hostTable = second.page;
    return 0;
  }

  /** Sets accessed and dirty bits in an entry: 0 or a reason. The table's own page becomes dirty in the second stage. VT-d §3.6.2, §3.8.1. */
  #writeFlags(stage: Readonly<FirstStage>, index: number, value: number, explain?: ExplanationSink): number {
    if (stage.nested) {
      if (!this.#guestKnown) return NEEDS_GUEST_TABLE;
      const second = this.#second;
      const fault = second.walk(stage, this.#guestLow, this.#guestHigh, Read | Write, true, explain);
      if (fault !== WalkFault.None) return fault === WalkFault.NoWrite ? 0x77 : (SECOND_STAGE_REASON[fault] as number);
    }
    if (!stage.firstStageSnoops) return 0x90;
    if (this.#memory.canUpdate?.(this.#hostTable) === false) return 0x91;
    this.#memory.write32(this.#hostTable * 4096 + 8 * index, value);
    return 0;
  }

  #finish(stage: Readonly<FirstStage>, first: number, gathered: number, executable: boolean, index: number, access: Access, privileged: boolean, flag: boolean, explain?: ExplanationSink): number {
    const execute = executable ? Execute : 0;
    const write = (gathered & WRITABLE) !== 0 ? Write : 0;
    this.userRights = (gathered & USER) !== 0 ? Read | write | execute : 0;
    this.supervisorRights = Read | (stage.writeProtect ? write : Write) | execute;
    this.leaf = first;
    this.secondLeaf = 0;
    if (!privileged && (gathered & USER) === 0 && access !== 0) return 0x81;
    const rights = privileged ? this.supervisorRights : this.userRights;
    if ((access & ~rights & Execute) !== 0) return 0x82;
    if ((access & ~rights & Write) !== 0) return 0x85;
    let fault = stage.nested ? this.#nest(stage, access, false, explain) : this.#checkInterruptOutput && this.page >= INTERRUPT_FIRST_PAGE && this.page <= INTERRUPT_LAST_PAGE ? 0x87 : 0;
    if (fault !== 0) return fault;
    const finalClean = stage.nested && this.#second.clean;
    const writes = flag && ((privileged ? this.supervisorRights : this.userRights) & Write) !== 0;
    const wanted = first | ACCESSED | (stage.extendedAccessed ? EXTENDED_ACCESSED : 0) | (writes ? DIRTY : 0);
    if (wanted !== first) {
      const page = this.page;
      fault = this.#writeFlags(stage, index, wanted, explain);
      if (fault !== 0) return fault;
      this.page = page;
    }
    if (writes && finalClean) fault = this.#nest(stage, access, true, explain);
    this.clean = !writes && ((wanted & DIRTY) === 0 || finalClean);
    return fault;
  }

  /** Sends the first stage's result through the second. */
  #nest(stage: Readonly<FirstStage>, access: Access, writes: boolean, explain?: ExplanationSink): number {
    const second = this.#second;
    if (second.exceeds(this.#endLow, this.#endHigh, stage.secondStageLevels)) return 0x84;
    const fault = second.walk(stage, this.#endLow, this.#endHigh, throughSecond(access), writes, explain);
    if (fault !== WalkFault.None) return SECOND_STAGE_REASON[fault] as number;
    const rights = second.rights | Execute;
    this.userRights &= rights;
    this.supervisorRights &= rights;
    this.page = second.page;
    this.shift = Math.min(this.shift, second.shift);
    this.secondLeaf = second.leaf;
    return 0;
  }
}

/** What an access needs of the second stage: an instruction fetch reads. VT-d §3.8. */
const throughSecond = (access: Access): Access => (access & (Read | Write)) | ((access & Execute) !== 0 ? Read : 0);

const explainEntry = (explain: ExplanationSink, level: number, address: number, words: Uint32Array, at: number, fault: number, isPage: boolean): void => {
  explainStructure(explain, FIRST_STAGE_ENTRY, `first-stage entry, level ${level}`, address, words, at, RULES[fault] ?? "", "VT-d §3.6.1, §9.7", fault === 0 ? (isPage ? "page" : "next level") : `fault ${fault.toString(16)}h`);
};

const RULES: Readonly<Record<number, string>> = { 0: "The entry is present and no reserved bit is set", 0x71: "An entry with P clear is not present", 0x72: "Reserved bits of a present entry are 0" };
