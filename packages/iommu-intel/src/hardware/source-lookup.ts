import { Access, AddressType, NO_PASID, type CachePolicy, type ExplanationSink } from "@iommu-lab/pci-bus";
import { CONTEXT_ENTRY, PASID_DIRECTORY_ENTRY, PASID_ENTRY, ROOT_ENTRY, SCALABLE_CONTEXT_ENTRY, SCALABLE_ROOT_ENTRY } from "../layouts/index.ts";
import { BindingKind, type Binding, type ScalableContext } from "./binding.ts";
import type { VtdCapabilities } from "./capabilities.ts";
import { explainRule, explainStructure, faultText } from "./explain.ts";
import { BindingCache, ScalableContextCache, type Changes } from "./source-caches.ts";
import { pageIn, type TableMemory } from "./table-memory.ts";
import { PASID_ENTRY_WORDS, tableRules, type TableRules } from "./table-rules.ts";

const PRESENT = 1;
const FPD = 2;
/** Reserved bits of the low word of a pointer without other fields: 11:1. */
const POINTER_LOW_RESERVED = 0xffe;
/** Legacy context entry: 11:4 of word 0; 71 of word 2 and 31:24 of it (95:88). */
const CONTEXT_LOW_RESERVED = 0xff0;
const CONTEXT_THIRD_RESERVED = 0xff00_0080 | 0;

/** TT of a legacy context entry. */
const UNTRANSLATED_ONLY = 0;
const WITH_DEVICE_TLB = 1;
const PASS_THROUGH = 2;

/** What becomes of RID_PASID. */
export interface RidPasidRules {
  /** It is the PASID of requests without one; otherwise that is 0. */
  readonly honourRidPasid: boolean;
  /** The reason when it lies beyond the PASID directory: 43h or 48h. */
  readonly ridPasidFault: number;
}

/**
 * Finds what a request's source is bound to: root entry, context entry, and in scalable mode PASID directory and PASID table.
 * Outcomes are in `fault`, `silenced`; checks are made in the order of VT-d §7.1.3, Table 26. VT-d §3.4.
 */
export class SourceLookup {
  /** The reason of the last lookup that failed. */
  fault = 0;
  /** FPD had been met when it failed. */
  silenced = false;
  /** The last lookup in scalable mode used a context entry that makes requests without PASID privileged. */
  ridPrivileged = false;
  /** Entries not found in a cache. */
  misses = 0;

  readonly bindings: BindingCache;
  readonly contexts: ScalableContextCache;
  readonly #memory: TableMemory;
  readonly #capabilities: VtdCapabilities;
  readonly #rules: TableRules;
  readonly #honourRidPasid: boolean;
  /** 43h: judged with the context entry; 48h: with a request that uses it. */
  readonly #ridPasidFault: number;
  /** Faults may be cached: caching mode with the adversarial policy. */
  readonly #keepFaults: boolean;

  constructor(memory: TableMemory, capabilities: VtdCapabilities, policy: CachePolicy, ridPasid: RidPasidRules, changes: Changes) {
    this.#memory = memory;
    this.#capabilities = capabilities;
    this.#honourRidPasid = ridPasid.honourRidPasid;
    this.#ridPasidFault = ridPasid.ridPasidFault;
    this.#rules = tableRules(capabilities, ridPasid.honourRidPasid);
    this.#keepFaults = policy === "adversarial" && capabilities.cap.CM === 1;
    this.bindings = new BindingCache(policy, changes);
    this.contexts = new ScalableContextCache(policy, changes);
  }

  /** Legacy mode. @param rootTable page number; @returns undefined on a fault */
  legacy(rootTable: number, requester: number, addressType: AddressType, explain?: ExplanationSink): Binding | undefined {
    let binding = this.bindings.find(requester, NO_PASID);
    if (binding === undefined) {
      this.misses++;
      binding = this.bindings.claim(requester, NO_PASID);
      const fault = this.#readLegacy(binding, rootTable, requester, explain);
      if (fault !== 0) {
        this.#reject(fault, binding.silenced);
        if (this.#keepFaults && fault !== 0x08 && fault !== 0x09) this.#keepFault(binding, fault);
        return undefined;
      }
      this.bindings.keep(binding);
    } else {
      if (explain !== undefined) explainRule(explain, "context-cache", "A cached context entry is used without reading memory", "VT-d §6.2.2", binding.fault === 0 ? "hit" : faultText(binding.fault));
      if (binding.fault !== 0) {
        this.#reject(binding.fault, binding.silenced);
        return undefined;
      }
    }
    if (addressType !== AddressType.Untranslated && !binding.deviceTlb) {
      if (explain !== undefined) explainRule(explain, "context entry", "Translation and translated requests need TT = 01b", "VT-d §9.3", faultText(0x0d));
      this.#reject(0x0d, binding.silenced);
      return undefined;
    }
    return binding;
  }

  /** Scalable mode: the context entry and the checks of it that this request needs. */
  scalableContext(rootTable: number, requester: number, explain?: ExplanationSink): ScalableContext | undefined {
    let context = this.contexts.find(requester);
    if (context === undefined) {
      this.misses++;
      context = this.contexts.claim(requester);
      const fault = this.#readScalable(context, rootTable, requester, explain);
      if (fault !== 0) {
        this.#reject(fault, context.silenced);
        if (this.#keepFaults && fault !== 0x38 && fault !== 0x40) {
          context.fault = fault;
          this.contexts.keep(context);
        }
        return undefined;
      }
      this.contexts.keep(context);
    } else {
      if (explain !== undefined) explainRule(explain, "context-cache", "A cached context entry is used without reading memory", "VT-d §6.2.2", context.fault === 0 ? "hit" : faultText(context.fault));
      if (context.fault !== 0) {
        this.#reject(context.fault, context.silenced);
        return undefined;
      }
    }
    return context;
  }

  /** Scalable mode: everything up to the PASID-table entry. @param pasid `NO_PASID` or the request's */
  scalable(rootTable: number, requester: number, pasid: number, addressType: AddressType, access: Access, explain?: ExplanationSink): Binding | undefined {
    const context = this.scalableContext(rootTable, requester, explain);
    if (context === undefined) return undefined;
    const refused = this.#refusedByContext(context, pasid, addressType);
    if (refused !== 0) {
      if (explain !== undefined) explainRule(explain, "scalable-mode context entry", CONTEXT_RULES[refused] as string, "VT-d §9.4", faultText(refused));
      this.#reject(refused, context.silenced);
      return undefined;
    }
    this.ridPrivileged = context.ridPrivileged;
    const used = pasid === NO_PASID ? context.ridPasid : pasid;
    let binding = this.bindings.find(requester, used);
    if (binding === undefined) {
      this.misses++;
      binding = this.bindings.claim(requester, used);
      binding.silenced = context.silenced;
      const fault = this.#readPasid(binding, context, used, explain);
      if (fault !== 0) {
        this.#reject(fault, binding.silenced);
        if (this.#keepFaults && fault !== 0x50 && fault !== 0x58) this.#keepFault(binding, fault);
        return undefined;
      }
      this.bindings.keep(binding);
    } else {
      if (explain !== undefined) explainRule(explain, "PASID-cache", "A cached PASID-table entry is used without reading memory", "VT-d §6.2.5", binding.fault === 0 ? "hit" : faultText(binding.fault));
      if (binding.fault !== 0) {
        this.#reject(binding.fault, binding.silenced || context.silenced);
        return undefined;
      }
    }
    if ((access & (Access.Execute | Access.Privileged)) === 0 && !context.ridPrivileged) return binding;
    const privileged = pasid === NO_PASID ? context.ridPrivileged : (access & Access.Privileged) !== 0;
    const refusal = this.#refusedByEntry(binding, access, privileged);
    if (refusal === 0) return binding;
    if (explain !== undefined) explainRule(explain, "PASID table entry", refusal === 0x5c ? "Execute requests need ERE" : "Supervisor requests need SRE", "VT-d §9.6", faultText(refusal));
    this.#reject(refusal, binding.silenced);
    return undefined;
  }

  /** An entry that cannot be read is told of whatever FPD says above it. VT-d §7.1.3. */
  #reject(fault: number, silenced: boolean): void {
    this.fault = fault;
    this.silenced = silenced && fault !== 0x50 && fault !== 0x58;
  }

  /** Caching mode: an entry that is not present or wrong is cached under domain 0. VT-d §6.1. */
  #keepFault(binding: Binding, fault: number): void {
    binding.fault = fault;
    binding.domain = 0;
    this.bindings.keep(binding);
  }

  #readLegacy(binding: Binding, rootTable: number, requester: number, explain?: ExplanationSink): number {
    const memory = this.#memory;
    binding.silenced = false;
    const bus = requester >>> 8;
    const rootWords = memory.wordsOf(rootTable);
    if (rootWords === undefined) return explained(explain, "root entry", rootTable * 4096 + 16 * bus, 0x08);
    const rootAt = memory.wordOf(rootTable) + 4 * bus;
    const low = rootWords[rootAt] as number; // 256 entries of 4 words a page
    const high = rootWords[rootAt + 1] as number;
    const rootFault = (low & PRESENT) === 0 ? 0x01 : (low & POINTER_LOW_RESERVED) !== 0 || (high & this.#rules.pointerHigh) !== 0 || rootWords[rootAt + 2] !== 0 || rootWords[rootAt + 3] !== 0 ? 0x0a : 0;
    if (explain !== undefined) explainStructure(explain, ROOT_ENTRY, "root entry", rootTable * 4096 + 16 * bus, rootWords, rootAt, "P, then reserved bits", "VT-d §9.1", faultText(rootFault));
    if (rootFault !== 0) return rootFault;
    const table = pageIn(low, high);
    const index = requester & 0xff;
    const words = memory.wordsOf(table);
    if (words === undefined) return explained(explain, "context entry", table * 4096 + 16 * index, 0x09);
    const at = memory.wordOf(table) + 4 * index;
    binding.silenced = ((words[at] as number) & FPD) !== 0;
    const fault = this.#judgeContext(binding, words, at);
    if (explain !== undefined) explainStructure(explain, CONTEXT_ENTRY, "context entry", table * 4096 + 16 * index, words, at, "P, reserved bits, then TT and AW", "VT-d §9.3", faultText(fault));
    return fault;
  }

  /** Judges a legacy context entry and fills in the binding. */
  #judgeContext(binding: Binding, words: Uint32Array, at: number): number {
    const w0 = words[at] as number; // an entry has 4 words
    const w1 = words[at + 1] as number;
    const w2 = words[at + 2] as number;
    if ((w0 & PRESENT) === 0) return 0x02;
    const type = (w0 >>> 2) & 3;
    // A pass-through entry's pointer is ignored.
    if ((w0 & CONTEXT_LOW_RESERVED) !== 0 || (w2 & CONTEXT_THIRD_RESERVED) !== 0 || words[at + 3] !== 0 || (type !== PASS_THROUGH && (w1 & this.#rules.pointerHigh) !== 0)) return 0x0b;
    const { ecap } = this.#capabilities;
    if (type === 3 || (type === WITH_DEVICE_TLB && !ecap.DT) || (type === PASS_THROUGH && !ecap.PT)) return 0x03;
    const levels = (w2 & 7) + 2;
    if (((this.#rules.levels >>> levels) & 1) === 0) return 0x03;
    binding.kind = type === PASS_THROUGH ? BindingKind.PassThrough : BindingKind.SecondStage;
    binding.deviceTlb = type !== UNTRANSLATED_ONLY && type !== PASS_THROUGH;
    binding.domain = (w2 >>> 8) & 0xffff;
    binding.tag = -1;
    binding.secondStageTable = pageIn(w0, w1);
    binding.secondStageLevels = levels;
    binding.secondStageFlags = false;
    binding.snoops = false;
    binding.cacheDisable = false;
    binding.extendedTypes = false;
    return 0;
  }

  #readScalable(context: ScalableContext, rootTable: number, requester: number, explain?: ExplanationSink): number {
    const memory = this.#memory;
    context.silenced = false;
    const bus = requester >>> 8;
    const rootWords = memory.wordsOf(rootTable);
    if (rootWords === undefined) return explained(explain, "scalable-mode root entry", rootTable * 4096 + 16 * bus, 0x38);
    const rootAt = memory.wordOf(rootTable) + 4 * bus;
    const half = rootAt + ((requester & 0x80) !== 0 ? 2 : 0);
    const low = rootWords[half] as number; // 256 entries of 4 words a page
    const high = rootWords[half + 1] as number;
    const rootFault = (low & PRESENT) === 0 ? 0x39 : (low & POINTER_LOW_RESERVED) !== 0 || (high & this.#rules.pointerHigh) !== 0 ? 0x3a : 0;
    if (explain !== undefined) explainStructure(explain, SCALABLE_ROOT_ENTRY, "scalable-mode root entry", rootTable * 4096 + 16 * bus, rootWords, rootAt, "The half for this device: P, then reserved bits", "VT-d §9.2", faultText(rootFault));
    if (rootFault !== 0) return rootFault;
    const table = pageIn(low, high);
    const index = requester & 0x7f;
    const words = memory.wordsOf(table);
    if (words === undefined) return explained(explain, "scalable-mode context entry", table * 4096 + 32 * index, 0x40);
    const at = memory.wordOf(table) + 8 * index;
    context.silenced = ((words[at] as number) & FPD) !== 0;
    const fault = this.#judgeScalableContext(context, words, at);
    if (explain !== undefined) explainStructure(explain, SCALABLE_CONTEXT_ENTRY, "scalable-mode context entry", table * 4096 + 32 * index, words, at, "P, reserved bits, then RID_PASID", "VT-d §9.4", faultText(fault));
    return fault;
  }

  #judgeScalableContext(context: ScalableContext, words: Uint32Array, at: number): number {
    const w0 = words[at] as number; // an entry has 8 words
    if ((w0 & PRESENT) === 0) return 0x41;
    for (let i = 0; i < 8; i++) if (((words[at + i] as number) & (this.#rules.scalableContext[i] as number)) !== 0) return 0x42;
    context.pasids = 2 ** (((w0 >>> 9) & 7) + 13);
    const w2 = words[at + 2] as number;
    context.ridPasid = this.#honourRidPasid ? w2 & 0xf_ffff : 0;
    if (context.ridPasid >= context.pasids && this.#ridPasidFault === 0x43) return 0x43;
    context.deviceTlb = (w0 & 4) !== 0;
    context.pasidEnabled = (w0 & 8) !== 0;
    context.pageRequests = (w0 & 16) !== 0;
    context.directory = pageIn(w0, words[at + 1] as number);
    context.ridPrivileged = (w2 & (1 << 20)) !== 0;
    return 0;
  }

  #refusedByContext(context: ScalableContext, pasid: number, addressType: AddressType): number {
    if (addressType !== AddressType.Untranslated && !context.deviceTlb) return 0x44;
    if (pasid === NO_PASID) return context.ridPasid >= context.pasids ? 0x48 : 0;
    if (!context.pasidEnabled) return 0x45;
    return pasid >= context.pasids ? 0x46 : 0;
  }

  #refusedByEntry(binding: Binding, access: Access, privileged: boolean): number {
    if ((access & Access.Execute) !== 0 && !binding.execute) return 0x5c;
    const firstStage = binding.kind === BindingKind.FirstStage || binding.kind === BindingKind.Nested;
    return privileged && firstStage && !binding.supervisor ? 0x5d : 0;
  }

  #readPasid(binding: Binding, context: ScalableContext, pasid: number, explain?: ExplanationSink): number {
    const memory = this.#memory;
    // The directory of 2^PDTS · 128 entries of 8 bytes may span pages; the table of a directory entry is one page.
    const directoryIndex = pasid >>> 6;
    const directoryPage = context.directory + (directoryIndex >>> 9);
    const address = directoryPage * 4096 + 8 * (directoryIndex & 511);
    const directory = memory.wordsOf(directoryPage);
    if (directory === undefined) return explained(explain, "PASID directory entry", address, 0x50);
    const directoryAt = memory.wordOf(directoryPage) + 2 * (directoryIndex & 511);
    const low = directory[directoryAt] as number; // 512 entries of 2 words a page
    const high = directory[directoryAt + 1] as number;
    if ((low & FPD) !== 0) binding.silenced = true;
    const fault = (low & PRESENT) === 0 ? 0x51 : (low & (POINTER_LOW_RESERVED & ~FPD)) !== 0 || (high & this.#rules.pointerHigh) !== 0 ? 0x52 : 0;
    if (explain !== undefined) explainStructure(explain, PASID_DIRECTORY_ENTRY, "PASID directory entry", address, directory, directoryAt, "P, then reserved bits", "VT-d §9.5", faultText(fault));
    if (fault !== 0) return fault;
    const table = pageIn(low, high);
    const index = pasid & 63;
    const words = memory.wordsOf(table);
    if (words === undefined) return explained(explain, "PASID table entry", table * 4096 + 64 * index, 0x58);
    const at = memory.wordOf(table) + PASID_ENTRY_WORDS * index;
    if (((words[at] as number) & FPD) !== 0) binding.silenced = true;
    const entryFault = this.#judgePasid(binding, words, at);
    if (explain !== undefined) explainStructure(explain, PASID_ENTRY, "PASID table entry", table * 4096 + 64 * index, words, at, "P, reserved bits, then PGTT and AW", "VT-d §9.6", faultText(entryFault));
    return entryFault;
  }

  #judgePasid(binding: Binding, words: Uint32Array, at: number): number {
    const w0 = words[at] as number; // an entry has 16 words
    if ((w0 & PRESENT) === 0) return 0x59;
    for (let i = 0; i < PASID_ENTRY_WORDS; i++) if (((words[at + i] as number) & (this.#rules.pasidEntry[i] as number)) !== 0) return 0x5a;
    const { cap, ecap } = this.#capabilities;
    const kind = KINDS[(w0 >>> 6) & 7] as number;
    const first = kind === BindingKind.FirstStage || kind === BindingKind.Nested;
    const second = kind === BindingKind.SecondStage || kind === BindingKind.Nested;
    const supported = kind === BindingKind.FirstStage ? ecap.FSTS : kind === BindingKind.SecondStage ? ecap.SSTS : kind === BindingKind.Nested ? ecap.NEST : kind === BindingKind.PassThrough ? ecap.PT : 0;
    if (!supported) return 0x5b;
    const levels = ((w0 >>> 2) & 7) + 2;
    if (second && ((this.#rules.levels >>> levels) & 1) === 0) return 0x5b;
    const w4 = words[at + 4] as number;
    const mode = (w4 >>> 2) & 3;
    if (first && (mode > 1 || (mode === 1 && !cap.FS5LP))) return 0x5b;
    const w2 = words[at + 2] as number;
    binding.kind = kind;
    binding.domain = w2 & 0xffff;
    // Second-stage translations are shared by all PASIDs of the domain; others, pass-through too, belong to one.
    binding.tag = kind === BindingKind.SecondStage ? -1 : binding.pasid;
    binding.deviceTlb = true;
    binding.secondStageTable = pageIn(w0, words[at + 1] as number);
    binding.secondStageLevels = second ? levels : 4;
    binding.secondStageFlags = second && (w0 & (1 << 9)) !== 0;
    const snoops = (w2 & (1 << 23)) !== 0;
    binding.secondStageSnoops = snoops;
    // Without SMPWCS the bit is reserved and a first-stage walk updates its entries all the same.
    binding.firstStageSnoops = snoops || !ecap.SMPWCS;
    binding.snoops = (w2 & (1 << 24)) !== 0;
    binding.cacheDisable = (w2 & (1 << 25)) !== 0;
    binding.extendedTypes = (w2 & (1 << 26)) !== 0;
    binding.pat = words[at + 3] as number;
    binding.nested = kind === BindingKind.Nested;
    binding.supervisor = (w4 & 1) !== 0;
    binding.execute = (w4 & 2) !== 0;
    binding.firstStageTable = pageIn(w4, words[at + 5] as number);
    binding.firstStageLevels = mode === 1 ? 5 : 4;
    binding.writeProtect = (w4 & (1 << 4)) !== 0;
    binding.noExecute = ecap.ERS === 1 && (w4 & (1 << 5)) !== 0;
    binding.extendedAccessed = (w4 & (1 << 7)) !== 0;
    return 0;
  }
}

/** `BindingKind` by PGTT; 0 for reserved values. */
const KINDS = Uint8Array.of(0, BindingKind.FirstStage, BindingKind.SecondStage, BindingKind.Nested, BindingKind.PassThrough, 0, 0, 0);

const CONTEXT_RULES: Readonly<Record<number, string>> = { 0x44: "Translation and translated requests need DTE", 0x45: "Requests with PASID need PASIDE", 0x46: "The PASID is below 2^(PDTS+13)", 0x48: "RID_PASID is below 2^(PDTS+13)" };

const explained = (explain: ExplanationSink | undefined, structure: string, address: number, fault: number): number => {
  explain?.step({ structure, address, rule: "A table is in memory", section: "VT-d §7.1.3", outcome: faultText(fault) });
  return fault;
};
