import { Access, type CachePolicy, type ExplanationSink } from "@iommu-lab/pci-bus";
import { DEVICE_TABLE_ENTRY } from "../layouts/index.ts";
import type { AmdCapabilities } from "./capabilities.ts";
import { DeviceEntry, EntryFault } from "./device-entry.ts";
import { ENTRY_WORDS, reservedInEntry } from "./device-rules.ts";
import { explainRule, explainStructure } from "./explain.ts";
import { pageIn, type TableMemory } from "./table-memory.ts";

/** Entries of the realistic cache. */
const REALISTIC_ENTRIES = 256;
const DEVICES = 0x1_0000;
/** Entries on a page. */
const PAGE_ENTRIES = 128;
const VALID = 1;

/** Why no entry was found. */
export const LookupFailure = { None: 0, Unreadable: 1, BeyondTable: 2 } as const;

/** The device table, its segments, and the cache of its entries. AMD-Vi §2.2.2 "Device Table". */
export class DeviceTable {
  /** Page number of each segment's table. */
  readonly bases = new Float64Array(8);
  /** 4 KiB pages of each segment's table, less one. */
  readonly sizes = new Uint16Array(8);
  /** log2 of the segments in use. */
  segmentBits = 0;
  /** Why the last `find` found nothing, and where it looked. */
  failure = 0;
  failedAt = 0;
  hits = 0;
  misses = 0;
  readonly #memory: TableMemory;
  readonly #reserved: Int32Array;
  readonly #accessedSupported: boolean;
  readonly #dirtySupported: boolean;
  readonly #guestLevels: number;
  readonly #gcr3Levels: number;
  readonly #policy: CachePolicy;
  readonly #snp: boolean;
  /** Entries that are not valid at all may be cached. */
  readonly #keepInvalid: boolean;
  readonly #scratch = new DeviceEntry();
  readonly #slots: (DeviceEntry | undefined)[] = new Array<undefined>(DEVICES).fill(undefined);
  /** Devices with a cached entry, oldest first, for replacement. */
  readonly #order = new Uint16Array(REALISTIC_ENTRIES);
  #count = 0;
  /** Raised by the invalidation of everything: entries cached before are not found. */
  #generation = 0;

  /** @param snp SNP is active: DMA needs a host table */
  constructor(memory: TableMemory, capabilities: AmdCapabilities, policy: CachePolicy, snp = false) {
    const { efr, npCache } = capabilities;
    this.#memory = memory;
    this.#reserved = reservedInEntry(capabilities);
    this.#accessedSupported = efr.HASup === 1;
    this.#dirtySupported = efr.HDSup === 1;
    this.#guestLevels = 4 + efr.GATS;
    this.#gcr3Levels = 1 + efr.GLXSup;
    this.#policy = policy;
    this.#snp = snp;
    this.#keepInvalid = policy === "adversarial" && npCache;
  }

  /** What is known of a device: its fields say whether it still counts. */
  slotOf(deviceId: number): DeviceEntry | undefined {
    return this.#slots[deviceId];
  }

  /** The entry of a device; undefined, with `failure` set, when there is none to read. */
  find(deviceId: number, explain?: ExplanationSink): DeviceEntry | undefined {
    const slot = this.#slots[deviceId];
    if (slot?.cachedSince === this.#generation) {
      this.hits++;
      if (explain !== undefined) explainRule(explain, "device table entry cache", "A cached device table entry is used without reading memory", "AMD-Vi §2.4.2", "hit");
      return slot;
    }
    this.misses++;
    const segment = this.segmentBits === 0 ? 0 : deviceId >>> (16 - this.segmentBits);
    const index = deviceId & (0xffff >>> this.segmentBits);
    if (index >= ((this.sizes[segment] as number) + 1) * PAGE_ENTRIES) {
      if (explain !== undefined) explainRule(explain, "device table", "The DeviceID is inside the table", "AMD-Vi §2.2.2", "beyond the table");
      this.failure = LookupFailure.BeyondTable;
      return undefined;
    }
    const page = (this.bases[segment] as number) + Math.floor(index / PAGE_ENTRIES);
    const words = this.#memory.wordsOf(page);
    const address = page * 4096 + 32 * (index % PAGE_ENTRIES);
    if (words === undefined) {
      explain?.step({ structure: "device table entry", address, rule: "A table is in memory", section: "AMD-Vi §2.5.4", outcome: "DEV_TAB_HARDWARE_ERROR" });
      this.failure = LookupFailure.Unreadable;
      this.failedAt = address;
      return undefined;
    }
    const at = this.#memory.wordOf(page) + ENTRY_WORDS * (index % PAGE_ENTRIES);
    const entry = this.#policy === "none" ? this.#scratch : (this.#slots[deviceId] ??= new DeviceEntry());
    this.#read(entry, words, at);
    entry.deviceId = deviceId;
    if (explain !== undefined) explainStructure(explain, DEVICE_TABLE_ENTRY, "device table entry", address, words, at, "Reserved bits and values of each valid half are 0", "AMD-Vi §2.2.2", entry.dmaFault === 0 && entry.interruptFault === 0 ? "continue" : "ILLEGAL_DEV_TABLE_ENTRY");
    if (this.#policy !== "none" && (entry.valid || entry.interrupt.valid || this.#keepInvalid)) this.#keep(entry);
    return entry;
  }

  /** Every entry that the cache has. */
  get cached(): readonly DeviceEntry[] {
    return this.#slots.flatMap((slot) => (slot?.cachedSince === this.#generation ? [slot] : []));
  }

  /** INVALIDATE_DEVTAB_ENTRY. */
  invalidate(deviceId: number): void {
    this.#slots[deviceId]?.forget();
  }

  invalidateAll(): void {
    this.#generation++;
  }

  #keep(entry: DeviceEntry): void {
    entry.cachedSince = this.#generation;
    if (this.#policy !== "realistic") return;
    const at = this.#count++ % REALISTIC_ENTRIES;
    const old = this.#slots[this.#order[at] as number]; // at is below the length
    if (this.#count > REALISTIC_ENTRIES && old !== undefined && old !== entry) old.forget();
    this.#order[at] = entry.deviceId;
  }

  #read(entry: DeviceEntry, words: Uint32Array, at: number): void {
    const w0 = words[at] as number; // an entry has 8 words
    const w1 = words[at + 1] as number;
    const w2 = words[at + 2] as number;
    const w3 = words[at + 3] as number;
    entry.epoch = -1;
    entry.recentEpoch = -1;
    entry.valid = (w0 & VALID) !== 0;
    entry.translates = (w0 & 2) !== 0;
    entry.domain = w2 & 0xffff;
    entry.rights = (w1 >>> 29) & 3;
    entry.allowed = entry.rights | ((entry.rights & Access.Read) << 2);
    entry.hostLevels = (w0 >>> 9) & 7;
    entry.hostTable = pageIn(w0, w1);
    // HAD is ignored as far as it is not supported; 2 is reserved, and nothing is written then.
    entry.hostAccessed = this.#accessedSupported && (w0 & (1 << 7)) !== 0;
    entry.hostDirty = entry.hostAccessed && this.#dirtySupported && (w0 & (1 << 8)) !== 0;
    entry.pageRequests = (w1 & (1 << 20)) !== 0;
    entry.responsePasid = (w1 & (1 << 21)) !== 0;
    entry.guestForPlain = (w1 & (1 << 22)) !== 0;
    entry.guest = (w1 & (1 << 23)) !== 0;
    entry.gcr3Levels = ((w1 >>> 24) & 3) + 1;
    entry.gcr3Table = ((w1 >>> 26) & 7) + (w2 >>> 16) * 8 + (w3 >>> 11) * 0x8_0000;
    entry.ats = (w3 & 1) !== 0;
    entry.suppressRepeated = (w3 & 2) !== 0;
    entry.suppressAll = (w3 & 4) !== 0;
    entry.portIo = (w3 >>> 3) & 3;
    entry.exclusion = (w3 & (1 << 7)) !== 0;
    entry.systemManagement = (w3 >>> 8) & 3;
    const w4 = words[at + 4] as number;
    const w5 = words[at + 5] as number;
    entry.guestLevels = 4 + ((w5 >>> 22) & 3);
    entry.forceCoherent = ((words[at + 7] as number) & (1 << 23)) !== 0;
    const { interrupt } = entry;
    interrupt.valid = (w4 & VALID) !== 0;
    interrupt.tableLength = (w4 >>> 1) & 15;
    interrupt.ignoreUnmapped = (w4 & (1 << 5)) !== 0;
    interrupt.suppressAll = entry.suppressAll;
    interrupt.tablePage = (w4 >>> 7) + (w5 & 0xf_ffff) * 0x200_0000;
    interrupt.initPass = (w5 & (1 << 24)) !== 0;
    interrupt.externalPass = (w5 & (1 << 25)) !== 0;
    interrupt.nmiPass = (w5 & (1 << 26)) !== 0;
    interrupt.control = (w5 >>> 28) & 3;
    interrupt.lint0Pass = (w5 & (1 << 30)) !== 0;
    interrupt.lint1Pass = (w5 & (1 << 31)) !== 0;
    entry.dmaFault = entry.valid ? this.#judgeDma(entry, words, at) : EntryFault.None;
    entry.interruptFault = interrupt.valid && this.#anyReserved(words, at, 4) ? EntryFault.Reserved : EntryFault.None;
  }

  #judgeDma(entry: DeviceEntry, words: Uint32Array, at: number): number {
    if (this.#anyReserved(words, at, 0)) return EntryFault.Reserved;
    if (entry.guest && (entry.gcr3Levels > this.#gcr3Levels || entry.guestLevels > this.#guestLevels)) return EntryFault.Illegal;
    return this.#snp && entry.translates && entry.hostLevels === 0 ? EntryFault.Illegal : EntryFault.None;
  }

  #anyReserved(words: Uint32Array, at: number, from: 0 | 4): boolean {
    const masks = this.#reserved;
    return (((words[at + from] as number) & (masks[from] as number)) | ((words[at + from + 1] as number) & (masks[from + 1] as number)) | ((words[at + from + 2] as number) & (masks[from + 2] as number)) | ((words[at + from + 3] as number) & (masks[from + 3] as number))) !== 0;
  }
}
