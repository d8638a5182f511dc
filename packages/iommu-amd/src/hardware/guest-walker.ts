import { Access, type ExplanationSink } from "@iommu-lab/pci-bus";
import { GCR3_ENTRY, GUEST_PTE } from "../layouts/index.ts";
import type { AmdCapabilities } from "./capabilities.ts";
import { explainStructure } from "./explain.ts";
import { indexAt, type HostTable, type HostWalker } from "./host-walker.ts";
import type { PagingStructureCache } from "./paging-structure-cache.ts";
import { addressBitsAbove, highOf, highPageIn, lowPageIn, numberOf, type TableMemory } from "./table-memory.ts";
import { FAULT_TEXT, WalkFault } from "./walk-fault.ts";

const PRESENT = 1;
const WRITABLE = 1 << 1;
const USER = 1 << 2;
const ACCESSED = 1 << 5;
const DIRTY = 1 << 6;
const PAGE = 1 << 7;
const PRESENT_ACCESSED = PRESENT | ACCESSED;
/** Of what levels allow together: none has NX. In the place of P, which all have. */
const EXECUTABLE = 1;
const LAST_INT32 = 0x7fff_ffff;
/** NX, in the high word. */
const NO_EXECUTE = 0x8000_0000 | 0;
/** GCR3 entry: 11:1 and 63:52. */
export const GCR3_LOW_RESERVED = 0xffe;
export const GCR3_HIGH_RESERVED = 0xfff0_0000 | 0;

/** Not a fault: the walk must start again from the top. */
const NEEDS_GUEST_TABLE = -1;
/** Nor is this: the walk goes on otherwise. */
const MORE = -2;

/** A guest (v2) translation and the host table below it, if there is one. */
export interface GuestTable extends HostTable {
  /** Page number of the GCR3 table: of an HPA, or of a GPA under GCR3TRPMode. */
  gcr3Table: number;
  /** 1 to 3. */
  gcr3Levels: number;
  /** 4 or 5. */
  guestLevels: number;
  /** Tag of what walks leave in the paging-structure cache; 0 for none. */
  guestSpace: number;
}

/** What CONTROL says about guest walks; owned and mutated by the IOMMU. */
export interface GuestControl {
  /** GTEn. */
  enabled: boolean;
  /** GCR3TRPMode: GCR3 table pointers are guest-physical. */
  guestPointers: boolean;
  /** GDUpdateDis: dirty bits are not written. */
  keepsClean: boolean;
}

/** Walks GCR3 tables and guest (v2) page tables, nested in the host table or alone. AMD-Vi §2.2.3 "Guest Page Tables". */
export class GuestWalker {
  /** 4 KiB page number that the page asked for translates to, after both stages: bits 31:0 as int32, and those above. */
  pageLow = 0;
  pageHigh = 0;
  /** log2 of what the translation covers: the smaller of both stages' pages. */
  shift = 12;
  /** `Access` bits for user requests. */
  userRights = 0;
  /** `Access` bits for supervisor requests. */
  supervisorRights = 0;
  /** The host leaf's high word; 0 without nesting. */
  hostLeaf = 0;
  /** A write through this translation has to set D first, in one stage or both. */
  clean = false;
  /** The fault was in the host table: at `nestedPage`, a guest-physical page number. */
  nestedFault = false;
  nestedPage = 0;
  /** The faulting access to the host table was a write. */
  nestedWrite = false;
  unreadable = 0;
  reads = 0;
  readonly #memory: TableMemory;
  readonly #host: HostWalker;
  readonly #structures: PagingStructureCache;
  readonly #control: Readonly<GuestControl>;
  readonly #highReserved: number;
  readonly #pasids: number;
  readonly #noExecute: boolean;
  readonly #alwaysUser: number;
  /** The table at hand: its host page number, and where it is known its guest-physical one: bits 31:0 as int32 and those above, since a number past int32 might be allocated. */
  #hostTable = 0;
  #guestLow = 0;
  #guestHigh = 0;
  #guestKnown = false;
  /** Its level, and what all levels above allow: `WRITABLE`, `USER`, `EXECUTABLE`. */
  #level = 0;
  #gathered = 0;
  /** The guest-physical page that the guest's tables end in, likewise. */
  #endLow = 0;
  #endHigh = 0;

  constructor(memory: TableMemory, { efr, physicalAddressWidth }: AmdCapabilities, host: HostWalker, structures: PagingStructureCache, control: Readonly<GuestControl>) {
    this.#memory = memory;
    this.#host = host;
    this.#structures = structures;
    this.#control = control;
    this.#highReserved = addressBitsAbove(physicalAddressWidth);
    this.#pasids = 2 ** (efr.PASMax + 1);
    this.#noExecute = efr.NXSup === 1;
    this.#alwaysUser = efr.USSup === 1 ? 0 : USER;
  }

  /**
   * Walks for one page.
   * @param pasid  whose tables; below 2^20
   * @param access Read, Write, Execute: what the walk must allow; 0 asks for any
   * @param write  a write: set D as well, where the leaf allows writing
   * @returns a `WalkFault`
   */
  walk(stage: Readonly<GuestTable>, pasid: number, low: number, high: number, access: Access, privileged: boolean, write: boolean, explain?: ExplanationSink): number {
    const fault = this.#walk(stage, pasid, low, high, access, privileged, write, stage.guestSpace, explain);
    // The cache knows where a table is, not its guest address, which setting its bits needs.
    return fault === NEEDS_GUEST_TABLE ? this.#walk(stage, pasid, low, high, access, privileged, write, 0, explain) : fault;
  }

  #walk(stage: Readonly<GuestTable>, pasid: number, low: number, high: number, access: Access, privileged: boolean, write: boolean, space: number, explain?: ExplanationSink): number {
    this.nestedFault = false;
    const structures = this.#structures;
    if (!isCanonical(high, stage.guestLevels)) return WalkFault.NotPresent;
    this.#level = stage.guestLevels;
    this.#gathered = WRITABLE | USER | EXECUTABLE;
    const known = structures.find(space, low, high, stage.guestLevels);
    if (known !== 0) {
      this.#guestKnown = false;
      this.#hostTable = numberOf(structures.tableLow, structures.tableHigh);
      this.#level = known;
      this.#gathered = structures.rights;
    } else {
      const fault = this.#root(stage, pasid, explain);
      if (fault !== WalkFault.None) return fault;
    }
    const fault = explain === undefined ? this.#walkPlain(stage, low, high, access, privileged, write, space) : MORE;
    return fault === MORE ? this.#walkOn(stage, low, high, access, privileged, write, space, explain) : fault;
  }

  /** Walks as far as the guest's entries are int32 and have nothing to say and nothing to be written: `MORE` where they have, with nothing of that entry done. */
  #walkPlain(stage: Readonly<GuestTable>, low: number, high: number, access: Access, privileged: boolean, write: boolean, space: number): number {
    const memory = this.#memory;
    const structures = this.#structures;
    const always = this.#alwaysUser;
    let level = this.#level;
    let gathered = this.#gathered;
    let table = this.#hostTable;
    while (table <= LAST_INT32) {
      const words = memory.wordsOf(table);
      if (words === undefined) break;
      const index = indexAt(low, high, level);
      const at = memory.wordOf(table) + 2 * index;
      const first = (words[at] as number) | 0; // a page has 512 entries
      const second = (words[at + 1] as number) | 0;
      const large = level > 1 && (first & PAGE) !== 0;
      const all = gathered & (first | always | EXECUTABLE) & (second < 0 && this.#noExecute ? ~EXECUTABLE : -1);
      if ((first & PRESENT_ACCESSED) !== PRESENT_ACCESSED || (second & this.#highReserved) !== 0 || (large && (first & (LARGE_RESERVED[level] as number)) !== 0)) break;
      if (!privileged && (all & USER) === 0) break;
      if ((access & ~(Access.Read | ((all & WRITABLE) !== 0 ? Access.Write : 0) | ((all & EXECUTABLE) !== 0 ? Access.Execute : 0))) !== 0) break;
      if (level === 1 || large) {
        const writes = write && (all & WRITABLE) !== 0;
        if (writes && !this.#control.keepsClean && (first & DIRTY) === 0) break;
        this.reads++;
        this.#take(first, second, level, low, all);
        return this.#finish(stage, first, table, index, access, writes);
      }
      this.reads++;
      gathered = all;
      level--;
      this.#level = level;
      this.#gathered = gathered;
      this.#follow(first, second);
      const unreachable = stage.hostLevels !== 0 ? this.#locate(stage) : this.#direct();
      if (unreachable !== 0) return unreachable;
      table = this.#hostTable;
      if (space !== 0 && level <= structures.keptLevels) structures.insert(space, low, high, level, table, gathered);
    }
    return MORE;
  }

  /** The rest of a walk, from the table at hand on. */
  #walkOn(stage: Readonly<GuestTable>, low: number, high: number, access: Access, privileged: boolean, write: boolean, space: number, explain: ExplanationSink | undefined): number {
    const memory = this.#memory;
    const nested = stage.hostLevels !== 0;
    let level = this.#level;
    let gathered = this.#gathered;
    for (;;) {
      const table = this.#hostTable;
      const index = indexAt(low, high, level);
      const words = memory.wordsOf(table);
      if (words === undefined) return this.#cannotRead(`guest entry, level ${level}`, table, index, explain);
      const at = memory.wordOf(table) + 2 * index;
      const first = (words[at] as number) | 0; // a page has 512 entries; int32 as what it is compared with
      const second = words[at + 1] as number;
      this.reads++;
      const isPage = level === 1 || (first & PAGE) !== 0;
      gathered &= first | this.#alwaysUser | EXECUTABLE;
      if (this.#noExecute && (second & NO_EXECUTE) !== 0) gathered &= ~EXECUTABLE;
      const fault = this.#judge(first, second, level, gathered, access, privileged);
      if (explain !== undefined) explainStructure(explain, GUEST_PTE, `guest entry, level ${level}`, table * 4096 + 8 * index, words, at, RULES[fault] as string, "AMD-Vi §2.2.3", fault === 0 ? (isPage ? "page" : "next level") : (FAULT_TEXT[fault] as string));
      if (fault !== WalkFault.None) return fault;
      if (isPage) {
        this.#take(first, second, level, low, gathered);
        return this.#finish(stage, first, table, index, access, write && (gathered & WRITABLE) !== 0, explain);
      }
      if ((first & ACCESSED) === 0) {
        const denied = this.#writeFlags(stage, table, index, first | ACCESSED, explain);
        if (denied !== 0) return denied;
      }
      this.#follow(first, second);
      level--;
      const unreachable = nested ? this.#locate(stage, explain) : this.#direct();
      if (unreachable !== 0) return unreachable;
      if (space !== 0 && level <= this.#structures.keptLevels) this.#structures.insert(space, low, high, level, this.#hostTable, gathered);
    }
  }

  /** From the PASID to the guest's top table. AMD-Vi §2.2.3 "Guest CR3 Table". */
  #root(stage: Readonly<GuestTable>, pasid: number, explain?: ExplanationSink): number {
    if (pasid >= this.#pasids || pasid >>> (9 * stage.gcr3Levels) !== 0) return WalkFault.NotPresent;
    const memory = this.#memory;
    const nested = stage.hostLevels !== 0;
    this.#guestLow = stage.gcr3Table | 0;
    this.#guestHigh = highOf(stage.gcr3Table);
    this.#guestKnown = true;
    for (let level = stage.gcr3Levels; level > 0; level--) {
      const fault = nested && this.#control.guestPointers ? this.#locate(stage, explain) : this.#direct();
      if (fault !== WalkFault.None) return fault;
      const table = this.#hostTable;
      const index = (pasid >>> (9 * (level - 1))) & 511;
      const words = memory.wordsOf(table);
      if (words === undefined) return this.#cannotRead(`GCR3 entry, level ${level}`, table, index, explain);
      const at = memory.wordOf(table) + 2 * index;
      const first = words[at] as number; // a page has 512 entries
      const second = words[at + 1] as number;
      this.reads++;
      const wrong = (first & PRESENT) === 0 ? WalkFault.NotPresent : (first & GCR3_LOW_RESERVED) !== 0 || (second & GCR3_HIGH_RESERVED) !== 0 ? WalkFault.Reserved : WalkFault.None;
      if (explain !== undefined) explainStructure(explain, GCR3_ENTRY, `GCR3 entry, level ${level}`, table * 4096 + 8 * index, words, at, "V=1 and reserved bits are 0", "AMD-Vi §2.2.3", FAULT_TEXT[wrong]);
      if (wrong !== WalkFault.None) return wrong;
      this.#follow(first, second);
    }
    return nested ? this.#locate(stage, explain) : this.#direct();
  }

  #cannotRead(structure: string, table: number, index: number, explain?: ExplanationSink): number {
    this.unreadable = table * 4096 + 8 * index;
    explain?.step({ structure, address: this.unreadable, rule: "A table is in memory", section: "AMD-Vi §2.5.5", outcome: FAULT_TEXT[WalkFault.Unreadable] });
    return WalkFault.Unreadable;
  }

  /** P, reserved bits, rights: the order of AMD-Vi §2.5.3. */
  #judge(first: number, second: number, level: number, gathered: number, access: Access, privileged: boolean): number {
    if ((first & PRESENT) === 0) return WalkFault.NotPresent;
    if ((second & this.#highReserved) !== 0) return WalkFault.Reserved;
    if (level > 1 && (first & PAGE) !== 0 && (first & (LARGE_RESERVED[level] as number)) !== 0) return WalkFault.Reserved;
    if (!privileged && (gathered & USER) === 0) return WalkFault.Permission;
    if ((access & Access.Write) !== 0 && (gathered & WRITABLE) === 0) return WalkFault.Permission;
    return (access & Access.Execute) !== 0 && (gathered & EXECUTABLE) === 0 ? WalkFault.Permission : WalkFault.None;
  }

  /** The table that an entry leads to. */
  #follow(first: number, second: number): void {
    this.#guestLow = lowPageIn(first, second);
    this.#guestHigh = highPageIn(second);
    this.#guestKnown = true;
  }

  #direct(): number {
    this.#hostTable = numberOf(this.#guestLow, this.#guestHigh);
    return WalkFault.None;
  }

  /** Finds the host page of the guest-physical table. */
  #locate(stage: Readonly<GuestTable>, explain?: ExplanationSink): number {
    const fault = this.#host.walk(stage, this.#guestLow, this.#guestHigh, Access.Read, false, explain);
    if (fault !== WalkFault.None) {
      this.nestedPage = numberOf(this.#guestLow, this.#guestHigh);
      return this.#nested(fault, false);
    }
    this.#hostTable = numberOf(this.#host.pageLow, this.#host.pageHigh);
    return WalkFault.None;
  }

  /** The host table refuses `nestedPage`. */
  #nested(fault: number, write: boolean): number {
    this.nestedFault = true;
    this.nestedWrite = write;
    this.unreadable = this.#host.unreadable;
    return fault;
  }

  /** Sets accessed and dirty bits in an entry of the table at hand. The host table must let its page be written. */
  #writeFlags(stage: Readonly<GuestTable>, table: number, index: number, value: number, explain?: ExplanationSink): number {
    if (stage.hostLevels !== 0) {
      if (!this.#guestKnown) return NEEDS_GUEST_TABLE;
      const fault = this.#host.walk(stage, this.#guestLow, this.#guestHigh, Access.Read | Access.Write, true, explain);
      if (fault !== WalkFault.None) {
        this.nestedPage = numberOf(this.#guestLow, this.#guestHigh);
        return this.#nested(fault, true);
      }
    }
    this.#memory.write32(table * 4096 + 8 * index, value);
    return WalkFault.None;
  }

  /** Takes the page that the guest's tables end in. */
  #take(first: number, second: number, level: number, low: number, gathered: number): void {
    const pages = 9 * (level - 1);
    const inside = (1 << pages) - 1;
    const rights = Access.Read | ((gathered & WRITABLE) !== 0 ? Access.Write : 0) | ((gathered & EXECUTABLE) !== 0 ? Access.Execute : 0);
    this.supervisorRights = rights;
    this.userRights = (gathered & USER) !== 0 ? rights : 0;
    this.shift = 12 + pages;
    this.#endLow = (lowPageIn(first, second) & ~inside) | (low & inside);
    this.#endHigh = highPageIn(second);
    this.hostLeaf = 0;
  }

  /** Sends the page that was taken through the host table, and sets what the entry lacks of accessed and dirty bits. @param writes a write that the tables allow */
  #finish(stage: Readonly<GuestTable>, first: number, table: number, index: number, access: Access, writes: boolean, explain?: ExplanationSink): number {
    let hostClean = false;
    if (stage.hostLevels !== 0) {
      const fault = this.#nest(stage, access, writes, explain);
      if (fault !== WalkFault.None) return fault;
      hostClean = this.#host.clean;
    } else {
      this.pageLow = this.#endLow;
      this.pageHigh = this.#endHigh;
    }
    const dirty = writes && !this.#control.keepsClean ? DIRTY : 0;
    const wanted = first | ACCESSED | dirty;
    if (wanted !== first) {
      const denied = this.#writeFlags(stage, table, index, wanted, explain);
      if (denied !== 0) return denied;
    }
    this.clean = hostClean || (!this.#control.keepsClean && (wanted & DIRTY) === 0);
    return WalkFault.None;
  }

  /** Sends the guest table's result through the host table. */
  #nest(stage: Readonly<GuestTable>, access: Access, writes: boolean, explain?: ExplanationSink): number {
    const host = this.#host;
    const wanted = (access & (Access.Read | Access.Write)) | ((access & Access.Execute) !== 0 ? Access.Read : 0);
    const fault = host.walk(stage, this.#endLow, this.#endHigh, wanted, writes, explain);
    if (fault !== WalkFault.None) {
      this.nestedPage = numberOf(this.#endLow, this.#endHigh);
      return this.#nested(fault, (access & Access.Write) !== 0);
    }
    const rights = host.rights | ((host.rights & Access.Read) !== 0 ? Access.Execute : 0);
    this.userRights &= rights;
    this.supervisorRights &= rights;
    this.pageLow = host.pageLow;
    this.pageHigh = host.pageHigh;
    if (host.shift < this.shift) this.shift = host.shift;
    this.hostLeaf = host.leaf;
    return WalkFault.None;
  }
}

/** Low-word bits of a large page that must be 0, by level; its size bit itself where there are no such pages. Bit 12 is its PAT bit. */
const LARGE_RESERVED = Int32Array.of(0, 0, 0x1f_e000, 0x3fff_e000, PAGE, PAGE);

/** Whether the address bits above the width all equal the highest one inside it. */
const isCanonical = (high: number, levels: number): boolean => {
  // Bit 35 (4 levels) or 44 (5 levels) of the page number and those above, as bits of its high 20.
  const above = high >> (levels === 4 ? 3 : 12);
  return above === 0 || above === (levels === 4 ? 0x1_ffff : 0xff);
};

const RULES: readonly string[] = [
  "The entry is present and allows the access",
  "A present entry has P=1",
  "Reserved bits of a present entry are 0",
  "Every level allows the access",
  "",
  "A table is in memory",
];
