import { Access, AddressType, Completion, NO_PASID, type CacheContents, type CachePolicy, type ExplanationSink, type Translation, type TranslationRequest } from "@iommu-lab/pci-bus";
import { AddressSpaceIds, NO_TAG } from "./address-space-ids.ts";
import { answer } from "./answers.ts";
import type { AmdCapabilities } from "./capabilities.ts";
import { EntryFault, type DeviceEntry } from "./device-entry.ts";
import { hostLevelsOf } from "./device-rules.ts";
import { DeviceTable } from "./device-table.ts";
import { explainRule } from "./explain.ts";
import { GuestWalker, type GuestControl } from "./guest-walker.ts";
import { HostWalker } from "./host-walker.ts";
import { Iotlb, IOTLB_ENTRY, NO_CACHE, UnboundedIotlb, type TranslationCache } from "./iotlb.ts";
import { NO_STRUCTURE_CACHE, SmallPagingStructureCache, UnboundedPagingStructureCache, type PagingStructureCache } from "./paging-structure-cache.ts";
import { PassedRanges } from "./passed-ranges.ts";
import { RequestFaults, type FaultPort } from "./request-faults.ts";
import { isHyperTransportRange, RequestType, TranslationType } from "./special-addresses.ts";
import type { ReverseMap } from "./reverse-map.ts";
import { numberOf, type TableMemory } from "./table-memory.ts";
import { INTERRUPT_RANGE as INTERRUPTS, TablelessRequests } from "./tableless-requests.ts";
import { WalkFault } from "./walk-fault.ts";

// The module's own: an imported constant is looked up at every use, which hits and walks feel.
const { CLEAN, CLEAN_SHIFT, FAR, FAULT_SHIFT, FLAGS, FORCE_COHERENT, LEAF_FLAGS, LEAF_SHIFT, PAGE, PAGE_HIGH, SHIFT_SHIFT, SUPERVISOR_SHIFT, UNTRANSLATED_ONLY, USER_RIGHTS } = IOTLB_ENTRY;
const { Execute, Privileged, Read, Write } = Access;
const { TranslationRequest: ASKED, Untranslated } = AddressType;
const NO_FAULT = WalkFault.None;
const INTERRUPT_RANGE = INTERRUPTS;

/** What a translator is built with. */
export interface TranslatorOptions {
  readonly memory: TableMemory;
  readonly capabilities: AmdCapabilities;
  readonly caches: CachePolicy;
  readonly iotlb: { readonly sets: number; readonly ways: number };
  /** SNP is active on the machine: DMA without translation is refused. */
  readonly snp: boolean;
  /** Under SNP: whose memory is. */
  readonly rmp?: ReverseMap;
  readonly port: FaultPort;
}

/** DMA remapping: from a request to a host page or an event, through all caches. AMD-Vi §2.1, §2.2. */
export class Translator {
  readonly guestControl: GuestControl = { enabled: false, guestPointers: false, keepsClean: false };
  readonly devices: DeviceTable;
  readonly spaces: AddressSpaceIds;
  readonly ranges = new PassedRanges();
  readonly faults: RequestFaults;
  readonly tableless: TablelessRequests;
  /** Domain of the last request's device; -1 when it had no entry. */
  domain = -1;
  misses = 0;
  /** Requests like their device's one before, and the other ones; of these those that looked into the IOTLB. */
  #repeated = 0;
  #others = 0;
  #otherLookups = 0;
  readonly #cache: TranslationCache;
  readonly #structures: PagingStructureCache;
  readonly #host: HostWalker;
  readonly #guest: GuestWalker;
  readonly #adversarial: boolean;
  readonly #keepFaults: boolean;
  readonly #iotlbSup: boolean;
  readonly #hyperTransport: boolean;
  readonly #maximumLevels: number;
  readonly #rmp: ReverseMap | undefined;
  #enabled = false;

  constructor(options: TranslatorOptions) {
    const { memory, capabilities, caches } = options;
    this.spaces = new AddressSpaceIds(caches !== "adversarial");
    const current = (space: number): boolean => this.spaces.isCurrent(space);
    this.#cache = caches === "none" ? NO_CACHE : caches === "realistic" ? new Iotlb(options.iotlb.sets, options.iotlb.ways) : new UnboundedIotlb(current);
    this.#structures = caches === "none" ? NO_STRUCTURE_CACHE : caches === "realistic" ? new SmallPagingStructureCache() : new UnboundedPagingStructureCache(current);
    this.devices = new DeviceTable(memory, capabilities, caches, options.snp);
    this.faults = new RequestFaults(options.port);
    this.tableless = new TablelessRequests(this.faults, this.ranges, options.snp, capabilities.physicalAddressWidth);
    this.#host = new HostWalker(memory, capabilities.physicalAddressWidth, this.#structures);
    this.#guest = new GuestWalker(memory, capabilities, this.#host, this.#structures, this.guestControl);
    this.#adversarial = caches === "adversarial";
    this.#keepFaults = this.#adversarial && capabilities.npCache;
    this.#iotlbSup = capabilities.iotlbSup;
    this.#hyperTransport = capabilities.efr2.HTRangeIgnore === 0;
    this.#maximumLevels = hostLevelsOf(capabilities);
    this.#rmp = options.rmp;
  }

  /** CONTROL.IommuEn. */
  get enabled(): boolean {
    return this.#enabled;
  }

  get requests(): number {
    return this.#others + this.#repeated;
  }
  /** Requests that looked into the IOTLB. */
  get lookups(): number {
    return this.#otherLookups + this.#repeated;
  }
  /** Device table entries found in their cache. */
  get deviceEntryHits(): number {
    return this.devices.hits + this.#repeated;
  }

  /** Host and guest table entries read. */
  get hostReads(): number {
    return this.#host.reads;
  }
  get guestReads(): number {
    return this.#guest.reads;
  }

  /** Registers that decide about requests were written: `guestControl`, `ranges`, or IommuEn. What entries remember of it is looked up again. */
  configure(enabled: boolean): void {
    this.#enabled = enabled;
    this.spaces.epoch++;
  }

  /** Translates one page and fills in `out`. AMD-Vi §2.1.3, §2.2.2. */
  translate(request: Readonly<TranslationRequest>, out: Translation, explain?: ExplanationSink): void {
    if (explain !== undefined || request.addressType !== Untranslated || !this.#again(request, out)) this.#translate(request, out, explain);
  }

  #translate(request: Readonly<TranslationRequest>, out: Translation, explain: ExplanationSink | undefined): void {
    this.#others++;
    this.#throughRegisters(request, out, explain);
    if (this.#rmp !== undefined && this.#enabled && out.completion === Completion.Successful && out.permissions !== 0) this.#judgeOwner(this.#rmp, request, out, explain);
  }

  /** Whether anything is translated, and the ranges that no table is about; then the device's entry. */
  #throughRegisters(request: Readonly<TranslationRequest>, out: Translation, explain: ExplanationSink | undefined): void {
    if (!this.#enabled) {
      this.tableless.disabled(request, out, explain);
      return;
    }
    const { addressType, page } = request;
    const low = page | 0;
    const high = page >= 0x1_0000_0000 ? Math.floor(page / 0x1_0000_0000) | 0 : 0;
    if (high === 0 && low >>> 8 === INTERRUPT_RANGE && addressType !== AddressType.Translated) {
      this.faults.invalid(request, out, RequestType.InterruptRange, "The interrupt range takes DWORD writes only", explain);
      return;
    }
    const entry = this.devices.find(request.requester, explain);
    this.domain = entry === undefined ? -1 : entry.domain;
    if (entry === undefined) {
      this.faults.noEntry(request, out, this.devices);
      return;
    }
    if (!entry.valid || entry.dmaFault !== EntryFault.None) {
      this.tableless.withoutEntry(request, out, entry, explain);
      return;
    }
    if (addressType !== Untranslated && (!entry.ats || !this.#iotlbSup)) {
      this.faults.invalid(request, out, addressType === AddressType.Translated ? RequestType.Pretranslated : TranslationType.NotAllowed, "Translation requests and pretranslated requests need I=1", explain);
      return;
    }
    if (addressType === AddressType.Translated) {
      this.tableless.translated(request, out, explain);
      return;
    }
    if (this.#hyperTransport && isHyperTransportRange(low, high) && this.tableless.special(request, out, entry, low, explain)) return;
    if (!entry.translates) {
      if (explain !== undefined) explainRule(explain, "device table entry", "With V=1 and TV=0 no DMA passes", "AMD-Vi §2.2.2, Table 8", "IO_PAGE_FAULT, not present");
      this.faults.page(request, out, entry, WalkFault.NotPresent, NO_PASID);
      return;
    }
    if (this.tableless.passes(request, out, entry, explain)) return;
    this.#throughTables(request, out, entry, low, high, explain);
  }

  /**
   * A device's untranslated request like the one before it, to read or write: its entry, and what the registers say, are as they were then,
   * so that only the page is to be judged. False when there is more to it.
   */
  #again(request: Readonly<TranslationRequest>, out: Translation): boolean {
    const { page, access } = request;
    const entry = this.devices.slotOf(request.requester);
    // Not `entry?.recentEpoch`: numbers are compared faster than what may be undefined.
    if (entry === undefined) return false;
    if (entry.recentEpoch !== this.spaces.epoch || entry.recentPasid !== request.pasid || access === 0) return false;
    const low = page | 0;
    const high = page >= 0x1_0000_0000 ? Math.floor(page / 0x1_0000_0000) | 0 : 0;
    if (high === 0 && isSpecial(low)) return false;
    const at = this.#cache.lookup(entry.recentSpace, low, high);
    if (at < 0) return this.#missAgain(request, out, entry, low, high);
    const { words } = this.#cache;
    const flags = words[at + FLAGS] as number; // at is of an entry
    // An entry that says "not present" has no rights, and a clean one must be walked again before a write.
    if ((access & ~(flags & entry.rights)) !== 0 || (flags & (FAR | ((access & Write) << CLEAN_SHIFT))) !== 0) return false;
    this.#repeated++;
    this.domain = entry.domain;
    const shift = (flags >>> SHIFT_SHIFT) & 63;
    out.page = (words[at + PAGE] as number) + (low & ((1 << (shift - 12)) - 1));
    answer(out, shift, flags & USER_RIGHTS, entry.allowed, (flags & FORCE_COHERENT) !== 0);
    return true;
  }

  /** The same for a page that is not in the IOTLB. */
  #missAgain(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, low: number, high: number): boolean {
    const { access } = request;
    if ((access & ~entry.rights) !== 0) return false;
    this.#repeated++;
    this.misses++;
    this.domain = entry.domain;
    if (entry.recentGuest) this.#walkGuest(request, out, entry, low, high, access, entry.guestPasid, false, false);
    else this.#walkHost(request, out, entry, low, high, access, false);
    return true;
  }

  /** Whether a device may send page requests, as its entry says; undefined when it has none that is valid. */
  pageRequester(deviceId: number): DeviceEntry | undefined {
    const entry = this.devices.find(deviceId);
    return entry !== undefined && entry.valid && entry.dmaFault === EntryFault.None && entry.pageRequests ? entry : undefined;
  }

  /** INVALIDATE_IOMMU_PAGES for a range: leaf entries, and with `directories` (PDE) the structures above them. AMD-Vi §2.4.3. */
  invalidatePages(domain: number, tag: number, low: number, high: number, mask: number, directories: boolean): void {
    const spaces = this.spaces.find(domain, tag);
    if (spaces === undefined) return;
    for (let i = 0; i < spaces.count; i++) {
      const space = spaces.ids[i] as number; // i is below the count
      this.#cache.invalidatePages(space, low, high, mask);
      if (directories) this.#structures.invalidatePages(space, low, high, mask);
    }
  }

  /** The same for one page of one address space. */
  invalidatePage(space: number, low: number, high: number, directories: boolean): void {
    this.#cache.invalidatePage(space, low, high);
    if (directories) this.#structures.invalidatePage(space, low, high);
  }

  /** INVALIDATE_DEVTAB_ENTRY. Cached translations keep their tags. AMD-Vi §2.4.2. */
  invalidateDevice(deviceId: number): void {
    this.devices.invalidate(deviceId);
    this.faults.forget(deviceId);
  }

  invalidateAll(): void {
    this.devices.invalidateAll();
    this.faults.forgetAll();
    this.spaces.invalidateAll();
  }

  /** What can be found in the caches now. */
  contents(): CacheContents {
    const names = this.spaces.inUse();
    const named = <T extends { readonly space: number }>(entries: Iterable<T>): (Omit<T, "space"> & { readonly domain: number; readonly pasid: number })[] =>
      [...entries].flatMap(({ space, ...entry }) => {
        const owner = names.get(space);
        return owner === undefined ? [] : [{ domain: owner.domain, pasid: owner.tag, ...entry }];
      });
    return { sources: this.devices.cached.map(({ deviceId, domain }) => ({ requester: deviceId, pasid: -1, domain })), translations: named(this.#cache.entries()), tables: named(this.#structures.entries()) };
  }

  /** Rights and levels of the entry, then the table that the request needs. AMD-Vi §2.2.2. */
  #throughTables(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, low: number, high: number, explain: ExplanationSink | undefined): void {
    const { pasid } = request;
    const access = request.access & USER_RIGHTS;
    const plainAccess = (access & Write) | ((access & (Read | Execute)) !== 0 ? Read : 0);
    if ((plainAccess & ~entry.rights) !== 0 && request.addressType === Untranslated) {
      if (explain !== undefined) explainRule(explain, "device table entry", "IR and IW allow the access", "AMD-Vi §2.2.2", "IO_PAGE_FAULT, no permission");
      this.faults.page(request, out, entry, WalkFault.Permission, pasid);
      return;
    }
    if (entry.hostLevels > this.#maximumLevels) {
      if (explain !== undefined) explainRule(explain, "device table entry", "Mode is at most what EFR.HATS allows", "AMD-Vi §2.2.2", "IO_PAGE_FAULT, bad level");
      this.faults.page(request, out, entry, WalkFault.Level, pasid);
      return;
    }
    const guest = entry.guest && this.guestControl.enabled;
    if (pasid === NO_PASID && !(guest && entry.guestForPlain)) {
      this.#throughHost(request, out, entry, low, high, plainAccess, explain);
      return;
    }
    if (guest) {
      this.#throughGuest(request, out, entry, low, high, access, pasid === NO_PASID ? 0 : pasid, explain);
      return;
    }
    if (explain !== undefined) explainRule(explain, "device table entry", "A request with PASID needs GV=1 and CONTROL.GTEn=1", "AMD-Vi §2.2.2", "IO_PAGE_FAULT, not present");
    this.faults.page(request, out, entry, WalkFault.NotPresent, pasid);
  }

  #throughHost(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, low: number, high: number, access: Access, explain?: ExplanationSink): void {
    if (this.tableless.relocates(request, out, entry, access, explain)) return;
    if (entry.hostLevels === 0) {
      this.tableless.modeZero(request, out, entry, explain);
      return;
    }
    if (entry.epoch !== this.spaces.epoch) this.#tag(entry);
    this.#remember(entry, NO_PASID, entry.hostSpace, false);
    this.#otherLookups++;
    const at = this.#cache.lookup(entry.hostSpace, low, high);
    if (at >= 0 && this.#hit(request, out, entry, at, low, high, access, false, NO_PASID, explain)) return;
    this.misses++;
    this.#walkHost(request, out, entry, low, high, access, at >= 0, explain);
  }

  /** @param found the IOTLB has an entry for the page, which did not settle it */
  #walkHost(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, low: number, high: number, access: Access, found: boolean, explain?: ExplanationSink): void {
    const translating = request.addressType === ASKED;
    const host = this.#host;
    const kind = host.walk(entry, low, high, translating ? 0 : access, (access & Write) !== 0, explain);
    if (kind !== NO_FAULT) {
      this.#hostFault(request, out, entry, low, high, kind);
      return;
    }
    const { rights, shift } = host;
    const flags = rights | (rights << SUPERVISOR_SHIFT) | (host.clean ? CLEAN : 0) | leafFlags(host.leaf) | (shift << SHIFT_SHIFT);
    if (entry.hostSpace !== 0) {
      if (found) this.#cache.insert(entry.hostSpace, low, high, host.pageLow, host.pageHigh, flags);
      else this.#cache.fill(entry.hostSpace, low, high, host.pageLow, host.pageHigh, flags);
    }
    out.page = numberOf(host.pageLow, host.pageHigh);
    answer(out, shift, translating ? shownTo(access, rights, flags) : rights, entry.allowed, (flags & FORCE_COHERENT) !== 0);
  }

  #throughGuest(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, low: number, high: number, access: Access, pasid: number, explain?: ExplanationSink): void {
    if (entry.epoch !== this.spaces.epoch) this.#tag(entry);
    if (entry.guestPasid !== pasid) this.#tagGuest(entry, pasid);
    this.#remember(entry, request.pasid, entry.guestSpace, true);
    const privileged = (request.access & Privileged) !== 0;
    this.#otherLookups++;
    const at = this.#cache.lookup(entry.guestSpace, low, high);
    if (at >= 0 && this.#hit(request, out, entry, at, low, high, access, privileged, pasid, explain)) return;
    this.misses++;
    this.#walkGuest(request, out, entry, low, high, access, pasid, privileged, at >= 0, explain);
  }

  #walkGuest(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, low: number, high: number, access: Access, pasid: number, privileged: boolean, found: boolean, explain?: ExplanationSink): void {
    const translating = request.addressType === ASKED;
    const guest = this.#guest;
    const kind = guest.walk(entry, pasid, low, high, translating ? 0 : access, privileged, (access & Write) !== 0, explain);
    if (kind !== NO_FAULT) {
      this.#guestFault(request, out, entry, low, high, kind, pasid);
      return;
    }
    const { shift, userRights, supervisorRights } = guest;
    const rights = privileged ? supervisorRights : userRights;
    const flags = userRights | (supervisorRights << SUPERVISOR_SHIFT) | (guest.clean ? CLEAN : 0) | leafFlags(guest.hostLeaf) | (shift << SHIFT_SHIFT);
    if (entry.guestSpace !== 0) {
      if (found) this.#cache.insert(entry.guestSpace, low, high, guest.pageLow, guest.pageHigh, flags);
      else this.#cache.fill(entry.guestSpace, low, high, guest.pageLow, guest.pageHigh, flags);
    }
    out.page = numberOf(guest.pageLow, guest.pageHigh);
    answer(out, shift, translating ? shownTo(access, rights, flags) : rights, entry.allowed, (flags & FORCE_COHERENT) !== 0);
  }

  #hostFault(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, low: number, high: number, kind: number): void {
    if (kind === WalkFault.Unreadable) {
      this.faults.unreadable(request, out, entry, this.#host, NO_PASID);
      return;
    }
    this.#keepFault(entry.hostSpace, low, high, kind);
    this.faults.page(request, out, entry, kind, NO_PASID);
  }

  #guestFault(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, low: number, high: number, kind: number, pasid: number): void {
    const guest = this.#guest;
    if (kind === WalkFault.Unreadable) this.faults.unreadable(request, out, entry, guest, guest.nestedFault ? NO_PASID : pasid);
    else if (guest.nestedFault) this.faults.nested(request, out, entry, kind, guest);
    else {
      this.#keepFault(entry.guestSpace, low, high, kind);
      this.faults.page(request, out, entry, kind, pasid);
    }
  }

  #keepFault(space: number, low: number, high: number, kind: number): void {
    if (this.#keepFaults && kind === WalkFault.NotPresent) this.#cache.insert(space, low, high, 0, 0, (kind << FAULT_SHIFT) | (12 << SHIFT_SHIFT));
  }

  #tag(entry: DeviceEntry): void {
    entry.hostSpace = this.#cache === NO_CACHE ? 0 : this.spaces.idOf(entry.domain, NO_TAG, entry.hostTable * 8 + entry.hostLevels);
    entry.guestPasid = -1;
    entry.epoch = this.spaces.epoch;
  }

  #tagGuest(entry: DeviceEntry, pasid: number): void {
    entry.guestSpace = this.#cache === NO_CACHE ? 0 : this.spaces.idOf(entry.domain, pasid, entry.gcr3Table * 8 + entry.gcr3Levels * 2 + (entry.guestLevels - 4));
    entry.guestPasid = pasid;
  }

  /** Under SNP the RMP has the last word about a page; what it says holds for 4 KiB. AMD-Vi §2.5.13, §2.5.14. */
  #judgeOwner(rmp: ReverseMap, request: Readonly<TranslationRequest>, out: Translation, explain: ExplanationSink | undefined): void {
    const { page } = out;
    const verdict = rmp(page, (request.access & Write) !== 0);
    if (explain !== undefined) explainRule(explain, "reverse map table", "Under SNP a device reaches pages that the RMP gives to the host", "AMD-Vi §2.5.13", verdict);
    out.pageShift = 12;
    if (verdict === "denied") this.faults.notOwned(request, out);
    else if (verdict === "unreadable") this.faults.noOwner(request, out, page);
  }

  /** For `#again`: with ranges in use every page is to be judged by them first, with an RMP by it afterwards. */
  #remember(entry: DeviceEntry, pasid: number, space: number, guest: boolean): void {
    entry.recentEpoch = this.ranges.any || this.#rmp !== undefined ? -1 : this.spaces.epoch;
    entry.recentPasid = pasid;
    entry.recentSpace = space;
    entry.recentGuest = guest;
  }

  /** Answers from the IOTLB; false when the entry does not settle it and the tables must be walked. */
  #hit(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, at: number, low: number, high: number, access: Access, privileged: boolean, pasid: number, explain?: ExplanationSink): boolean {
    const words = this.#cache.words;
    const flags = words[at + FLAGS] as number; // at is of an entry
    if (flags >>> FAULT_SHIFT !== 0) {
      if (explain !== undefined) explainRule(explain, "IOTLB", "NpCache: a cached entry says that the page is not present", "AMD-Vi §3.2", "IO_PAGE_FAULT, not present");
      this.faults.page(request, out, entry, flags >>> FAULT_SHIFT, pasid);
      return true;
    }
    const translating = request.addressType === ASKED;
    const rights = (privileged ? flags >>> SUPERVISOR_SHIFT : flags) & USER_RIGHTS;
    const missing = access & ~rights;
    // Only the adversarial cache insists on rights it has; others walk again before they fault.
    if (missing !== 0 && !this.#adversarial) return false;
    if ((flags & CLEAN) !== 0 && (access & rights & Write) !== 0) return false;
    if (missing !== 0 && !translating) {
      if (explain !== undefined) explainRule(explain, "IOTLB", "The cached translation does not allow the access", "AMD-Vi §2.4.3", "IO_PAGE_FAULT, no permission");
      this.faults.page(request, out, entry, WalkFault.Permission, pasid);
      return true;
    }
    const shift = (flags >>> SHIFT_SHIFT) & 63;
    const base = numberOf(words[at + PAGE] as number, words[at + PAGE_HIGH] as number);
    const page = shift === 12 ? base : base + insidePage(low, high, shift - 12);
    if (explain !== undefined) explain.step({ structure: "IOTLB", rule: "A cached translation is used without reading memory", section: "AMD-Vi §2.4.3", outcome: "hit", fields: { page, pageShift: shift, rights, domain: entry.domain } });
    out.page = page;
    answer(out, shift, translating ? translatedRights(rights, flags) : rights, entry.allowed, (flags & FORCE_COHERENT) !== 0);
    return true;
  }
}

/** Whether a page below 2^32 is in the interrupt range or in those of HyperTransport. */
const isSpecial = (low: number): boolean => low >>> 8 === INTERRUPT_RANGE || isHyperTransportRange(low, 0);

/** Page number inside a page of 2^bits pages. */
const insidePage = (low: number, high: number, bits: number): number => (bits < 32 ? low & (2 ** bits - 1) : (low >>> 0) + (high & (2 ** (bits - 32) - 1)) * 0x1_0000_0000);

/** FC and U of a host leaf's high word, as the IOTLB keeps them. */
const leafFlags = (high: number): number => (high >>> LEAF_SHIFT) & LEAF_FLAGS;

/** What the answer to a translation request may say: nothing of a page with U=1, no writing of one whose D is clear. */
const translatedRights = (rights: Access, flags: number): Access => ((flags & UNTRANSLATED_ONLY) !== 0 ? 0 : (flags & CLEAN) !== 0 ? rights & ~Write : rights);

/** The same after a walk: a device that did not ask to write must ask again before it does, or D would stay clear. */
const shownTo = (access: Access, rights: Access, flags: number): Access => translatedRights(rights, (access & Write) === 0 ? flags : flags & ~CLEAN);
