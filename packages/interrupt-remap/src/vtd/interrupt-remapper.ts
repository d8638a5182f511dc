import type { CachePolicy, ExplanationSink, Interrupt, InterruptMessage, InterruptSink, InterruptVerdict, RequesterId } from "@iommu-lab/pci-bus";
import { decodeMessage, isDeliveryMode, newInterrupt } from "../msi/message.ts";
import {
  DELIVERY_MODE_SHIFT,
  DESCRIPTOR_ADDRESS_LOW,
  FAULT_PROCESSING_DISABLE,
  LEVEL,
  LOGICAL,
  POSTED,
  POSTED_RESERVED_0,
  POSTED_RESERVED_1,
  PRESENT,
  QUALIFIER_SHIFT,
  REDIRECTION_HINT,
  REMAPPED_RESERVED_0,
  REMAPPED_RESERVED_1_XAPIC,
  REMAPPED_RESERVED_3,
  RESERVED_2,
  URGENT,
  VALIDATION_SHIFT,
  VECTOR_SHIFT,
} from "./entry-masks.ts";
import { explainCompatibility, explainDelivery, explainEntry, explainPosting, explainRequest, explainSource } from "./explain-remap.ts";
import { interruptEntryCache, type InterruptEntryCache } from "./interrupt-entry-cache.ts";
import { InterruptFault, isQualified } from "./interrupt-fault.ts";
import { InterruptPoster } from "./post-interrupt.ts";
import type { RemapMemory } from "./remap-memory.ts";

/** The registers that interrupt remapping obeys. Owned and changed by the remapping unit; read at every request. */
export interface VtdRemapSettings {
  /** GSTS.IRES: requests in remappable format are remapped. */
  enabled: boolean;
  /** IRTA bits 63:12 as a page number, as latched by SIRTP. */
  tablePage: number;
  /** Entries of the table, 2^(S+1): 2 to 65536. */
  entries: number;
  /** EIME: destinations are 32-bit x2APIC IDs. */
  extended: boolean;
  /** GSTS.CFIS: requests in compatibility format pass, unless EIME=1. */
  compatibility: boolean;
}

/** What came of an interrupt request. Owned and reused by the caller. */
export interface VtdInterruptVerdict extends InterruptVerdict {
  /** Interrupt index for the fault record, 16 bits; 0 for faults 20h and 25h. */
  index: number;
}

/** A record for `remap` to fill, once per caller. */
export const newVtdInterruptVerdict = (): VtdInterruptVerdict => ({ fault: 0, recorded: false, index: 0 });

/** What a remapper is built from. */
export interface VtdRemapperOptions {
  readonly memory: RemapMemory;
  readonly settings: Readonly<VtdRemapSettings>;
  /** Bits of a host-physical address, 32 to 52. */
  readonly hostAddressWidth: number;
  /** CAP.PI: entries for posted interrupts are understood. */
  readonly posting: boolean;
  readonly caches: CachePolicy;
  /** CAP.CM: entries that are not present may be cached. */
  readonly cachingMode: boolean;
}

/** Bits of the requester ID that SQ takes part in the comparison. VT-d §9.9. */
const COMPARED = [0xffff, 0xfffb, 0xfff9, 0xfff8] as const;

const sourceAllowed = (requester: RequesterId, verification: number, sid: number, qualifier: number): boolean => {
  if (verification === 0) return true;
  if (verification === 1) return ((requester ^ sid) & (COMPARED[qualifier] as number)) === 0; // SQ has two bits
  // Model: the reserved value 3 verifies nobody, and so refuses everybody.
  if (verification === 3) return false;
  const bus = (requester >>> 8) & 0xff;
  return bus >= sid >>> 8 && bus <= (sid & 0xff);
};

/**
 * The interrupt remapping of one VT-d unit: takes a message, finds its IRTE, checks both, and delivers, posts or blocks.
 * VT-d §5.1 "Interrupt Remapping", §5.2 "Interrupt Posting". It neither throws nor allocates; faults go into the verdict,
 * and the remapping unit records them. The records that sinks receive are reused at the next request.
 */
export class VtdInterruptRemapper {
  readonly #memory: RemapMemory;
  readonly #settings: Readonly<VtdRemapSettings>;
  readonly #pageLimit: number;
  readonly #posting: boolean;
  readonly #cachingMode: boolean;
  readonly #cache: InterruptEntryCache;
  readonly #poster: InterruptPoster;
  readonly #entry = new Uint32Array(4);
  readonly #interrupt: Interrupt = newInterrupt();

  /** @throws RangeError when the host address width is not 32 to 52 bits */
  constructor(options: VtdRemapperOptions) {
    const { hostAddressWidth } = options;
    if (!(Number.isInteger(hostAddressWidth) && hostAddressWidth >= 32 && hostAddressWidth <= 52)) throw new RangeError(`A host address width of ${hostAddressWidth} bits is impossible; it is 32 to 52.`);
    this.#memory = options.memory;
    this.#settings = options.settings;
    this.#pageLimit = 2 ** (hostAddressWidth - 12);
    this.#posting = options.posting;
    this.#cachingMode = options.cachingMode;
    this.#cache = interruptEntryCache(options.caches);
    this.#poster = new InterruptPoster(options.memory, this.#pageLimit);
  }

  /**
   * Remaps, posts, passes or blocks one request. VT-d §5.1.4 "Overview of Interrupt Remapping".
   * @param sink receives what passes, after `out` is complete
   * @param out  filled in
   */
  remap(message: Readonly<InterruptMessage>, sink: InterruptSink, out: VtdInterruptVerdict, explain?: ExplanationSink): void {
    const { enabled, compatibility, extended } = this.#settings;
    out.fault = 0;
    out.recorded = false;
    out.index = 0;
    if (enabled && (message.address & 0x10) !== 0) {
      this.#remapRequest(message, sink, out, explain);
      return;
    }
    if (enabled && (extended || !compatibility)) this.#block(out, InterruptFault.CompatibilityBlocked);
    explain?.step(explainCompatibility(message, enabled, out.fault));
    // Model: a reserved delivery mode passes the remapping unit, and no local APIC accepts it.
    if (out.fault === 0 && decodeMessage(message, this.#interrupt)) sink.deliver(this.#interrupt);
  }

  /** Forgets every cached entry: a global interrupt entry cache invalidation. VT-d §6.5.2.7. */
  invalidateAll(): void {
    this.#cache.invalidateAll();
  }

  /**
   * Forgets the 2^maskBits indexes of the aligned block around `index`: an index-selective invalidation. VT-d §6.5.2.7.
   * @param index    IIDX, 16 bits
   * @param maskBits IM, 0 to 31; the unit checks it against ECAP.MHMV
   */
  invalidateIndex(index: number, maskBits: number): void {
    this.#cache.invalidateIndex(index, maskBits);
  }

  /** Power-on: the cache is empty. */
  reset(): void {
    this.#cache.invalidateAll();
  }

  #remapRequest(message: Readonly<InterruptMessage>, sink: InterruptSink, out: VtdInterruptVerdict, explain: ExplanationSink | undefined): void {
    const { address, data } = message;
    const { entries } = this.#settings;
    const withSubhandle = (address & 8) !== 0;
    const handle = ((address >>> 5) & 0x7fff) | ((address & 4) << 13);
    const index = withSubhandle ? handle + (data & 0xffff) : handle;
    if (withSubhandle && data >>> 16 !== 0) this.#block(out, InterruptFault.RequestReserved);
    else {
      out.index = index & 0xffff;
      if (index >= entries) this.#block(out, InterruptFault.IndexTooLarge);
    }
    explain?.step(explainRequest(message, index, entries, out.fault));
    if (out.fault !== 0 || !this.#fetch(index, out, explain)) return;
    if (!this.#verifySource(message.requester, out, explain)) return;
    if (((this.#entry[0] as number) & POSTED) !== 0) this.#post(sink, out, explain);
    else this.#deliver(sink, explain);
  }

  /** Brings the entry of `index` into `#entry`; false when it is missing or wrong. */
  #fetch(index: number, out: VtdInterruptVerdict, explain: ExplanationSink | undefined): boolean {
    const { tablePage, extended } = this.#settings;
    const page = tablePage + (index >>> 8);
    const address = page * 4096 + (index & 0xff) * 16;
    const cached = this.#cache.find(index, this.#entry);
    if (!cached && !this.#read(page, index)) {
      this.#block(out, InterruptFault.EntryAccess);
      explain?.step(explainEntry(address, undefined, extended, false, out.fault, true));
      return false;
    }
    const fault = this.#judgeEntry(extended);
    if (!cached && (fault === 0 || (fault === InterruptFault.EntryNotPresent && this.#cachingMode))) this.#cache.insert(index, this.#entry);
    if (fault !== 0) this.#block(out, fault);
    explain?.step(explainEntry(address, this.#entry, extended, cached, fault, out.recorded));
    return fault === 0;
  }

  /** Reads an entry from memory, 128 bits at once. */
  #read(page: number, index: number): boolean {
    const words = page < this.#pageLimit ? this.#memory.wordsOf(page) : undefined;
    if (words === undefined) return false;
    const at = this.#memory.wordOf(page) + (index & 0xff) * 4;
    const entry = this.#entry;
    entry[0] = words[at] as number; // entries never cross a page
    entry[1] = words[at + 1] as number;
    entry[2] = words[at + 2] as number;
    entry[3] = words[at + 3] as number;
    return true;
  }

  /** P, then reserved bits and values. VT-d §7.1.3. */
  #judgeEntry(extended: boolean): number {
    const word0 = this.#entry[0] as number; // four words
    const word1 = this.#entry[1] as number;
    const word2 = this.#entry[2] as number;
    const word3 = this.#entry[3] as number;
    if ((word0 & PRESENT) === 0) return InterruptFault.EntryNotPresent;
    let reserved: number;
    if ((word0 & POSTED) !== 0) {
      // IM itself is reserved where posting is not supported.
      if (!this.#posting) return InterruptFault.EntryReserved;
      reserved = (word0 & POSTED_RESERVED_0) | (word1 & POSTED_RESERVED_1);
    } else {
      reserved = (word0 & REMAPPED_RESERVED_0) | (extended ? 0 : word1 & REMAPPED_RESERVED_1_XAPIC) | (word3 & REMAPPED_RESERVED_3);
      if (!isDeliveryMode((word0 >>> DELIVERY_MODE_SHIFT) & 7)) return InterruptFault.EntryReserved;
    }
    reserved |= word2 & RESERVED_2;
    return reserved !== 0 ? InterruptFault.EntryReserved : 0;
  }

  #verifySource(requester: RequesterId, out: VtdInterruptVerdict, explain: ExplanationSink | undefined): boolean {
    const word = this.#entry[2] as number; // four words
    const verification = (word >>> VALIDATION_SHIFT) & 3;
    const qualifier = (word >>> QUALIFIER_SHIFT) & 3;
    const sid = word & 0xffff;
    if (!sourceAllowed(requester, verification, sid, qualifier)) this.#block(out, InterruptFault.SourceRefused);
    explain?.step(explainSource(requester, verification, sid, qualifier, out.fault, out.recorded));
    return out.fault === 0;
  }

  #deliver(sink: InterruptSink, explain: ExplanationSink | undefined): void {
    const word0 = this.#entry[0] as number; // four words
    const word1 = this.#entry[1] as number;
    const mode = (word0 >>> DELIVERY_MODE_SHIFT) & 7;
    if (!isDeliveryMode(mode)) return; // judged before
    const interrupt = this.#interrupt;
    interrupt.vector = (word0 >>> VECTOR_SHIFT) & 0xff;
    interrupt.deliveryMode = mode;
    interrupt.destination = this.#settings.extended ? word1 : (word1 >>> 8) & 0xff;
    interrupt.destinationMode = (word0 & LOGICAL) === 0 ? "physical" : "logical";
    interrupt.trigger = (word0 & LEVEL) === 0 ? "edge" : "level";
    interrupt.redirectionHint = (word0 & REDIRECTION_HINT) !== 0;
    explain?.step(explainDelivery(interrupt.vector, interrupt.destination));
    sink.deliver(interrupt);
  }

  #post(sink: InterruptSink, out: VtdInterruptVerdict, explain: ExplanationSink | undefined): void {
    const word0 = this.#entry[0] as number; // four words
    const { extended } = this.#settings;
    const structure = (this.#entry[3] as number) * 2 ** 32 + (((this.#entry[1] as number) & DESCRIPTOR_ADDRESS_LOW) >>> 0);
    const fault = this.#poster.post(structure, (word0 >>> VECTOR_SHIFT) & 0xff, (word0 & URGENT) !== 0, extended);
    if (fault !== 0) this.#block(out, fault);
    explain?.step(explainPosting(structure, fault === InterruptFault.DescriptorAccess ? undefined : this.#poster.descriptor, extended, this.#poster.posting, fault, out.recorded));
    if (fault === 0) sink.post(this.#poster.posting);
  }

  /** FPD silences only faults found after the entry was read. */
  #block(out: VtdInterruptVerdict, fault: number): void {
    out.fault = fault;
    out.recorded = !isQualified(fault) || ((this.#entry[0] as number) & FAULT_PROCESSING_DISABLE) === 0; // four words
  }
}
