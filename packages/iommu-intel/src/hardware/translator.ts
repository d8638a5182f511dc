import { Access, AddressType, Completion, MemoryType, NO_PASID, type CacheContents, type CachePolicy, type ExplanationSink, type Translation, type TranslationRequest } from "@iommu-lab/pci-bus";
import { AddressSpaceIds, NO_TAG } from "./address-space-ids.ts";
import { Binding, BindingKind } from "./binding.ts";
import type { VtdCapabilities } from "./capabilities.ts";
import { explainRule, faultText } from "./explain.ts";
import { FirstStageWalker } from "./first-stage.ts";
import { Iotlb, IOTLB_ENTRY, NO_CACHE, UnboundedIotlb, type TranslationCache } from "./iotlb.ts";
import type { MemoryTypes } from "./memory-types.ts";
import { NO_STRUCTURE_CACHE, SmallPagingStructureCache, UnboundedPagingStructureCache, type PagingStructureCache } from "./paging-structure-cache.ts";
import { INTERRUPT_PAGES, SecondStageWalker } from "./second-stage.ts";
import { Changes } from "./source-caches.ts";
import { SourceLookup } from "./source-lookup.ts";
import type { TableMemory } from "./table-memory.ts";
import { LEGACY_REASON, SECOND_STAGE_REASON, WalkFault } from "./walk-fault.ts";

// The module's own: an imported constant is looked up at every use, which hits and walks feel.
const { CLEAN, CLEAN_SHIFT, FAR, FAULT_SHIFT, FLAGS, MEMORY_TYPE_SHIFT, PAGE, PAGE_HIGH, SHIFT_SHIFT, SNOOP, SUPERVISOR_SHIFT, USER_RIGHTS } = IOTLB_ENTRY;
const { FIRST: INTERRUPT_FIRST_PAGE, LAST: INTERRUPT_LAST_PAGE } = INTERRUPT_PAGES;
const { Execute, Privileged, Read, Write } = Access;
const { Translated: TRANSLATED, TranslationRequest: ASKED, Untranslated: UNTRANSLATED } = AddressType;
const { Successful } = Completion;
const { WriteBack } = MemoryType;
const { PassThrough: PASS_THROUGH, SecondStage: SECOND_STAGE } = BindingKind;

/** TTM of RTADDR_REG. */
export const TranslationTableMode = { Legacy: 0, Scalable: 1, Reserved: 2, Abort: 3 } as const;

/** Where faults go and protected memory is asked about. */
export interface TranslatorPort {
  /** Records a DMA fault as far as it is to be recorded. */
  recordFault(request: Readonly<TranslationRequest>, fault: number): void;
  /** Whether a page is in a protected memory region that is on. */
  isProtected(page: number): boolean;
}

/** What a translator is built with. */
export interface TranslatorOptions {
  readonly memory: TableMemory;
  readonly capabilities: VtdCapabilities;
  readonly caches: CachePolicy;
  readonly iotlb: { readonly sets: number; readonly ways: number };
  readonly honourRidPasid: boolean;
  readonly ridPasidFault: number;
  /** A translation that ends in the interrupt address range faults. */
  readonly checkInterruptOutput: boolean;
  readonly memoryTypes: MemoryTypes | undefined;
  readonly port: TranslatorPort;
}

/** DMA remapping: from a request to a host page or a fault, through all caches. VT-d §3. */
export class Translator {
  /** Latched by SRTP. */
  mode = 0;
  /** Page number, latched by SRTP. */
  rootTable = 0;
  /** GSTS.TES. */
  get enabled(): boolean {
    return this.#enabled;
  }

  set enabled(on: boolean) {
    this.#enabled = on;
    this.#recentChanges = -1;
  }

  readonly sources: SourceLookup;
  readonly spaces: AddressSpaceIds;
  /** Requests that looked into the IOTLB, of them those that did not find their page, and the other requests. */
  lookups = 0;
  misses = 0;
  others = 0;
  readonly #capabilities: VtdCapabilities;
  readonly #cache: TranslationCache;
  readonly #structures: PagingStructureCache;
  readonly #second: SecondStageWalker;
  readonly #first: FirstStageWalker;
  readonly #types: MemoryTypes | undefined;
  readonly #port: TranslatorPort;
  readonly #adversarial: boolean;
  readonly #keepFaults: boolean;
  readonly #passThroughLimit: number;
  #enabled = false;
  readonly #changes = new Changes();
  /** What the last request that asked the IOTLB was bound to: valid while nothing has changed since. */
  #recent = new Binding();
  #recentRequester = -1;
  #recentPasid = -1;
  #recentChanges = -1;

  constructor(options: TranslatorOptions) {
    const { memory, capabilities, caches } = options;
    this.#capabilities = capabilities;
    this.spaces = new AddressSpaceIds(caches !== "adversarial", this.#changes);
    const current = (space: number): boolean => this.spaces.isCurrent(space);
    this.#cache = caches === "none" ? NO_CACHE : caches === "realistic" ? new Iotlb(options.iotlb.sets, options.iotlb.ways) : new UnboundedIotlb(current);
    this.#structures = caches === "none" ? NO_STRUCTURE_CACHE : caches === "realistic" ? new SmallPagingStructureCache() : new UnboundedPagingStructureCache(current);
    this.sources = new SourceLookup(memory, capabilities, caches, options, this.#changes);
    this.#second = new SecondStageWalker(memory, capabilities, this.#structures, options.checkInterruptOutput);
    this.#first = new FirstStageWalker(memory, capabilities, this.#second, this.#structures, options.checkInterruptOutput);
    this.#types = options.memoryTypes;
    this.#port = options.port;
    this.#adversarial = caches === "adversarial";
    this.#keepFaults = this.#adversarial && capabilities.cap.CM === 1;
    this.#passThroughLimit = 2 ** (capabilities.hostAddressWidth - 12);
  }

  /** Translates one page and fills in `out`. VT-d §3.4 to §3.9. */
  translate(request: Readonly<TranslationRequest>, out: Translation, explain?: ExplanationSink): void {
    if (explain === undefined && this.#recentChanges === this.#changes.count && request.requester === this.#recentRequester && request.pasid === this.#recentPasid && this.#translateAgain(request, out)) return;
    this.#translate(request, out, explain);
  }

  /** The requester of the last request again, to read or write: only the page is to be judged. False when there is more to it. */
  #translateAgain(request: Readonly<TranslationRequest>, out: Translation): boolean {
    const { page, access } = request;
    const binding = this.#recent;
    const low = page | 0;
    // As in `highOf`, which would be given a large number: it might be allocated.
    const high = page >= 0x1_0000_0000 ? Math.floor(page / 0x1_0000_0000) | 0 : 0;
    if ((low >>> 8 === INTERRUPT_FIRST_PAGE >>> 8 && high === 0) || access === 0 || access > USER_READ_WRITE || request.addressType !== UNTRANSLATED) return false;
    const at = this.#cache.lookup(binding.space, low, high);
    if (at < 0) {
      this.#missAgain(request, out, binding, low, high);
      return true;
    }
    const words = this.#cache.words;
    const flags = words[at + FLAGS] as number; // at is of an entry
    // An entry that says "not present" has no rights, and a clean one must be walked again before a write.
    if ((access & flags) !== access || (flags & (FAR | ((access & Write) << CLEAN_SHIFT))) !== 0) return false;
    this.lookups++;
    out.page = (words[at + PAGE] as number) + (low & ((1 << (((flags >>> SHIFT_SHIFT) & 63) - 12)) - 1));
    answer(out, flags, flags & USER_RIGHTS);
    return true;
  }

  /** The page is not in the IOTLB. */
  #missAgain(request: Readonly<TranslationRequest>, out: Translation, binding: Binding, low: number, high: number): void {
    const { access } = request;
    this.lookups++;
    this.misses++;
    if (binding.kind === SECOND_STAGE) {
      if (!this.#walkPlain(out, binding, low, high, access)) this.#walkSecond(request, out, binding, low, high, access, false, undefined);
    } else this.#walkFirst(request, out, binding, low, high, access, false, false, undefined);
  }

  #translate(request: Readonly<TranslationRequest>, out: Translation, explain: ExplanationSink | undefined): void {
    this.others++;
    this.#recentChanges = -1;
    if (!this.enabled) {
      this.#untranslated(request, out, explain);
      return;
    }
    const mode = this.mode;
    if (mode > TranslationTableMode.Scalable) {
      this.#withoutTables(request, out, explain);
      return;
    }
    const { requester, pasid, addressType, page } = request;
    const low = page | 0;
    const high = page >= 0x1_0000_0000 ? Math.floor(page / 0x1_0000_0000) | 0 : 0;
    if (addressType !== TRANSLATED && low >>> 8 === INTERRUPT_FIRST_PAGE >>> 8 && high === 0) {
      this.#interruptRange(request, out, explain);
      return;
    }
    let binding: Binding | undefined;
    let access: Access = request.access;
    let privileged = false;
    if (mode === TranslationTableMode.Scalable) {
      binding = this.sources.scalable(this.rootTable, requester, pasid, addressType, access, explain);
      privileged = pasid === NO_PASID ? this.sources.ridPrivileged : (access & Privileged) !== 0;
    } else if (pasid !== NO_PASID) {
      if (explain !== undefined) explainRule(explain, "request", "Legacy mode knows no requests with PASID", "VT-d §7.1.3", faultText(0x31));
      this.#fail(request, out, 0x31, false);
      return;
    } else binding = this.sources.legacy(this.rootTable, requester, addressType, explain);
    if (binding === undefined) {
      this.#fail(request, out, this.sources.fault, this.sources.silenced);
      return;
    }
    access &= USER_RIGHTS;
    // A zero-length read needs no right where ZLR says so: it shows only that the page is there. VT-d §11.4.2 (ZLR).
    if (access === 0 && addressType === UNTRANSLATED && !this.#capabilities.cap.ZLR) access = Read;
    if (addressType === TRANSLATED) {
      this.#translated(request, out, binding, explain);
      return;
    }
    if (binding.kind === PASS_THROUGH) {
      this.#passThrough(request, out, binding, explain);
      return;
    }
    if (binding.epoch !== this.spaces.epoch) this.#tag(binding);
    if (binding.valid && !(mode === TranslationTableMode.Scalable && this.sources.ridPrivileged)) this.#remember(binding, requester, pasid);
    this.others--;
    this.lookups++;
    const at = this.#cache.lookup(binding.space, low, high);
    if (at >= 0 && this.#hit(request, out, binding, at, low, access, privileged, explain)) return;
    this.misses++;
    if (binding.kind === SECOND_STAGE) this.#walkSecond(request, out, binding, low, high, access, at >= 0, explain);
    else this.#walkFirst(request, out, binding, low, high, access, privileged, at >= 0, explain);
  }

  /** Page-selective invalidation of one address space's leaf entries and, unless `leafOnly` (IH), of the structures above them. VT-d §6.5.1.2. */
  invalidatePages(domain: number, tag: number, low: number, high: number, mask: number, leafOnly: boolean): void {
    const spaces = this.spaces.find(domain, tag);
    if (spaces === undefined) return;
    for (let i = 0; i < spaces.count; i++) {
      const space = spaces.ids[i] as number; // i is below the count
      this.#cache.invalidatePages(space, low, high, mask);
      if (!leafOnly) this.#structures.invalidatePages(space, low, high, mask);
    }
  }

  /** The same of one page of one address space. */
  invalidatePage(space: number, low: number, high: number, leafOnly: boolean): void {
    this.#cache.invalidatePage(space, low, high);
    if (!leafOnly) this.#structures.invalidatePage(space, low, high);
  }

  /** What can be found in the caches now. */
  contents(): CacheContents {
    const names = this.spaces.inUse();
    const named = <T extends { readonly space: number }>(entries: Iterable<T>): (Omit<T, "space"> & { readonly domain: number; readonly pasid: number })[] =>
      [...entries].flatMap(({ space, ...entry }) => {
        const owner = names.get(space);
        return owner === undefined ? [] : [{ domain: owner.domain, pasid: owner.tag, ...entry }];
      });
    const contexts = this.sources.contexts.entries.map(({ requester }) => ({ requester, pasid: NO_PASID, domain: undefined }));
    return { sources: [...contexts, ...this.sources.bindings.entries.map(({ requester, pasid, domain }) => ({ requester, pasid, domain }))], translations: named(this.#cache.entries()), tables: named(this.#structures.entries()) };
  }

  #remember(binding: Binding, requester: number, pasid: number): void {
    this.#recent = binding;
    this.#recentRequester = requester;
    this.#recentPasid = pasid;
    this.#recentChanges = this.#changes.count;
  }

  #tag(binding: Binding): void {
    const caching = this.#cache !== NO_CACHE;
    const second = binding.kind === BindingKind.FirstStage ? 0 : binding.secondStageTable * 8 + binding.secondStageLevels;
    const own = binding.tag === NO_TAG ? second : binding.firstStageTable * 8 + binding.firstStageLevels;
    binding.space = caching ? this.spaces.idOf(binding.domain, binding.tag, own) : 0;
    binding.secondStageSpace = caching ? (binding.tag === NO_TAG ? binding.space : this.spaces.idOf(binding.domain, NO_TAG, second)) : 0;
    binding.firstStageSpace = binding.space;
    binding.epoch = this.spaces.epoch;
  }

  /** Answers from the IOTLB; false when the entry does not settle it and the tables must be walked. */
  #hit(request: Readonly<TranslationRequest>, out: Translation, binding: Binding, at: number, low: number, access: Access, privileged: boolean, explain?: ExplanationSink): boolean {
    const words = this.#cache.words;
    const flags = words[at + FLAGS] as number; // at is of an entry
    if (flags >>> FAULT_SHIFT !== 0) {
      const cached = flags >>> FAULT_SHIFT;
      // In legacy mode a page that is not present lacks the right that is asked for.
      const cachedFault = cached === 0x06 && (access & Write) !== 0 ? 0x05 : cached;
      if (explain !== undefined) explainRule(explain, "IOTLB", "Caching mode: a cached entry says that the page is not present", "VT-d §6.1", faultText(cachedFault));
      this.#failWalk(request, out, cachedFault, binding.silenced);
      return true;
    }
    const rights = (privileged ? flags >>> SUPERVISOR_SHIFT : flags) & USER_RIGHTS;
    const missing = access & ~rights;
    // A processor would walk again before it faults; only the adversarial cache insists on what it has.
    if (missing !== 0 && (!this.#adversarial || request.addressType !== UNTRANSLATED)) return false;
    const translating = request.addressType === ASKED;
    if ((flags & CLEAN) !== 0 && (access & rights & Write) !== 0) return false;
    if (missing !== 0) {
      const fault = this.#missingRight(binding, missing, flags, privileged);
      if (explain !== undefined) explainRule(explain, "IOTLB", "The cached translation does not allow the access", "VT-d §6.2.3", faultText(fault));
      this.#failWalk(request, out, fault, binding.silenced);
      return true;
    }
    const shift = (flags >>> SHIFT_SHIFT) & 63;
    const inside = low & ((1 << (shift - 12)) - 1);
    const first = words[at + PAGE] as number;
    const page = ((flags & FAR) === 0 ? first : (words[at + PAGE_HIGH] as number) * 0x1_0000_0000 + (first >>> 0)) + inside;
    if (explain !== undefined) explain.step({ structure: "IOTLB", rule: "A cached translation is used without reading memory", section: "VT-d §6.2.3", outcome: "hit", fields: { page, pageShift: shift, rights, domain: binding.domain } });
    out.page = page;
    answer(out, flags, translating && (flags & CLEAN) !== 0 ? rights & ~Write : rights);
    return true;
  }

  #missingRight(binding: Binding, missing: number, flags: number, privileged: boolean): number {
    if (binding.kind !== SECOND_STAGE) {
      if (!privileged && (flags & USER_RIGHTS) === 0) return 0x81;
      if ((missing & Execute) !== 0) return 0x82;
    }
    if (this.mode === TranslationTableMode.Legacy) return (missing & Write) !== 0 ? 0x05 : 0x06;
    return (missing & Write) !== 0 ? 0x85 : 0x86;
  }

  /** `#walkSecond` for an untranslated request whose walk has nothing to say; false when it has. */
  #walkPlain(out: Translation, binding: Binding, low: number, high: number, access: Access): boolean {
    const second = this.#second;
    if (second.exceeds(low, high, binding.secondStageLevels) || !second.walkPlain(binding, low, high, access, (access & Write) !== 0)) return false;
    const { page, shift, leaf, rights } = second;
    const snoop = binding.snoops || ((leaf & (1 << 11)) !== 0 && this.#capabilities.ecap.SC === 1);
    const type = this.#types === undefined ? WriteBack : this.#types.ofSecondStage(binding, leaf, page);
    const flags = flagsOf(rights, rights, second.clean, type, snoop, shift);
    if (binding.space !== 0) this.#cache.fill(binding.space, low, high, shift, page - (low & ((1 << (shift - 12)) - 1)), flags);
    out.page = page;
    answer(out, flags, rights);
    return true;
  }

  #walkSecond(request: Readonly<TranslationRequest>, out: Translation, binding: Binding, low: number, high: number, access: Access, found: boolean, explain?: ExplanationSink): void {
    const second = this.#second;
    const reasons = this.mode === TranslationTableMode.Legacy ? LEGACY_REASON : SECOND_STAGE_REASON;
    const translating = request.addressType === ASKED;
    if (second.exceeds(low, high, binding.secondStageLevels)) {
      if (explain !== undefined) explainRule(explain, "request", "The address is below 2^min(MGAW, AW)", "VT-d §3.7", faultText(reasons[WalkFault.TooWide] as number));
      this.#failWalk(request, out, reasons[WalkFault.TooWide] as number, binding.silenced);
      return;
    }
    const wanted = translating ? 0 : access;
    const writes = (access & Write) !== 0;
    const kind = explain === undefined && second.walkPlain(binding, low, high, wanted, writes) ? WalkFault.None : second.walk(binding, low, high, wanted, writes, explain);
    if (kind !== WalkFault.None) {
      const fault = kind === WalkFault.NotPresent && this.mode === TranslationTableMode.Legacy && (access & Write) !== 0 ? 0x05 : (reasons[kind] as number);
      if (this.#keepFaults && (kind === WalkFault.NotPresent || kind === WalkFault.Reserved)) this.#cache.insert(binding.space, low, high, 12, 0, (reasons[kind] as number) << FAULT_SHIFT);
      this.#failWalk(request, out, fault, binding.silenced);
      return;
    }
    const snoop = binding.snoops || ((second.leaf & (1 << 11)) !== 0 && this.#capabilities.ecap.SC === 1);
    const type = this.#types === undefined ? WriteBack : this.#types.ofSecondStage(binding, second.leaf, second.page);
    out.page = second.page;
    this.#grant(request, out, binding, low, high, flagsOf(second.rights, second.rights, second.clean, type, snoop, second.shift), false, found);
    if (translating && explain !== undefined) explainRule(explain, "translation completion", "A translation request is answered with the rights that there are", "VT-d §4.1.3", "translated");
  }

  #walkFirst(request: Readonly<TranslationRequest>, out: Translation, binding: Binding, low: number, high: number, access: Access, privileged: boolean, found: boolean, explain?: ExplanationSink): void {
    const first = this.#first;
    const translating = request.addressType === ASKED;
    if (!isCanonical(high, binding.firstStageLevels)) {
      if (explain !== undefined) explainRule(explain, "request", "The address is canonical", "VT-d §3.6", faultText(0x80));
      this.#failWalk(request, out, 0x80, binding.silenced);
      return;
    }
    const wanted = translating ? 0 : access;
    const writes = (access & Write) !== 0;
    const fault = explain === undefined && first.walkPlain(binding, low, high, wanted, privileged, writes) ? 0 : first.walk(binding, low, high, wanted, privileged, writes, explain);
    if (fault !== 0) {
      if (this.#keepFaults && (fault === 0x71 || fault === 0x72 || fault === 0x79 || fault === 0x7a)) this.#cache.insert(binding.space, low, high, 12, 0, fault << FAULT_SHIFT);
      this.#failWalk(request, out, fault, binding.silenced);
      return;
    }
    const snoop = binding.snoops || ((first.secondLeaf & (1 << 11)) !== 0 && this.#capabilities.ecap.SC === 1);
    const type = this.#types === undefined ? WriteBack : this.#types.ofFirstStage(binding, first.leaf, first.shift, first.secondLeaf, first.page);
    out.page = first.page;
    this.#grant(request, out, binding, low, high, flagsOf(first.userRights, first.supervisorRights, first.clean, type, snoop, first.shift), privileged, found);
  }

  /** Keeps what a walk found and answers with it; `out.page` holds the page, since a large number as an argument would be allocated. */
  #grant(request: Readonly<TranslationRequest>, out: Translation, binding: Binding, low: number, high: number, flags: number, privileged: boolean, found: boolean): void {
    const shift = (flags >>> SHIFT_SHIFT) & 63;
    if (binding.space !== 0) {
      const start = out.page - (low & ((1 << (shift - 12)) - 1));
      if (found) this.#cache.insert(binding.space, low, high, shift, start, flags);
      else this.#cache.fill(binding.space, low, high, shift, start, flags);
    }
    const rights = (privileged ? flags >>> SUPERVISOR_SHIFT : flags) & USER_RIGHTS;
    // A device that did not ask to write must ask again before it does, or D would stay clear. VT-d §4.1.3.
    answer(out, flags, (flags & CLEAN) !== 0 && request.addressType === ASKED && (request.access & Write) === 0 ? rights & ~Write : rights);
  }

  /** Identity, with every right. */
  #identity(out: Translation, page: number, snoop: boolean): void {
    out.page = page;
    out.pageShift = 12;
    out.permissions = Read | Write | Execute;
    out.global = false;
    out.memoryType = WriteBack;
    out.snoop = snoop;
    out.fault = 0;
    out.recorded = false;
    out.completion = Successful;
  }

  /** TES = 0: DMA passes, but for protected memory; there is nobody to answer or trust translation requests. VT-d §3.1, §11.4.8.1. */
  #untranslated(request: Readonly<TranslationRequest>, out: Translation, explain?: ExplanationSink): void {
    if (request.addressType !== UNTRANSLATED) {
      if (explain !== undefined) explainRule(explain, "GSTS_REG", "With translation off, translation and translated requests are unsupported", "VT-d §4.1.2", "unsupported request");
      this.#refuse(out, Completion.UnsupportedRequest);
      return;
    }
    if (this.#port.isProtected(request.page)) {
      if (explain !== undefined) explainRule(explain, "PMEN_REG", "DMA to a protected memory region is blocked and not recorded", "VT-d §11.4.8.1", "unsupported request");
      this.#refuse(out, Completion.UnsupportedRequest);
      return;
    }
    if (explain !== undefined) explainRule(explain, "GSTS_REG", "With translation off, the address is the host-physical address", "VT-d §3.1", "untranslated");
    this.#identity(out, request.page, false);
  }

  /** Abort-DMA mode, and a mode the unit does not have. VT-d §11.4.5. */
  #withoutTables(request: Readonly<TranslationRequest>, out: Translation, explain?: ExplanationSink): void {
    if (this.mode === TranslationTableMode.Abort && this.#capabilities.ecap.ADMS) {
      if (explain !== undefined) explainRule(explain, "RTADDR_REG", "Abort-DMA mode: every request is aborted and nothing is recorded", "VT-d §11.4.5", "unsupported request");
      this.#refuse(out, Completion.UnsupportedRequest);
      return;
    }
    if (explain !== undefined) explainRule(explain, "RTADDR_REG", "The translation table mode is one the unit has", "VT-d §7.1.3", faultText(0x30));
    this.#fail(request, out, 0x30, false);
  }

  /** An access to 0xfeex_xxxx that is no interrupt: those never come here. VT-d §3.14 "Handling Requests to Interrupt Address Range". */
  #interruptRange(request: Readonly<TranslationRequest>, out: Translation, explain?: ExplanationSink): void {
    if (request.addressType === ASKED) {
      if (explain !== undefined) explainRule(explain, "request", "The interrupt address range may only be written, untranslated", "VT-d §4.1.3", "translated, write only");
      this.#identity(out, request.page, false);
      out.permissions = Write;
      return;
    }
    const fault = request.pasid === NO_PASID ? 0x29 : 0x87;
    if (explain !== undefined) explainRule(explain, "request", "A request to the interrupt address range is one DWORD write without PASID", "VT-d §3.14", faultText(fault));
    this.#fail(request, out, fault, false);
  }

  /** A request whose address a device-TLB has translated. VT-d §4.2.3. */
  #translated(request: Readonly<TranslationRequest>, out: Translation, binding: Binding, explain?: ExplanationSink): void {
    const reasons = this.mode === TranslationTableMode.Legacy;
    if (request.page >= this.#passThroughLimit) {
      this.#fail(request, out, reasons ? 0x04 : 0x83, binding.silenced);
      return;
    }
    if (request.page >= INTERRUPT_FIRST_PAGE && request.page <= INTERRUPT_LAST_PAGE) {
      this.#fail(request, out, reasons ? 0x0e : 0x87, binding.silenced);
      return;
    }
    if (this.#port.isProtected(request.page)) {
      this.#refuse(out, Completion.UnsupportedRequest);
      return;
    }
    if (explain !== undefined) explainRule(explain, "request", "A translated request carries a host-physical address", "VT-d §4.2.3", "translated");
    this.#identity(out, request.page, false);
  }

  /** VT-d §3.9 "Pass-Through Translation". Addresses in the interrupt range never come here. */
  #passThrough(request: Readonly<TranslationRequest>, out: Translation, binding: Binding, explain?: ExplanationSink): void {
    const legacy = this.mode === TranslationTableMode.Legacy;
    if (request.page >= this.#passThroughLimit) {
      if (explain !== undefined) explainRule(explain, "request", "A passed-through address is below 2^HAW", "VT-d §3.9", faultText(legacy ? 0x04 : 0x83));
      this.#failWalk(request, out, legacy ? 0x04 : 0x83, binding.silenced);
      return;
    }
    if (this.#port.isProtected(request.page)) {
      if (explain !== undefined) explainRule(explain, "PMEN_REG", "A passed-through request to a protected memory region is blocked and not recorded", "VT-d §11.4.8.1", "unsupported request");
      this.#refuse(out, Completion.UnsupportedRequest);
      return;
    }
    if (explain !== undefined) explainRule(explain, "translation type", "Pass-through: the address is the host-physical address", "VT-d §3.9", "translated");
    this.#identity(out, request.page, binding.snoops);
  }

  /** A fault of a walk: a translation request is told of missing pages and rights by a completion without rights. VT-d §7.1.3, Table 26. */
  #failWalk(request: Readonly<TranslationRequest>, out: Translation, fault: number, silenced: boolean): void {
    if (request.addressType === ASKED && ANSWERED_WITHOUT_RIGHTS[fault] === 1) {
      this.#identity(out, request.page, false);
      out.permissions = 0;
      return;
    }
    this.#fail(request, out, fault, silenced);
  }

  #fail(request: Readonly<TranslationRequest>, out: Translation, fault: number, silenced: boolean): void {
    const translating = request.addressType === ASKED;
    this.#refuse(out, translating && ABORTED[fault] === 1 ? Completion.CompleterAbort : Completion.UnsupportedRequest);
    out.fault = fault;
    out.recorded = !silenced;
    if (!silenced) this.#port.recordFault(request, fault);
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

/** All of a successful answer but its page. */
const answer = (out: Translation, flags: number, rights: Access): void => {
  out.pageShift = (flags >>> SHIFT_SHIFT) & 63;
  out.permissions = rights;
  out.global = false;
  out.memoryType = ((flags >>> MEMORY_TYPE_SHIFT) & 7) as MemoryType;
  out.snoop = (flags & SNOOP) !== 0;
  out.fault = 0;
  out.recorded = false;
  out.completion = Successful;
};

/** The flags of a cached translation. */
const flagsOf = (user: Access, supervisor: Access, clean: boolean, type: MemoryType, snoop: boolean, shift: number): number =>
  user | (supervisor << SUPERVISOR_SHIFT) | (clean ? CLEAN : 0) | (type << MEMORY_TYPE_SHIFT) | (snoop ? SNOOP : 0) | (shift << SHIFT_SHIFT);

const USER_READ_WRITE = Read | Write;

/** Whether the bits of an address above the width that so many levels translate all equal the highest one inside it, by bits 51:32 of its page number. */
const isCanonical = (high: number, levels: number): boolean => {
  const top = high >>> (9 * levels - 33);
  return top === 0 || top === (1 << (53 - 9 * levels)) - 1;
};

const setOf = (codes: readonly number[]): Uint8Array => {
  const flags = new Uint8Array(256);
  for (const code of codes) flags[code] = 1;
  return flags;
};

/** Reasons that a translation request hears of as a translation without rights, and that are not recorded. VT-d §7.1.3, Table 26. */
const ANSWERED_WITHOUT_RIGHTS = setOf([0x04, 0x05, 0x06, 0x71, 0x75, 0x76, 0x77, 0x79, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86]);
/** Reasons that end a translation request as Completer Abort: what is wrong is in the tables, not in the request. VT-d §7.1.3, Table 26. */
const ABORTED = setOf([0x03, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x38, 0x3a, 0x40, 0x42, 0x43, 0x48, 0x50, 0x52, 0x58, 0x5a, 0x5b, 0x70, 0x72, 0x73, 0x74, 0x78, 0x7a, 0x7b, 0x7c, 0x7d, 0x90, 0x91]);
