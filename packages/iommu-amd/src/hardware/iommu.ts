import type { Hpa } from "@iommu-lab/memory";
import type { Register } from "@iommu-lab/memory/registers";
import type { CacheContents, CachePolicy, DownstreamPort, ExplanationSink, InterruptMessage, InterruptSink, InterruptVerdict, PageRequest, RequesterId, Translation, TranslationRequest } from "@iommu-lab/pci-bus";
import type { AmdIommu as AmdIommuInterface } from "../interfaces.ts";
import type { AmdCapabilities } from "./capabilities.ts";
import { CommandBuffer } from "./command-buffer.ts";
import { Events } from "./events.ts";
import { InterruptRequests } from "./interrupt-requests.ts";
import { Invalidation } from "./invalidation.ts";
import { IommuFunction } from "./iommu-function.ts";
import { MsiMirror } from "./msi-mirror.ts";
import { PageRequests } from "./page-requests.ts";
import { PerformanceCounters, type CountedRequest, type CounterTotals } from "./performance-counters.ts";
import { counterMap, registerMap } from "./register-map.ts";
import type { ReverseMap } from "./reverse-map.ts";
import { EVENT_LOG, GA_LOG, PPR_LOG, RingLog } from "./ring-log.ts";
import type { TableMemory } from "./table-memory.ts";
import { Translator } from "./translator.ts";
import { UnitInterrupts, type InterruptKind, type SendMessage } from "./unit-interrupts.ts";
import { RegisterWindow, UnitRegisters } from "./unit-registers.ts";

/** What the machine around the IOMMU decides. */
export interface AmdPolicy {
  /** SNP is active (EFR.SNPSup): the exclusion registers confine completion stores, and DMA without a host table is refused. Default false. */
  readonly snp?: boolean;
  /** What the RMP says, which the processor keeps. Asked under SNP, after the tables. Default: every page is the host's. */
  readonly rmp?: ReverseMap;
}

/** What an IOMMU is built with. */
export interface AmdIommuOptions {
  /** Where its tables are: `FlatMemory` or `SparseMemory`. */
  readonly memory: TableMemory;
  readonly capabilities: AmdCapabilities;
  /** Default realistic. */
  readonly caches?: CachePolicy;
  /** Size of the realistic IOTLB. Default 64 sets of 4 ways. */
  readonly iotlb?: { readonly sets: number; readonly ways: number };
  /** The IOMMU's own messages: event log and completion wait, PPR log, GA log. */
  readonly sendMessage?: SendMessage;
  /** Default 00:00.2. */
  readonly deviceId?: RequesterId;
  /** Where firmware put the register window. Default 0xfeb8_0000. */
  readonly registerBase?: Hpa;
  /** PCI segment. Default 0. */
  readonly segment?: number;
  /** PCI device ID of the function. Default 1451h. */
  readonly pciDevice?: number;
  readonly policy?: AmdPolicy;
}

const DEFAULT_DEVICE_ID = 0x0002;
const DEFAULT_BASE = 0xfeb8_0000;
const DEFAULT_PCI_DEVICE = 0x1451;

/**
 * One AMD IOMMU: its PCI function, registers, caches, rings and tables' readers. AMD-Vi revision 3.08.
 * Nothing on the way of `translate` and `remapInterrupt` throws, and nothing allocates but for posted interrupts' notifications.
 */
export class AmdIommu implements AmdIommuInterface {
  readonly registers: RegisterWindow;
  readonly capabilities: AmdCapabilities;
  readonly function: IommuFunction;
  readonly deviceId: RequesterId;
  readonly segment: number;
  readonly #file: UnitRegisters;
  readonly #counterFile: UnitRegisters | undefined;
  readonly #translator: Translator;
  readonly #interrupts: InterruptRequests;
  readonly #invalidation: Invalidation;
  readonly #events: Events;
  readonly #eventLog: RingLog;
  readonly #pprLog: RingLog;
  readonly #gaLog: RingLog;
  readonly #commands: CommandBuffer;
  readonly #pageRequests: PageRequests;
  readonly #counters: PerformanceCounters | undefined;
  readonly #mirror: MsiMirror;
  readonly #memory: TableMemory;
  readonly #snp: boolean;
  readonly #counted: CountedRequest = { deviceId: 0, domain: 0, pasid: 0 };
  readonly #gaWords = new Uint32Array(2);

  constructor(options: AmdIommuOptions) {
    const { memory, capabilities, caches = "realistic", policy = {} } = options;
    const { efr } = capabilities;
    this.capabilities = capabilities;
    this.deviceId = options.deviceId ?? DEFAULT_DEVICE_ID;
    this.segment = options.segment ?? 0;
    this.#memory = memory;
    const snp = (this.#snp = (policy.snp ?? false) && efr.SNPSup === 1);
    this.function = new IommuFunction(capabilities, { device: options.pciDevice ?? DEFAULT_PCI_DEVICE, registerBase: options.registerBase ?? DEFAULT_BASE });
    const file = (this.#file = new UnitRegisters(
      registerMap(capabilities),
      (register, oldWords, newWords) => {
        this.#written(register, oldWords, newWords);
      },
      (name) => {
        this.#mirror.refresh(name);
      },
    ));
    this.#counterFile = efr.PCSup
      ? new UnitRegisters(
          counterMap(capabilities),
          () => this.#counters?.written(),
          () => this.#counters?.update(),
        )
      : undefined;
    this.registers = new RegisterWindow(file, this.#counterFile);
    this.#mirror = new MsiMirror(file, this.function, efr.MsiCapMmioSup === 1);
    const own = new UnitInterrupts(file, this.function, capabilities.messageNumbers, options.sendMessage ?? (() => undefined));
    const raise = (kind: InterruptKind): void => {
      own.raise(kind);
    };
    const targetAbort = (): void => {
      this.function.signalTargetAbort();
    };
    this.#eventLog = new RingLog(file, memory, EVENT_LOG, raise);
    this.#pprLog = new RingLog(file, memory, PPR_LOG, raise);
    this.#gaLog = new RingLog(file, memory, GA_LOG, raise);
    const events = (this.#events = new Events(file, this.#eventLog, efr.HESup === 1));
    const translator = (this.#translator = new Translator({
      memory,
      capabilities,
      caches,
      iotlb: options.iotlb ?? { sets: 64, ways: 4 },
      snp,
      ...(snp && policy.rmp !== undefined ? { rmp: policy.rmp } : {}),
      port: {
        logEvent: (w0, w1, w2, w3) => {
          events.log(w0, w1, w2, w3);
        },
        targetAbort,
      },
    }));
    this.#interrupts = new InterruptRequests({
      registers: file,
      memory,
      capabilities,
      caches,
      devices: translator.devices,
      events,
      gaLog: (low, high) => {
        this.#logGuestInterrupt(low, high);
      },
      targetAbort,
    });
    this.#invalidation = new Invalidation(translator, this.#interrupts.remapper);
    this.#commands = new CommandBuffer({ registers: file, memory, capabilities, translator, invalidation: this.#invalidation, events, raise, snp });
    this.#pageRequests = new PageRequests(file, capabilities, translator, this.#pprLog, events, raise);
    this.#counters = this.#counterFile && new PerformanceCounters(this.#counterFile, capabilities, () => this.totals, events);
  }

  /** Where the register window is: what the function's base registers say. */
  get registerBase(): Hpa {
    return this.function.registerBase ?? 0;
  }

  /** What has happened since power-on; performance counters select from it. */
  get totals(): CounterTotals & { readonly requests: number; readonly events: number } {
    const { requests, lookups, misses, devices, deviceEntryHits, hostReads, guestReads } = this.#translator;
    const { untranslated, pretranslated, excluded } = this.#translator.tableless;
    const { aborted } = this.#translator.faults;
    const { commands, invalidations } = this.#commands;
    const { smis, blockedSmis } = this.#interrupts;
    return {
      requests,
      events: this.#events.count,
      untranslated,
      pretranslated,
      excluded,
      aborted,
      translations: lookups,
      iotlbHits: lookups - misses,
      iotlbMisses: misses,
      deviceEntryHits,
      deviceEntryMisses: devices.misses,
      tableReads: hostReads + guestReads,
      hostTableReads: hostReads,
      guestTableReads: guestReads,
      commands,
      invalidations,
      smis,
      blockedSmis,
    };
  }

  /** What can be found in the caches of device table entries, translations and page directories now. AMD-Vi §2.4. */
  get cacheContents(): CacheContents {
    return this.#translator.contents();
  }

  translate(request: Readonly<TranslationRequest>, out: Translation, explain?: ExplanationSink): void {
    this.#translator.translate(request, out, explain);
    const counters = this.#counters;
    if (counters?.active) this.#count(counters, request);
  }

  #count(counters: PerformanceCounters, request: Readonly<TranslationRequest>): void {
    this.#counted.deviceId = request.requester;
    this.#counted.domain = this.#translator.domain;
    this.#counted.pasid = request.pasid;
    counters.update(this.#counted);
  }

  remapInterrupt(message: Readonly<InterruptMessage>, sink: InterruptSink, out: InterruptVerdict, explain?: ExplanationSink): void {
    this.#interrupts.remap(message, sink, out, explain);
  }

  pageRequest(request: PageRequest): void {
    this.#pageRequests.receive(request);
  }

  connect(port: DownstreamPort): void {
    this.#commands.downstream = port;
    this.#pageRequests.downstream = port;
  }

  /** Cold: power-on values. Warm: the hardware event registers keep what they hold. Tables in memory are never written. */
  reset(kind: "cold" | "warm"): void {
    this.#file.reset(kind);
    this.#counterFile?.reset(kind);
    this.#counters?.written();
    this.function.reset(kind);
    for (const log of [this.#eventLog, this.#pprLog, this.#gaLog]) log.reset();
    this.#commands.reset();
    this.#invalidation.everything();
    this.#interrupts.remapper.reset();
    this.#tablesWritten();
    this.#controlWritten();
  }

  /** After software's write to a register. Those that the hardware owns at the moment keep their value. */
  #written(register: Register, oldWords: Uint32Array, newWords: Uint32Array): void {
    const { name } = register;
    // The one that is written all the time, and always by software.
    if (name === "CMD_TAIL") {
      this.#commands.process();
      return;
    }
    if (this.#owns(name) || (name.startsWith("SMI_FILTER") && register.layout.get.SmiFLock?.(oldWords) === 1)) {
      this.#file.restore(register, oldWords);
      return;
    }
    switch (name) {
      case "CONTROL":
        this.#controlWritten();
        break;
      case "CMD_BASE":
        this.#file.set("CMD_HEAD", "Ptr", 0);
        this.#file.set("CMD_TAIL", "Ptr", 0);
        break;
      case "EXCL_BASE":
      case "EXCL_LIMIT":
        this.#rangesWritten();
        break;
      default:
        this.#otherWritten(name, newWords[0] as number); // two words
    }
  }

  #otherWritten(name: string, word: number): void {
    if (name.startsWith("DEV_TAB")) this.#tablesWritten();
    else if (name.startsWith("MARC")) this.#rangesWritten();
    else if (name.startsWith("MSI")) this.#mirror.written(name, word);
    else for (const log of [this.#eventLog, this.#pprLog, this.#gaLog]) log.baseWritten(name);
  }

  #owns(register: string): boolean {
    return this.#commands.owns(register) || this.#eventLog.owns(register) || this.#pprLog.owns(register) || this.#gaLog.owns(register);
  }

  /** CONTROL: the logs come before the command buffer, which may have something to log at once. AMD-Vi §3.4. */
  #controlWritten(): void {
    const file = this.#file;
    const bit = (field: string): boolean => file.get("CONTROL", field) === 1;
    const enabled = bit("IommuEn");
    const { guestControl, devices, ranges } = this.#translator;
    guestControl.enabled = bit("GTEn");
    guestControl.guestPointers = bit("GCR3TRPMode");
    guestControl.keepsClean = bit("GDUpdateDis");
    devices.segmentBits = Math.min(file.get("CONTROL", "DevTblSegEn"), this.capabilities.efr.DevTblSegSup);
    ranges.update(file, this.#snp);
    this.#translator.configure(enabled);
    this.#interrupts.update();
    this.#eventLog.update(enabled);
    this.#pprLog.update(enabled);
    this.#gaLog.update(enabled);
    this.#commands.update(enabled);
  }

  #rangesWritten(): void {
    this.#translator.ranges.update(this.#file, this.#snp);
    this.#translator.configure(this.#translator.enabled);
  }

  #tablesWritten(): void {
    const { bases, sizes } = this.#translator.devices;
    for (let segment = 0; segment < bases.length; segment++) {
      const name = segment === 0 ? "DEV_TAB_BASE" : `DEV_TAB_SEG_${segment}`;
      bases[segment] = this.#file.get(name, "DevTabBase");
      sizes[segment] = this.#file.get(name, "Size");
    }
  }

  /** A posted interrupt of a guest that does not run. The tail goes to memory too, where software asked for it. AMD-Vi §2.7. */
  #logGuestInterrupt(low: number, high: number): void {
    this.#gaWords[0] = low;
    this.#gaWords[1] = high;
    if (!this.#gaLog.append(this.#gaWords)) return;
    const file = this.#file;
    const address = file.get("GA_TAIL_ADDRESS", "AddrHigh") * 0x1_0000_0000 + file.get("GA_TAIL_ADDRESS", "AddrLow") * 8;
    if (address === 0) return;
    this.#memory.write32(address, file.get("GA_TAIL", "Ptr") * 8);
    this.#memory.write32(address + 4, 0);
  }
}
