import { Access, AddressType, Completion, MemoryType, NO_PASID, type CachePolicy, type ExplanationSink, type Translation, type TranslationRequest } from "@iommu-lab/pci-bus";
import { EventCode } from "../layouts/index.ts";
import { AddressSpaceIds, NO_TAG } from "./address-space-ids.ts";
import type { AmdCapabilities } from "./capabilities.ts";
import { EntryFault, type DeviceEntry } from "./device-entry.ts";
import { hostLevelsOf } from "./device-rules.ts";
import { DeviceTable, LookupFailure } from "./device-table.ts";
import { explainRule } from "./explain.ts";
import { GuestWalker, type GuestControl } from "./guest-walker.ts";
import { HIGH_FORCE_COHERENT, HIGH_UNTRANSLATED_ONLY, HostWalker } from "./host-walker.ts";
import { CLEAN, FAULT_SHIFT, FLAGS, FORCE_COHERENT, Iotlb, NO_CACHE, PAGE, PAGE_HIGH, SHIFT_SHIFT, SUPERVISOR_SHIFT, UnboundedIotlb, UNTRANSLATED_ONLY, USER_RIGHTS, type TranslationCache } from "./iotlb.ts";
import { NO_STRUCTURE_CACHE, SmallPagingStructureCache, UnboundedPagingStructureCache, type PagingStructureCache } from "./paging-structure-cache.ts";
import { PassedRanges } from "./passed-ranges.ts";
import { isHyperTransportRange, RequestType, specialAddress, SpecialAddress, TranslationType, TYPE_SHIFT } from "./special-addresses.ts";
import type { TableMemory } from "./table-memory.ts";
import { FAULT_FLAGS, WalkFault } from "./walk-fault.ts";

/** Flags in an event's second word. AMD-Vi §2.5.3. */
const GN = 1 << 16;
const NX = 1 << 17;
const US = 1 << 18;
const PR = 1 << 20;
const RW = 1 << 21;
const RZ = 1 << 23;
const TR = 1 << 24;
const TARGET_ABORT = 2 << 25;
/** US of an INVALID_DEVICE_REQUEST. */
const REQUEST_US = 1 << 17;
const REQUEST_TYPE_SHIFT = 25;

const INTERRUPT_RANGE = 0xfee;
/** Pages from here to there may be special: the interrupt range and the HyperTransport ranges. */
const FIRST_SPECIAL = 0xf_ee00;
const LAST_SPECIAL = 0xfff_ffff;

/** Where events go. */
export interface TranslatorPort {
  /** Logs an event of four words. */
  logEvent(w0: number, w1: number, w2: number, w3: number): void;
  /** A request was aborted. */
  targetAbort(): void;
}

/** What a translator is built with. */
export interface TranslatorOptions {
  readonly memory: TableMemory;
  readonly capabilities: AmdCapabilities;
  readonly caches: CachePolicy;
  readonly iotlb: { readonly sets: number; readonly ways: number };
  /** SNP is active on the machine: DMA without translation is refused. */
  readonly snp: boolean;
  readonly port: TranslatorPort;
}

/** DMA remapping: from a request to a host page or an event, through all caches. AMD-Vi §2.1, §2.2. */
export class Translator {
  /** CONTROL.IommuEn. */
  enabled = false;
  readonly guestControl: GuestControl = { enabled: false, guestPointers: false, keepsClean: false };
  readonly devices: DeviceTable;
  readonly spaces: AddressSpaceIds;
  readonly ranges = new PassedRanges();
  /** Domain of the last request's device; -1 when it had no entry. */
  domain = -1;
  requests = 0;
  lookups = 0;
  misses = 0;
  untranslated = 0;
  pretranslated = 0;
  excluded = 0;
  aborted = 0;
  readonly #cache: TranslationCache;
  readonly #structures: PagingStructureCache;
  readonly #host: HostWalker;
  readonly #guest: GuestWalker;
  readonly #port: TranslatorPort;
  readonly #adversarial: boolean;
  readonly #keepFaults: boolean;
  readonly #snp: boolean;
  readonly #iotlbSup: boolean;
  readonly #hyperTransport: boolean;
  readonly #maximumLevels: number;
  readonly #pageLimit: number;
  /** Devices whose page fault was logged since their entry was invalidated (SE). */
  readonly #faulted = new Set<number>();

  constructor(options: TranslatorOptions) {
    const { memory, capabilities, caches } = options;
    this.spaces = new AddressSpaceIds(caches !== "adversarial");
    const current = (space: number): boolean => this.spaces.isCurrent(space);
    this.#cache = caches === "none" ? NO_CACHE : caches === "realistic" ? new Iotlb(options.iotlb.sets, options.iotlb.ways) : new UnboundedIotlb(current);
    this.#structures = caches === "none" ? NO_STRUCTURE_CACHE : caches === "realistic" ? new SmallPagingStructureCache() : new UnboundedPagingStructureCache(current);
    this.devices = new DeviceTable(memory, capabilities, caches);
    this.#host = new HostWalker(memory, capabilities.physicalAddressWidth, this.#structures);
    this.#guest = new GuestWalker(memory, capabilities, this.#host, this.#structures, this.guestControl);
    this.#port = options.port;
    this.#adversarial = caches === "adversarial";
    this.#keepFaults = this.#adversarial && capabilities.npCache;
    this.#snp = options.snp;
    this.#iotlbSup = capabilities.iotlbSup;
    this.#hyperTransport = capabilities.efr2.HTRangeIgnore === 0;
    this.#maximumLevels = hostLevelsOf(capabilities);
    this.#pageLimit = 2 ** (capabilities.physicalAddressWidth - 12);
  }

  /** Host and guest table entries read. */
  get hostReads(): number {
    return this.#host.reads;
  }
  get guestReads(): number {
    return this.#guest.reads;
  }

  /** Translates one page and fills in `out`. AMD-Vi §2.1.3, §2.2.2. */
  translate(request: Readonly<TranslationRequest>, out: Translation, explain?: ExplanationSink): void {
    this.requests++;
    if (this.enabled && !this.ranges.any && explain === undefined && this.#quick(request, out)) return;
    if (!this.enabled) {
      this.#disabled(request, out, explain);
      return;
    }
    const { addressType, page } = request;
    const low = page | 0;
    const high = page > 0x7fff_ffff ? Math.floor(page / 0x1_0000_0000) : 0;
    if (high === 0 && low >>> 8 === INTERRUPT_RANGE && addressType !== AddressType.Translated) {
      this.#invalidRequest(request, out, RequestType.InterruptRange, "The interrupt range takes DWORD writes only", explain);
      return;
    }
    const entry = this.devices.find(request.requester, explain);
    this.domain = entry === undefined ? -1 : entry.domain;
    if (entry === undefined) {
      this.#noEntry(request, out);
      return;
    }
    if (!entry.valid || entry.dmaFault !== EntryFault.None) {
      this.#withoutEntry(request, out, entry, explain);
      return;
    }
    if (addressType !== AddressType.Untranslated && (!entry.ats || !this.#iotlbSup)) {
      this.#invalidRequest(request, out, addressType === AddressType.Translated ? RequestType.Pretranslated : TranslationType.NotAllowed, "Translation requests and pretranslated requests need I=1", explain);
      return;
    }
    if (addressType === AddressType.Translated) {
      this.#translated(request, out, entry, explain);
      return;
    }
    if (this.#hyperTransport && isHyperTransportRange(low, high) && this.#special(request, out, entry, low, explain)) return;
    if (!entry.translates) {
      if (explain !== undefined) explainRule(explain, "device table entry", "With V=1 and TV=0 no DMA passes", "AMD-Vi §2.2.2, Table 8", "IO_PAGE_FAULT, not present");
      this.#pageFault(request, out, entry, WalkFault.NotPresent, NO_PASID);
      return;
    }
    if (this.ranges.excludes(page, entry.exclusion)) {
      this.excluded++;
      if (explain !== undefined) explainRule(explain, "exclusion range", "An address in the exclusion range passes untranslated, whatever its rights", "AMD-Vi §2.2.4", "untranslated");
      this.#identity(out, page, false);
      return;
    }
    const access = request.access & USER_RIGHTS;
    const plainAccess = (access & Access.Write) | ((access & (Access.Read | Access.Execute)) !== 0 ? Access.Read : 0);
    if ((plainAccess & ~entry.rights) !== 0 && addressType === AddressType.Untranslated) {
      if (explain !== undefined) explainRule(explain, "device table entry", "IR and IW allow the access", "AMD-Vi §2.2.2", "IO_PAGE_FAULT, no permission");
      this.#pageFault(request, out, entry, WalkFault.Permission, request.pasid);
      return;
    }
    if (entry.hostLevels > this.#maximumLevels) {
      if (explain !== undefined) explainRule(explain, "device table entry", "Mode is at most what EFR.HATS allows", "AMD-Vi §2.2.2", "IO_PAGE_FAULT, bad level");
      this.#pageFault(request, out, entry, WalkFault.Level, request.pasid);
      return;
    }
    const guest = entry.guest && this.guestControl.enabled;
    if (request.pasid !== NO_PASID || (guest && entry.guestForPlain)) {
      if (guest) this.#throughGuest(request, out, entry, low, high, access, request.pasid === NO_PASID ? 0 : request.pasid, explain);
      else {
        if (explain !== undefined) explainRule(explain, "device table entry", "A request with PASID needs GV=1 and CONTROL.GTEn=1", "AMD-Vi §2.2.2", "IO_PAGE_FAULT, not present");
        this.#pageFault(request, out, entry, WalkFault.NotPresent, request.pasid);
      }
      return;
    }
    this.#throughHost(request, out, entry, low, high, plainAccess, explain);
  }

  /** Ordinary requests that the host table alone decides: the same decisions as below, in few steps. False when any of them needs more. */
  #quick(request: Readonly<TranslationRequest>, out: Translation): boolean {
    const { page, access } = request;
    if (request.addressType !== AddressType.Untranslated || request.pasid !== NO_PASID || (page >= FIRST_SPECIAL && page <= LAST_SPECIAL)) return false;
    const entry = this.devices.cached(request.requester);
    if (entry === undefined || !entry.plain || entry.epoch !== this.spaces.epoch || access === 0 || (access & ~entry.rights) !== 0) return false;
    const low = page | 0;
    const high = page > 0x7fff_ffff ? Math.floor(page / 0x1_0000_0000) : 0;
    const cache = this.#cache;
    const at = cache.lookup(entry.hostSpace, low, high);
    if (at < 0) {
      this.#count(entry);
      this.misses++;
      this.#walkHost(request, out, entry, low, high, access);
      return true;
    }
    const { words } = cache;
    const flags = words[at + FLAGS] as number; // at is of an entry
    const rights = flags & entry.rights;
    if ((access & ~rights) !== 0 || ((flags & CLEAN) !== 0 && (access & Access.Write) !== 0)) return false;
    this.#count(entry);
    const shift = (flags >>> SHIFT_SHIFT) & 63;
    const first = words[at + PAGE] as number;
    const far = words[at + PAGE_HIGH] as number;
    const base = far === 0 && first >= 0 ? first : far * 0x1_0000_0000 + (first >>> 0);
    out.page = shift === 12 ? base : base + insidePage(low, high, shift - 12);
    out.pageShift = shift;
    out.permissions = rights;
    out.global = false;
    out.memoryType = MemoryType.WriteBack;
    out.snoop = (flags & FORCE_COHERENT) !== 0;
    out.fault = 0;
    out.recorded = false;
    out.completion = Completion.Successful;
    return true;
  }

  #count(entry: DeviceEntry): void {
    this.devices.hits++;
    this.lookups++;
    this.domain = entry.domain;
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

  /** INVALIDATE_DEVTAB_ENTRY. Cached translations keep their tags. AMD-Vi §2.4.2. */
  invalidateDevice(deviceId: number): void {
    this.devices.invalidate(deviceId);
    this.#faulted.delete(deviceId);
  }

  invalidateAll(): void {
    this.devices.invalidateAll();
    this.#faulted.clear();
    this.spaces.invalidateAll();
  }

  /** Whether a page fault of a device goes into the log; SE lets one through. */
  mayLog(deviceId: number, suppressAll: boolean, suppressRepeated: boolean): boolean {
    if (suppressAll || (suppressRepeated && this.#faulted.has(deviceId))) return false;
    this.#faulted.add(deviceId);
    return true;
  }

  #throughHost(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, low: number, high: number, access: Access, explain?: ExplanationSink): void {
    const marc = this.ranges.marcFor(request.page);
    if (marc >= 0) {
      this.#relocate(request, out, entry, marc, access, explain);
      return;
    }
    if (entry.hostLevels === 0) {
      this.#modeZero(request, out, entry, explain);
      return;
    }
    if (entry.epoch !== this.spaces.epoch) this.#tag(entry);
    this.lookups++;
    const at = this.#cache.lookup(entry.hostSpace, low, high);
    if (at >= 0 && this.#hit(request, out, entry, at, low, high, access, false, NO_PASID, explain)) return;
    this.misses++;
    this.#walkHost(request, out, entry, low, high, access, explain);
  }

  #walkHost(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, low: number, high: number, access: Access, explain?: ExplanationSink): void {
    const translating = request.addressType === AddressType.TranslationRequest;
    const host = this.#host;
    const kind = host.walk(entry, low, high, translating ? 0 : access, (access & Access.Write) !== 0, explain);
    if (kind !== WalkFault.None) {
      if (kind === WalkFault.Unreadable) this.#unreadable(request, out, entry, host.unreadable, NO_PASID, (access & Access.Write) !== 0);
      else {
        if (this.#keepFaults && kind === WalkFault.NotPresent) this.#cache.insert(entry.hostSpace, low, high, 12, 0, kind << FAULT_SHIFT);
        this.#pageFault(request, out, entry, kind, NO_PASID);
      }
      return;
    }
    this.#grant(request, out, entry, entry.hostSpace, low, high, host.page, host.shift, host.rights, host.rights, host.clean, host.leaf, access, false);
  }

  #throughGuest(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, low: number, high: number, access: Access, pasid: number, explain?: ExplanationSink): void {
    if (entry.epoch !== this.spaces.epoch) this.#tag(entry);
    if (entry.guestPasid !== pasid) this.#tagGuest(entry, pasid);
    const privileged = (request.access & Access.Privileged) !== 0;
    this.lookups++;
    const at = this.#cache.lookup(entry.guestSpace, low, high);
    if (at >= 0 && this.#hit(request, out, entry, at, low, high, access, privileged, pasid, explain)) return;
    this.misses++;
    const translating = request.addressType === AddressType.TranslationRequest;
    const guest = this.#guest;
    const write = (access & Access.Write) !== 0;
    const kind = guest.walk(entry, pasid, low, high, translating ? 0 : access, privileged, write, explain);
    if (kind !== WalkFault.None) {
      if (kind === WalkFault.Unreadable) this.#unreadable(request, out, entry, guest.unreadable, guest.nestedFault ? NO_PASID : pasid, write);
      else if (guest.nestedFault) this.#nestedFault(request, out, entry, kind);
      else {
        if (this.#keepFaults && kind === WalkFault.NotPresent) this.#cache.insert(entry.guestSpace, low, high, 12, 0, kind << FAULT_SHIFT);
        this.#pageFault(request, out, entry, kind, pasid);
      }
      return;
    }
    this.#grant(request, out, entry, entry.guestSpace, low, high, guest.page, guest.shift, guest.userRights, guest.supervisorRights, guest.clean, guest.hostLeaf, access, privileged);
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

  /** Answers from the IOTLB; false when the entry does not settle it and the tables must be walked. */
  #hit(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, at: number, low: number, high: number, access: Access, privileged: boolean, pasid: number, explain?: ExplanationSink): boolean {
    const words = this.#cache.words;
    const flags = words[at + FLAGS] as number; // at is of an entry
    if (flags >>> FAULT_SHIFT !== 0) {
      if (explain !== undefined) explainRule(explain, "IOTLB", "NpCache: a cached entry says that the page is not present", "AMD-Vi §3.2", "IO_PAGE_FAULT, not present");
      this.#pageFault(request, out, entry, flags >>> FAULT_SHIFT, pasid);
      return true;
    }
    const translating = request.addressType === AddressType.TranslationRequest;
    const rights = (privileged ? flags >>> SUPERVISOR_SHIFT : flags) & USER_RIGHTS;
    const missing = access & ~rights;
    // Only the adversarial cache insists on rights it has; others walk again before they fault.
    if (missing !== 0 && !this.#adversarial) return false;
    if ((flags & CLEAN) !== 0 && (access & rights & Access.Write) !== 0) return false;
    if (missing !== 0 && !translating) {
      if (explain !== undefined) explainRule(explain, "IOTLB", "The cached translation does not allow the access", "AMD-Vi §2.4.3", "IO_PAGE_FAULT, no permission");
      this.#pageFault(request, out, entry, WalkFault.Permission, pasid);
      return true;
    }
    const shift = (flags >>> SHIFT_SHIFT) & 63;
    const first = words[at + PAGE] as number;
    const far = words[at + PAGE_HIGH] as number;
    const base = far === 0 && first >= 0 ? first : far * 0x1_0000_0000 + (first >>> 0);
    const page = shift === 12 ? base : base + insidePage(low, high, shift - 12);
    if (explain !== undefined) explain.step({ structure: "IOTLB", rule: "A cached translation is used without reading memory", section: "AMD-Vi §2.4.3", outcome: "hit", fields: { page, pageShift: shift, rights, domain: entry.domain } });
    this.#answer(out, entry, page, shift, translating ? translatedRights(rights, flags) : rights, (flags & FORCE_COHERENT) !== 0);
    return true;
  }

  #grant(
    request: Readonly<TranslationRequest>,
    out: Translation,
    entry: DeviceEntry,
    space: number,
    low: number,
    high: number,
    page: number,
    shift: number,
    user: Access,
    supervisor: Access,
    clean: boolean,
    leaf: number,
    access: Access,
    privileged: boolean,
  ): void {
    const flags = user | (supervisor << SUPERVISOR_SHIFT) | (clean ? CLEAN : 0) | ((leaf & HIGH_FORCE_COHERENT) !== 0 ? FORCE_COHERENT : 0) | ((leaf & HIGH_UNTRANSLATED_ONLY) !== 0 ? UNTRANSLATED_ONLY : 0) | (shift << SHIFT_SHIFT);
    if (space !== 0) this.#cache.insert(space, low, high, shift, shift === 12 ? page : page - insidePage(low, high, shift - 12), flags);
    const rights = privileged ? supervisor : user;
    // A device that did not ask to write must ask again before it does, or D would stay clear.
    const shown = request.addressType === AddressType.TranslationRequest ? translatedRights(rights, (access & Access.Write) === 0 ? flags : flags & ~CLEAN) : rights;
    this.#answer(out, entry, page, shift, shown, (flags & FORCE_COHERENT) !== 0);
  }

  /** A translation: IR and IW of the device's entry limit what the tables allow. */
  #answer(out: Translation, entry: DeviceEntry, page: number, shift: number, rights: Access, snoop: boolean): void {
    out.page = page;
    out.pageShift = shift;
    out.permissions = rights & (entry.rights | ((entry.rights & Access.Read) << 2));
    out.global = false;
    out.memoryType = MemoryType.WriteBack;
    out.snoop = snoop;
    out.fault = 0;
    out.recorded = false;
    out.completion = Completion.Successful;
  }

  /** Mode 0: the address is the host-physical address, under IR and IW. AMD-Vi §2.2.2. */
  #modeZero(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, explain?: ExplanationSink): void {
    if (this.#snp) {
      this.#illegal(request, out, false, "Under SNP DMA needs a host page table", explain);
      return;
    }
    if (request.page >= this.#pageLimit) {
      if (explain !== undefined) explainRule(explain, "request", "An address that is not translated is below PAsize", "AMD-Vi §2.2.2", "IO_PAGE_FAULT, reserved bits");
      this.#pageFault(request, out, entry, WalkFault.Reserved, NO_PASID);
      return;
    }
    if (explain !== undefined) explainRule(explain, "device table entry", "Mode 0: the address is the host-physical address", "AMD-Vi §2.2.2", "untranslated");
    this.#answer(out, entry, request.page, 12, Access.Read | Access.Write | Access.Execute, entry.forceCoherent);
  }

  /** MARC: an aperture takes the place of the page table. Model: for requests that no guest table translates. */
  #relocate(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, aperture: number, access: Access, explain?: ExplanationSink): void {
    const rights = this.ranges.marcRights(aperture);
    if ((access & ~rights) !== 0 && request.addressType === AddressType.Untranslated) {
      this.#pageFault(request, out, entry, WalkFault.Permission, NO_PASID);
      return;
    }
    if (explain !== undefined) explainRule(explain, "MARC aperture", "An address in an aperture is relocated", 'AMD-Vi §3.4 "MARC Aperture Registers"', "translated");
    this.#answer(out, entry, this.ranges.relocated(aperture, request.page), 12, rights, false);
  }

  /** IommuEn = 0: DMA passes; nobody answers translation requests. */
  #disabled(request: Readonly<TranslationRequest>, out: Translation, explain?: ExplanationSink): void {
    const answered = request.addressType === AddressType.Untranslated;
    if (explain !== undefined) explainRule(explain, "CONTROL", answered ? "With IommuEn=0 the address is the host-physical address" : "With IommuEn=0 there are no translations", "AMD-Vi §2.1", answered ? "untranslated" : "unsupported request");
    if (answered) this.#identity(out, request.page, false);
    else this.#refuse(out, Completion.UnsupportedRequest);
  }

  /** The device's entry cannot be read, or is beyond the table. AMD-Vi §2.5.4, §2.5.3. */
  #noEntry(request: Readonly<TranslationRequest>, out: Translation): void {
    const { failure, failedAt } = this.devices;
    const flags = this.#requestFlags(request);
    if (failure === LookupFailure.Unreadable) {
      this.#abort(request, out, EventCode.DeviceTableHardwareError, true);
      this.#port.logEvent(request.requester, flags | TARGET_ABORT | (EventCode.DeviceTableHardwareError << 28), failedAt | 0, Math.floor(failedAt / 0x1_0000_0000));
      return;
    }
    // Address and domain are 0, as the entry that would say what they mean is missing.
    const logged = request.addressType !== AddressType.TranslationRequest;
    this.#abort(request, out, EventCode.IoPageFault, logged);
    if (logged) this.#port.logEvent(request.requester, EventCode.IoPageFault << 28, 0, 0);
  }

  /** V = 0, or an illegal entry. AMD-Vi §2.2.2, Table 8. */
  #withoutEntry(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, explain?: ExplanationSink): void {
    if (entry.valid) {
      this.#illegal(request, out, entry.dmaFault === EntryFault.Reserved, "Reserved bits and values of a valid entry are 0", explain);
      return;
    }
    if (request.addressType === AddressType.TranslationRequest) {
      this.#invalidRequest(request, out, TranslationType.NotAllowed, "Translation requests need V=1 and I=1", explain);
      return;
    }
    if (this.#snp) {
      this.#illegal(request, out, false, "Under SNP DMA needs a valid entry", explain);
      return;
    }
    this.untranslated++;
    if (explain !== undefined) explainRule(explain, "device table entry", "With V=0 DMA passes untranslated", "AMD-Vi §2.2.2, Table 8", "untranslated");
    this.#identity(out, request.page, false);
  }

  /** A request whose address a device-TLB has translated. */
  #translated(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, explain?: ExplanationSink): void {
    if (request.page >= this.#pageLimit || Math.floor(request.page / 256) === INTERRUPT_RANGE) {
      this.#invalidRequest(request, out, RequestType.Pretranslated, "A pretranslated address is one of memory", explain);
      return;
    }
    this.pretranslated++;
    if (explain !== undefined) explainRule(explain, "request", "A pretranslated request carries a host-physical address", "AMD-Vi §2.1", "translated");
    this.#answer(out, entry, request.page, 12, Access.Read | Access.Write | Access.Execute, false);
    out.permissions = Access.Read | Access.Write | Access.Execute;
  }

  /** A request to the HyperTransport ranges; false when it is translated like any other. */
  #special(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, low: number, explain?: ExplanationSink): boolean {
    const verdict = specialAddress(low, entry.portIo, entry.systemManagement, (request.access & Access.Write) !== 0);
    if (verdict === SpecialAddress.Ordinary) return false;
    if (verdict === SpecialAddress.Illegal) this.#illegal(request, out, true, "IoCtl = 3 is reserved", explain);
    else if (request.addressType === AddressType.TranslationRequest) this.#invalidRequest(request, out, TranslationType.InvalidAddress, "Special addresses are not translated for devices", explain);
    else if (verdict === SpecialAddress.Untranslated) {
      if (explain !== undefined) explainRule(explain, "device table entry", "SysMgt or IoCtl lets the special address pass", "AMD-Vi §2.2.2", "untranslated");
      this.#identity(out, request.page, false);
    } else this.#invalidRequest(request, out, verdict >>> TYPE_SHIFT, "The special address is one that the device may use", explain);
    return true;
  }

  #identity(out: Translation, page: number, snoop: boolean): void {
    out.page = page;
    out.pageShift = 12;
    out.permissions = Access.Read | Access.Write | Access.Execute;
    out.global = false;
    out.memoryType = MemoryType.WriteBack;
    out.snoop = snoop;
    out.fault = 0;
    out.recorded = false;
    out.completion = Completion.Successful;
  }

  /** IO_PAGE_FAULT; a translation request is only told that it has no rights. AMD-Vi §2.5.3. */
  #pageFault(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, kind: number, pasid: number): void {
    let flags = FAULT_FLAGS[kind] as number; // a WalkFault
    if ((request.access & Access.Write) !== 0 && (flags & PR) !== 0) flags |= RW;
    if (pasid !== NO_PASID) flags |= GN | ((request.access & Access.Execute) !== 0 ? NX : 0) | ((request.access & Access.Privileged) === 0 ? US : 0);
    this.#logPageFault(request, out, entry, flags, pasid, request.page);
  }

  /** A fault in the host table below a guest's: it is told with the guest-physical address and the domain. */
  #nestedFault(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, kind: number): void {
    const flags = FAULT_FLAGS[kind] as number; // a WalkFault
    this.#logPageFault(request, out, entry, this.#guest.nestedWrite && (flags & PR) !== 0 ? flags | RW : flags, NO_PASID, this.#guest.nestedPage);
  }

  #logPageFault(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, flags: number, pasid: number, page: number): void {
    if (request.addressType === AddressType.TranslationRequest) {
      this.#identity(out, request.page, false);
      out.permissions = 0;
      return;
    }
    const { requester } = request;
    const logged = this.mayLog(requester, entry.suppressAll, entry.suppressRepeated);
    this.#abort(request, out, EventCode.IoPageFault, logged);
    if (logged) this.#port.logEvent(pasid === NO_PASID ? requester : requester | (pasid & 0xf_0000), (pasid === NO_PASID ? entry.domain : pasid & 0xffff) | flags | (EventCode.IoPageFault << 28), (page % 0x10_0000) << 12, Math.floor(page / 0x10_0000));
  }

  /** PAGE_TAB_HARDWARE_ERROR. AMD-Vi §2.5.5. */
  #unreadable(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, address: number, pasid: number, write: boolean): void {
    this.#abort(request, out, EventCode.PageTableHardwareError, true);
    const flags = this.#translationFlag(request) | (write ? RW : 0) | (pasid === NO_PASID ? entry.domain : (pasid & 0xffff) | GN) | TARGET_ABORT | (EventCode.PageTableHardwareError << 28);
    this.#port.logEvent(pasid === NO_PASID ? request.requester : request.requester | (pasid & 0xf_0000), flags, address | 0, Math.floor(address / 0x1_0000_0000));
  }

  /** ILLEGAL_DEV_TABLE_ENTRY. AMD-Vi §2.5.2. */
  #illegal(request: Readonly<TranslationRequest>, out: Translation, reserved: boolean, rule: string, explain?: ExplanationSink): void {
    if (explain !== undefined) explainRule(explain, "device table entry", rule, "AMD-Vi §2.5.2", "ILLEGAL_DEV_TABLE_ENTRY");
    this.#abort(request, out, EventCode.IllegalDeviceEntry, true);
    this.#logWithPasid(request, this.#requestFlags(request) | (reserved ? RZ : 0) | (EventCode.IllegalDeviceEntry << 28));
  }

  /** INVALID_DEVICE_REQUEST. AMD-Vi §2.5.9. */
  #invalidRequest(request: Readonly<TranslationRequest>, out: Translation, type: number, rule: string, explain?: ExplanationSink): void {
    if (explain !== undefined) explainRule(explain, "request", rule, "AMD-Vi §2.5.9", `INVALID_DEVICE_REQUEST, type ${type}`);
    this.#abort(request, out, EventCode.InvalidDeviceRequest, true);
    const user = request.pasid !== NO_PASID && (request.access & Access.Privileged) === 0 ? REQUEST_US : 0;
    this.#logWithPasid(request, this.#translationFlag(request) | user | (type << REQUEST_TYPE_SHIFT) | (EventCode.InvalidDeviceRequest << 28));
  }

  /** An event that has the request's PASID and address. */
  #logWithPasid({ requester, pasid, page }: Readonly<TranslationRequest>, flags: number): void {
    const low = (page % 0x10_0000) << 12;
    const high = Math.floor(page / 0x10_0000);
    if (pasid === NO_PASID) this.#port.logEvent(requester, flags, low, high);
    else this.#port.logEvent(requester | (pasid & 0xf_0000), flags | (pasid & 0xffff) | GN, low, high);
  }

  #requestFlags(request: Readonly<TranslationRequest>): number {
    return this.#translationFlag(request) | ((request.access & Access.Write) !== 0 ? RW : 0);
  }

  #translationFlag({ addressType }: Readonly<TranslationRequest>): number {
    return addressType === AddressType.TranslationRequest ? TR : 0;
  }

  /** Ends a request with an event's code. A translation request that the device should not have sent is unsupported. */
  #abort(request: Readonly<TranslationRequest>, out: Translation, code: number, logged: boolean): void {
    this.aborted++;
    this.#port.targetAbort();
    this.#refuse(out, request.addressType === AddressType.TranslationRequest && code === EventCode.InvalidDeviceRequest ? Completion.UnsupportedRequest : Completion.CompleterAbort);
    out.fault = code;
    out.recorded = logged;
  }

  #refuse(out: Translation, completion: Completion): void {
    out.page = 0;
    out.pageShift = 12;
    out.permissions = 0;
    out.global = false;
    out.memoryType = MemoryType.Uncacheable;
    out.snoop = false;
    out.fault = 0;
    out.recorded = false;
    out.completion = completion;
  }
}

/** Page number inside a page of 2^bits pages. */
const insidePage = (low: number, high: number, bits: number): number => (bits < 32 ? (low & (2 ** bits - 1)) >>> 0 : (low >>> 0) + (high & (2 ** (bits - 32) - 1)) * 0x1_0000_0000);

/** What the answer to a translation request may say: nothing of a page with U=1, no writing of one whose D is clear. */
const translatedRights = (rights: Access, flags: number): Access => ((flags & UNTRANSLATED_ONLY) !== 0 ? 0 : (flags & CLEAN) !== 0 ? rights & ~Access.Write : rights);
