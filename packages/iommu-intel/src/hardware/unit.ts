import { newVtdInterruptVerdict, VtdInterruptRemapper, type VtdRemapSettings } from "@iommu-lab/interrupt-remap/vtd";
import type { MmioHandler } from "@iommu-lab/memory";
import type { CacheContents, CachePolicy, DownstreamPort, ExplanationSink, InterruptMessage, InterruptSink, InterruptVerdict, Iommu, PageRequest, Translation, TranslationRequest } from "@iommu-lab/pci-bus";
import type { VtdCapabilities } from "./capabilities.ts";
import { EventInterrupt, FAULT_EVENT, INVALIDATION_EVENT, PAGE_REQUEST_EVENT, PERFORMANCE_EVENT, type SendMessage } from "./event-interrupt.ts";
import { explainVerdict } from "./explain.ts";
import { FaultRecording } from "./fault-recording.ts";
import { Granularity, Invalidation } from "./invalidation.ts";
import { InvalidationQueue } from "./invalidation-queue.ts";
import { MemoryTypes } from "./memory-types.ts";
import { PageRequests } from "./page-requests.ts";
import { PerformanceCounters } from "./performance-counters.ts";
import { ProtectedMemory } from "./protected-memory.ts";
import type { TableMemory } from "./table-memory.ts";
import { TranslationTableMode, Translator } from "./translator.ts";
import { runEnhancedCommand, VirtualCommands } from "./unit-commands.ts";
import { UnitRegisters } from "./unit-registers.ts";

/** Choices that the architecture leaves open, or that older hardware made otherwise. */
export interface VtdPolicy {
  /** A fault of a source whose earlier fault is still recorded is dropped without telling of an overflow. Default false. VT-d §7.2.1. */
  readonly faultCollapse?: boolean;
  /** RID_PASID is obeyed though ECAP.RPS is clear. Default: as ECAP.RPS says. */
  readonly ridPasid?: boolean;
  /**
   * How a RID_PASID beyond the PASID directory faults. 43h, the default: as an invalid context entry, for every request of its
   * source. 48h: as a fault of requests without PASID alone, which is how software that names the codes reads that one. VT-d §7.1.3.
   */
  readonly ridPasidFault?: 0x43 | 0x48;
  /** Interrupt-remapping faults are recorded. Default true. */
  readonly interruptFaults?: boolean;
  /** A translation that ends in the interrupt address range faults. Default true. VT-d §3.14. */
  readonly checkInterruptOutput?: boolean;
}

/** What a unit is built with. */
export interface VtdUnitOptions {
  /** Where its tables are: `FlatMemory` or `SparseMemory`. */
  readonly memory: TableMemory;
  readonly capabilities: VtdCapabilities;
  /** Default realistic. */
  readonly caches?: CachePolicy;
  /** Size of the realistic IOTLB. Default 64 sets of 4 ways. */
  readonly iotlb?: { readonly sets: number; readonly ways: number };
  /** The unit's own messages: fault, invalidation completion, page request and performance events. */
  readonly sendMessage?: SendMessage;
  /** Nanoseconds until a device-TLB invalidation without completion sets ITE. Default a minute. PCIe §10.3.1. */
  readonly deviceTlbTimeout?: number;
  readonly policy?: VtdPolicy;
}

const MINUTE = 60e9;

/**
 * One VT-d remapping hardware unit: its registers, caches, queues and tables' readers. VT-d revision 4.1.
 * Nothing on the way of `translate` and `remapInterrupt` throws or allocates.
 */
export class VtdUnit implements Iommu {
  readonly registers: MmioHandler;
  readonly capabilities: VtdCapabilities;
  readonly #file: UnitRegisters;
  readonly #translator: Translator;
  readonly #settings: VtdRemapSettings = { enabled: false, tablePage: 0, entries: 2, extended: false, compatibility: false };
  readonly #remapper: VtdInterruptRemapper;
  readonly #verdict = newVtdInterruptVerdict();
  readonly #recordInterruptFaults: boolean;
  readonly #invalidation: Invalidation;
  readonly #queue: InvalidationQueue;
  readonly #faults: FaultRecording;
  readonly #pageRequests: PageRequests;
  readonly #protected: ProtectedMemory;
  readonly #types: MemoryTypes | undefined;
  readonly #counters: PerformanceCounters | undefined;
  readonly #virtualCommands: VirtualCommands | undefined;
  readonly #events: Readonly<Record<"fault" | "invalidation" | "pageRequest" | "performance", EventInterrupt>>;
  readonly #adversarial: boolean;
  #interrupts = 0;
  readonly #written: ReadonlyMap<string, (words: Uint32Array) => void>;

  constructor(options: VtdUnitOptions) {
    const { memory, capabilities, policy = {}, caches = "realistic" } = options;
    const { cap, ecap, hostAddressWidth } = capabilities;
    this.capabilities = capabilities;
    this.#adversarial = caches === "adversarial";
    this.#recordInterruptFaults = policy.interruptFaults ?? true;
    const file = new UnitRegisters(
      capabilities,
      (name, words) => {
        // The one that is written all the time.
        if (name === "IQT_REG") this.#queue.process();
        else this.#written.get(name)?.(words);
      },
      (name) => {
        if (name.startsWith("PERF")) this.#counters?.update();
      },
    );
    this.#file = file;
    this.registers = file;
    const send: SendMessage = options.sendMessage ?? (() => undefined);
    this.#events = {
      fault: new EventInterrupt(file, FAULT_EVENT, send),
      invalidation: new EventInterrupt(file, INVALIDATION_EVENT, send),
      pageRequest: new EventInterrupt(file, PAGE_REQUEST_EVENT, send),
      performance: new EventInterrupt(file, PERFORMANCE_EVENT, send),
    };
    const faults = (this.#faults = new FaultRecording(file, memory, capabilities, this.#events.fault, policy.faultCollapse ?? false));
    const shield = (this.#protected = new ProtectedMemory(file));
    this.#types = ecap.MTS ? new MemoryTypes(file) : undefined;
    this.#translator = new Translator({
      memory,
      capabilities,
      caches,
      iotlb: options.iotlb ?? { sets: 64, ways: 4 },
      honourRidPasid: policy.ridPasid ?? ecap.RPS === 1,
      ridPasidFault: policy.ridPasidFault ?? 0x43,
      checkInterruptOutput: policy.checkInterruptOutput ?? true,
      memoryTypes: this.#types,
      port: {
        recordFault: (request, fault) => {
          faults.dma(request, fault);
        },
        isProtected: (page) => shield.covers(page),
      },
    });
    // Without ECAP.IR it is never enabled, and every message passes in compatibility format.
    this.#remapper = new VtdInterruptRemapper({ memory, settings: this.#settings, hostAddressWidth, posting: cap.PI === 1, caches, cachingMode: cap.CM === 1 });
    this.#invalidation = new Invalidation(this.#translator, this.#remapper);
    this.#queue = new InvalidationQueue({
      registers: file,
      memory,
      capabilities,
      invalidation: this.#invalidation,
      faults,
      completion: this.#events.invalidation,
      deviceTlbTimeout: options.deviceTlbTimeout ?? MINUTE,
      mode: () => this.#translator.mode,
    });
    this.#pageRequests = new PageRequests(file, memory, capabilities, this.#translator, faults, this.#events.pageRequest);
    this.#counters = ecap.PMS ? new PerformanceCounters(file, () => this.totals, this.#events.performance) : undefined;
    this.#virtualCommands = ecap.VCS ? new VirtualCommands(file, ecap.PSS + 1) : undefined;
    this.#written = this.#writeHooks();
  }

  /** Whether a register has the byte at an offset of the window. */
  decodes(offset: number): boolean {
    return this.#file.decodes(offset);
  }

  /** What has happened since power-on; performance counters select from it. */
  get totals(): { readonly requests: number; readonly iotlbLookups: number; readonly iotlbMisses: number; readonly contextMisses: number; readonly faults: number; readonly interrupts: number } {
    const { others, lookups, misses, sources } = this.#translator;
    return { requests: others + lookups, iotlbLookups: lookups, iotlbMisses: misses, contextMisses: sources.misses, faults: this.#faults.faults, interrupts: this.#interrupts };
  }

  /** Descriptors of the invalidation queue done since power-on. */
  get descriptors(): number {
    return this.#queue.descriptors;
  }

  /** What can be found in the context-cache, PASID-cache, IOTLB and paging-structure caches now. VT-d §6.2. */
  get cacheContents(): CacheContents {
    return this.#translator.contents();
  }

  translate(request: Readonly<TranslationRequest>, out: Translation, explain?: ExplanationSink): void {
    this.#translator.translate(request, out, explain);
    if (explain !== undefined) explainVerdict(explain, out);
    if (this.#counters?.active) this.#counters.update();
  }

  remapInterrupt(message: Readonly<InterruptMessage>, sink: InterruptSink, out: InterruptVerdict, explain?: ExplanationSink): void {
    this.#interrupts++;
    const verdict = this.#verdict;
    this.#remapper.remap(message, sink, verdict, explain);
    out.fault = verdict.fault;
    out.recorded = verdict.recorded && this.#recordInterruptFaults;
    if (verdict.fault !== 0 && out.recorded) this.#faults.interrupt(message.requester, verdict.fault, verdict.index);
  }

  pageRequest(request: PageRequest): void {
    this.#pageRequests.receive(request);
  }

  connect(port: DownstreamPort): void {
    this.#queue.downstream = port;
    this.#pageRequests.downstream = port;
  }

  /** A function sent a completion that nobody waits for, or a malformed one: ICE. VT-d §6.5.2.10. */
  injectInvalidationCompletionError(source: number): void {
    this.#queue.completionError(source);
  }

  /** Cold: power-on values. Warm: sticky status bits and fault records stay. Tables in memory are never written. */
  reset(kind: "cold" | "warm"): void {
    this.#file.reset(kind);
    const translator = this.#translator;
    translator.enabled = false;
    translator.mode = TranslationTableMode.Legacy;
    translator.rootTable = 0;
    this.#invalidation.everything();
    Object.assign(this.#settings, { enabled: false, tablePage: 0, entries: 2, extended: false, compatibility: false });
    this.#remapper.reset();
    this.#queue.reset();
    if (kind === "cold") this.#faults.reset();
    this.#protected.written();
    this.#types?.written();
    this.#counters?.reset();
    this.#virtualCommands?.reset();
  }

  #writeHooks(): Map<string, (words: Uint32Array) => void> {
    const file = this.#file;
    const hooks = new Map<string, (words: Uint32Array) => void>([
      ["GCMD_REG", (words) => { this.#command(words[0] as number); }],
      ["CCMD_REG", () => { this.#contextCommand(); }],
      ["IOTLB_REG", () => { this.#iotlbCommand(); }],
      ["FSTS_REG", () => { this.#faultStatusWritten(); }],
      ["FECTL_REG", () => { this.#events.fault.flush(); }],
      ["IECTL_REG", () => { this.#events.invalidation.flush(); }],
      ["PECTL_REG", () => { this.#events.pageRequest.flush(); }],
      ["PERFINTRCTL_REG", () => { this.#events.performance.flush(); }],
      ["PERFINTRSTS_REG", () => { if (file.get("PERFINTRSTS_REG", "PIS") === 0) this.#events.performance.drop(); }],
      ["ICS_REG", () => { if (file.get("ICS_REG", "IWC") === 0) this.#events.invalidation.drop(); }],
      ["PRS_REG", () => { this.#pageRequests.statusWritten(); }],
      ["PMEN_REG", () => { this.#protected.written(); }],
      ["MTRRDEF_REG", () => { this.#types?.written(); }],
      ["ECMD_REG", () => { runEnhancedCommand(file, this.#counters); }],
      ["VCMD_REG", () => { this.#virtualCommands?.run(); }],
    ]);
    for (const { name } of file.registers) {
      if (name.startsWith("FRCD") && name.endsWith("_HIGH")) hooks.set(name, () => { this.#faults.recordsWritten(); });
      if (name.startsWith("PERFCNTR")) hooks.set(name, () => { this.#counters?.rebase(); });
    }
    return hooks;
  }

  /** GCMD_REG: one-shot commands act, levels are compared with what is in force; one after the other. VT-d §11.4.4. */
  #command(word: number): void {
    const file = this.#file;
    const { cap, ecap } = this.capabilities;
    const has = (bit: number): boolean => ((word >>> bit) & 1) === 1;
    if (has(30)) this.#setRootTable();
    if (has(24) && ecap.IR) this.#setInterruptTable();
    if (has(29) && cap.AFL) {
      this.#faults.restartLog();
      file.set("GSTS_REG", "FLS", 1);
    }
    if (cap.AFL) file.set("GSTS_REG", "AFLS", has(28) ? 1 : 0);
    if (ecap.QI && has(26) !== (file.get("GSTS_REG", "QIES") === 1)) {
      file.set("GSTS_REG", "QIES", has(26) ? 1 : 0);
      this.#queue.enable(has(26));
    }
    if (ecap.IR) {
      this.#settings.compatibility = has(23);
      this.#settings.enabled = has(25);
      file.set("GSTS_REG", "CFIS", has(23) ? 1 : 0);
      file.set("GSTS_REG", "IRES", has(25) ? 1 : 0);
    }
    this.#translator.enabled = has(31);
    file.set("GSTS_REG", "TES", has(31) ? 1 : 0);
  }

  /** SRTP: pointer and mode are latched. With ESRTPS nothing cached survives; the adversarial caches keep what they may. VT-d §11.4.4, §6.6. */
  #setRootTable(): void {
    const file = this.#file;
    const translator = this.#translator;
    const mode = file.get("RTADDR_REG", "TTM");
    if (!this.#adversarial || this.capabilities.cap.ESRTPS || mode !== translator.mode) this.#invalidation.everything();
    translator.mode = mode;
    translator.rootTable = file.get("RTADDR_REG", "RTA");
    file.set("GSTS_REG", "RTPS", 1);
  }

  #setInterruptTable(): void {
    const file = this.#file;
    Object.assign(this.#settings, { tablePage: file.get("IRTA_REG", "IRTA"), entries: 2 ** (file.get("IRTA_REG", "S") + 1), extended: file.get("IRTA_REG", "EIME") === 1 });
    if (!this.#adversarial || this.capabilities.cap.ESIRTPS) this.#remapper.invalidateAll();
    file.set("GSTS_REG", "IRTPS", 1);
  }

  /** Register-based invalidation of the context-cache. VT-d §11.4.6.1; undefined while the queue is on, and then ignored. */
  #contextCommand(): void {
    const file = this.#file;
    if (file.get("CCMD_REG", "ICC") === 0) return;
    const granularity = file.get("CCMD_REG", "CIRG");
    const done = granularity !== 0 && file.get("GSTS_REG", "QIES") === 0;
    if (done) this.#invalidation.context(granularity, file.get("CCMD_REG", "DID"), file.get("CCMD_REG", "SID"), file.get("CCMD_REG", "FM"));
    file.set("CCMD_REG", "CAIG", done ? granularity : 0);
    file.set("CCMD_REG", "ICC", 0);
  }

  /** Register-based invalidation of the IOTLB. VT-d §11.4.6.3. */
  #iotlbCommand(): void {
    const file = this.#file;
    if (file.get("IOTLB_REG", "IVT") === 0) return;
    const { cap } = this.capabilities;
    const granularity = file.get("IOTLB_REG", "IIRG");
    const mask = file.get("IVA_REG", "AM");
    const pages = granularity === Granularity.Selective;
    const done = granularity !== 0 && file.get("GSTS_REG", "QIES") === 0 && !(pages && (!cap.PSI || mask > cap.MAMV));
    if (done) {
      const page = file.get("IVA_REG", "ADDR");
      this.#invalidation.iotlb(granularity, file.get("IOTLB_REG", "DID"), page | 0, Math.floor(page / 0x1_0000_0000), mask, file.get("IVA_REG", "IH") === 1);
    }
    file.set("IOTLB_REG", "IAIG", done ? granularity : 0);
    file.set("IOTLB_REG", "IVT", 0);
  }

  /** Cleared errors let the queue go on; the last status bit takes the event with it. VT-d §7.3, §6.5.2. */
  #faultStatusWritten(): void {
    const file = this.#file;
    if (file.get("FSTS_REG", "IQE") === 0 && this.capabilities.ecap.QI) file.set("IQERCD_REG", "IQEI", 0);
    this.#faults.statusWritten();
    this.#queue.process();
  }
}
