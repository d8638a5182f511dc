import { DeliveryMode, type CachePolicy, type ExplanationSink, type Interrupt, type InterruptMessage, type InterruptSink, type InterruptVerdict, type Posting, type PostingNotification } from "@iommu-lab/pci-bus";
import { decodeMessage, newInterrupt } from "../msi/message.ts";
import type { RemapMemory } from "../vtd/remap-memory.ts";
import { explainAmdEntry, explainAmdRule } from "./explain-amd.ts";
import { interruptEntries, type InterruptEntries } from "./interrupt-entries.ts";

/** The interrupt fields of a device table entry, filled in by the IOMMU before each request. AMD-Vi §2.2.2.1, Table 7. */
export interface AmdInterruptFields {
  /** IV: without it interrupts pass unmapped. */
  valid: boolean;
  /** IntCtl: 0 abort, 1 forward unmapped, 2 remap, 3 reserved. */
  control: number;
  /** IntTabLen: 2^n entries, 0 to 11; 4 bits. */
  tableLength: number;
  /** Interrupt table root in 128 bytes: HPA >> 7. */
  tablePage: number;
  /** IG: faults of unmapped interrupts are not logged. */
  ignoreUnmapped: boolean;
  /** SA: no page faults of this device are logged. */
  suppressAll: boolean;
  initPass: boolean;
  externalPass: boolean;
  nmiPass: boolean;
  /** For LINT messages, which have no form as a memory write. */
  lint0Pass: boolean;
  lint1Pass: boolean;
}

/** What interrupt remapping takes from the control register. Owned and changed by the IOMMU. AMD-Vi §3.4.4. */
export interface AmdRemapControl {
  /** GAEn: entries have 128 bits. */
  wideEntries: boolean;
  /** XTEn: destinations have 32 bits. */
  extended: boolean;
  /** GAMEn = 1: entries for guests are understood. */
  guestMode: boolean;
  /** NumIntRemapMode = 1: every message type is an index, 2048 of them. */
  largeTables: boolean;
  /** IRTCacheDis. */
  cacheDisabled: boolean;
}

/** What became of a request that did not pass. */
export const AmdInterruptFault = {
  /** ILLEGAL_DEV_TABLE_ENTRY with I. */
  IllegalDeviceEntry: 1,
  /** IO_PAGE_FAULT with I. */
  PageFault: 2,
  /** PAGE_TAB_HARDWARE_ERROR with I: the entry or the backing page cannot be accessed. */
  TableError: 4,
  /** Target abort without an event. */
  TargetAbort: 0x100,
} as const;

/** What came of an interrupt request. Owned and reused by the caller. */
export interface AmdInterruptVerdict extends InterruptVerdict {
  /** PR of an IO_PAGE_FAULT: the entry has RemapEn set. */
  present: boolean;
  /** RZ of the event: reserved bits are set. */
  reserved: boolean;
  /** HPA that could not be accessed, for `TableError`. */
  address: number;
}

/** A record for `remap` to fill, once per caller. */
export const newAmdInterruptVerdict = (): AmdInterruptVerdict => ({ fault: 0, recorded: false, present: false, reserved: false, address: 0 });

/** What a remapper is built from. */
export interface AmdRemapperOptions {
  readonly memory: RemapMemory;
  readonly control: Readonly<AmdRemapControl>;
  /** Bits of a host-physical address, 32 to 52. */
  readonly physicalAddressWidth: number;
  readonly caches: CachePolicy;
  /** Takes an entry of the GA log: bits 31:0, bits 63:32. */
  readonly gaLog: (low: number, high: number) => void;
}

const REMAP_ENABLE = 1;
const SUPPRESS_FAULTS = 1 << 1;
const GA_LOG = 1 << 2;
const LOGICAL = 1 << 6;
const GUEST_MODE = 1 << 7;
const IS_RUNNING = 1 << 6;
/** Largest IntTabLen. */
const LONGEST_TABLE = 11;
/** IRR of a virtual APIC backing page: 32 vectors every 16 bytes. */
const IRR = 0x200;

/** Message types, data bits 10:8. AMD-Vi §2.2.5, Table 19. */
const MessageType = { Fixed: 0, Arbitrated: 1, Smi: 2, Nmi: 4, Init: 5, External: 7 } as const;
/** IntCtl. */
const InterruptControl = { Abort: 0, Forward: 1, Remap: 2 } as const;

const SILENT: PostingNotification = { kind: "none" };

/**
 * The interrupt half of an AMD IOMMU: passes, remaps, posts or blocks messages as the source's device table entry says.
 * AMD-Vi §2.2.5 "Interrupt Remapping". It neither throws nor, but for notifications of guests, allocates; the IOMMU logs the events.
 */
export class AmdInterruptRemapper {
  readonly #memory: RemapMemory;
  readonly #control: Readonly<AmdRemapControl>;
  readonly #pageLimit: number;
  readonly #entries: InterruptEntries;
  readonly #gaLog: (low: number, high: number) => void;
  readonly #entry = new Uint32Array(4);
  readonly #interrupt: Interrupt = newInterrupt();

  /** @throws RangeError when the physical address width is not 32 to 52 bits */
  constructor(options: AmdRemapperOptions) {
    const { physicalAddressWidth } = options;
    if (!(Number.isInteger(physicalAddressWidth) && physicalAddressWidth >= 32 && physicalAddressWidth <= 52)) throw new RangeError(`A physical address width of ${physicalAddressWidth} bits is impossible; it is 32 to 52.`);
    this.#memory = options.memory;
    this.#control = options.control;
    this.#pageLimit = 2 ** (physicalAddressWidth - 12);
    this.#entries = interruptEntries(options.caches);
    this.#gaLog = options.gaLog;
  }

  /**
   * Judges one request by its source's DTE. AMD-Vi §2.2.5.
   * @param sink receives what passes, after `out` is complete
   * @param out  filled in
   */
  remap(message: Readonly<InterruptMessage>, fields: Readonly<AmdInterruptFields>, sink: InterruptSink, out: AmdInterruptVerdict, explain?: ExplanationSink): void {
    out.fault = 0;
    out.recorded = false;
    out.present = false;
    out.reserved = false;
    out.address = 0;
    if (!fields.valid) {
      if (explain !== undefined) explainAmdRule(explain, "device table entry", "IV clear: interrupts pass unmapped", "AMD-Vi §2.2.2.1", "passes");
      this.#forward(message, sink);
      return;
    }
    const type = (message.data >>> 8) & 7;
    const tabled = this.#control.largeTables || type === MessageType.Fixed || type === MessageType.Arbitrated;
    if (!tabled) {
      this.#special(message, type, fields, sink, out, explain);
      return;
    }
    switch (fields.control) {
      case InterruptControl.Abort:
        this.#refuse(out, AmdInterruptFault.TargetAbort, false, explain, "IntCtl = 0: fixed and arbitrated interrupts are aborted");
        return;
      case InterruptControl.Forward:
        if (explain !== undefined) explainAmdRule(explain, "device table entry", "IntCtl = 1: fixed and arbitrated interrupts pass unmapped", "AMD-Vi §2.2.5", "passes");
        this.#forward(message, sink);
        return;
      case InterruptControl.Remap:
        this.#remapByTable(message, fields, sink, out, explain);
        return;
      default:
        this.#refuse(out, AmdInterruptFault.IllegalDeviceEntry, true, explain, "IntCtl = 3 is reserved");
    }
  }

  /** INVALIDATE_INTERRUPT_TABLE. AMD-Vi §2.4.5. */
  invalidateTable(deviceId: number): void {
    this.#entries.invalidateTable(deviceId);
  }

  /** INVALIDATE_IOMMU_ALL. AMD-Vi §2.4.8. */
  invalidateAll(): void {
    this.#entries.invalidateAll();
  }

  reset(): void {
    this.#entries.invalidateAll();
  }

  /** Unmapped: the message as it came. */
  #forward(message: Readonly<InterruptMessage>, sink: InterruptSink): void {
    if (decodeMessage(message, this.#interrupt)) sink.deliver(this.#interrupt);
  }

  /** SMI, NMI, INIT and ExtInt are never looked up: a pass bit decides, and only a physical destination is allowed. AMD-Vi §2.2.5. */
  #special(message: Readonly<InterruptMessage>, type: number, fields: Readonly<AmdInterruptFields>, sink: InterruptSink, out: AmdInterruptVerdict, explain: ExplanationSink | undefined): void {
    const passes =
      type === MessageType.Smi ||
      ((message.address & 4) === 0 && ((type === MessageType.Nmi && fields.nmiPass) || (type === MessageType.Init && fields.initPass) || (type === MessageType.External && fields.externalPass)));
    if (!passes) {
      this.#refuse(out, AmdInterruptFault.TargetAbort, false, explain, "NMI, INIT and ExtInt need their pass bit and a physical destination");
      return;
    }
    if (explain !== undefined) explainAmdRule(explain, "device table entry", "The pass bit of this message type is set, or it is an SMI", "AMD-Vi §2.2.5", "passes");
    this.#forward(message, sink);
  }

  #remapByTable(message: Readonly<InterruptMessage>, fields: Readonly<AmdInterruptFields>, sink: InterruptSink, out: AmdInterruptVerdict, explain: ExplanationSink | undefined): void {
    if (fields.tableLength > LONGEST_TABLE) {
      this.#refuse(out, AmdInterruptFault.IllegalDeviceEntry, true, explain, "IntTabLen is at most 11");
      return;
    }
    const index = message.data & 0x7ff;
    if (index >= 2 ** fields.tableLength) {
      this.#refuse(out, AmdInterruptFault.PageFault, this.#logged(fields), explain, "The index is below 2^IntTabLen");
      return;
    }
    const { wideEntries } = this.#control;
    const offset = index * (wideEntries ? 16 : 4);
    const address = fields.tablePage * 128 + offset;
    const cached = !this.#control.cacheDisabled && this.#entries.find(message.requester, index, this.#entry);
    if (!cached && !this.#read(address, wideEntries)) {
      out.address = address;
      this.#refuse(out, AmdInterruptFault.TableError, true, explain, "The entry is in memory");
      return;
    }
    if (!cached && !this.#control.cacheDisabled && ((this.#entry[0] as number) & REMAP_ENABLE) !== 0) this.#entries.insert(message.requester, index, this.#entry);
    if (explain !== undefined) explainAmdEntry(explain, address, this.#entry, wideEntries, this.#isGuest(), cached);
    this.#useEntry(message, fields, sink, out, explain);
  }

  #isGuest(): boolean {
    return this.#control.wideEntries && ((this.#entry[0] as number) & GUEST_MODE) !== 0; // four words
  }

  /** RemapEn, then what is reserved in the entry's format. */
  #useEntry(message: Readonly<InterruptMessage>, fields: Readonly<AmdInterruptFields>, sink: InterruptSink, out: AmdInterruptVerdict, explain: ExplanationSink | undefined): void {
    const low = this.#entry[0] as number; // four words
    const logged = this.#logged(fields) && (low & SUPPRESS_FAULTS) === 0;
    if ((low & REMAP_ENABLE) === 0) {
      this.#refuse(out, AmdInterruptFault.PageFault, logged, explain, "RemapEn clear: the entry is not valid");
      return;
    }
    out.present = true;
    if (this.#isReserved()) {
      out.reserved = true;
      this.#refuse(out, AmdInterruptFault.PageFault, logged, explain, "The interrupt type is fixed or arbitrated, guest mode is enabled where it is used, and reserved bits are 0");
      return;
    }
    out.present = false;
    if (this.#isGuest()) this.#post(message, sink, out, explain);
    else this.#deliver(message, sink);
  }

  #isReserved(): boolean {
    const entry = this.#entry;
    const low = entry[0] as number; // four words
    if (this.#isGuest()) return !this.#control.guestMode;
    if ((low & GUEST_MODE) !== 0) return true;
    const type = (low >>> 2) & 7;
    if (type > MessageType.Arbitrated) return true;
    // Model: in an entry of 128 bits whatever a host interrupt does not use is ignored, as recorded machines do.
    return !this.#control.wideEntries && low >>> 24 !== 0;
  }

  #deliver(message: Readonly<InterruptMessage>, sink: InterruptSink): void {
    const { wideEntries, extended } = this.#control;
    const low = this.#entry[0] as number; // four words
    const interrupt = this.#interrupt;
    interrupt.vector = wideEntries ? (this.#entry[2] as number) & 0xff : (low >>> 16) & 0xff;
    interrupt.deliveryMode = ((low >>> 2) & 7) === MessageType.Arbitrated ? DeliveryMode.LowestPriority : DeliveryMode.Fixed;
    interrupt.destination = wideEntries && extended ? this.#destination() : (low >>> 8) & 0xff;
    interrupt.destinationMode = (low & LOGICAL) === 0 ? "physical" : "logical";
    interrupt.trigger = (message.data & 0x8000) === 0 ? "edge" : "level";
    interrupt.redirectionHint = (message.address & 8) !== 0;
    sink.deliver(interrupt);
  }

  /** 32 bits: 23:0 in the low quad, 31:24 on top of the high one. */
  #destination(): number {
    return ((this.#entry[0] as number) >>> 8) + ((this.#entry[3] as number) >>> 24) * 2 ** 24; // four words
  }

  /** Sets the vector's IRR bit in the backing page; then a running guest's processor is rung, or the GA log told. AMD-Vi §2.2.5.3. */
  #post(message: Readonly<InterruptMessage>, sink: InterruptSink, out: AmdInterruptVerdict, explain: ExplanationSink | undefined): void {
    const low = this.#entry[0] as number; // four words
    const tag = this.#entry[1] as number;
    const vector = (this.#entry[2] as number) & 0xff;
    const page = ((this.#entry[3] as number) & 0xf_ffff) * 2 ** 20 + ((this.#entry[2] as number) >>> 12);
    const words = page < this.#pageLimit ? this.#memory.wordsOf(page) : undefined;
    if (words === undefined) {
      out.address = page * 4096;
      this.#refuse(out, AmdInterruptFault.TableError, true, explain, "The virtual APIC backing page is in memory");
      return;
    }
    const updated = IRR + (vector >>> 5) * 16;
    // Model: nothing else runs between reading and writing, so that this is the locked update of the hardware.
    this.#memory.write32(page * 4096 + updated, ((words[this.#memory.wordOf(page) + updated / 4] as number) | (1 << (vector & 31))) >>> 0);
    let notification = SILENT;
    if ((low & IS_RUNNING) !== 0) notification = { kind: "doorbell", apicId: this.#destination() };
    else if ((low & GA_LOG) !== 0) {
      this.#gaLog(tag, (message.requester | 0x1000_0000) >>> 0);
      notification = { kind: "log", tag };
    }
    if (explain !== undefined) explainAmdRule(explain, "virtual APIC backing page", `The vector's IRR bit is set; ${notification.kind === "doorbell" ? "IsRun: the doorbell is rung" : notification.kind === "log" ? "the GA log is told" : "nobody is told"}`, "AMD-Vi §2.2.5.3", "posted");
    const posting: Posting = { structure: page * 4096, updated: page * 4096 + updated, vector, notification };
    sink.post(posting);
  }

  /** Reads an entry at once; it never crosses a page. */
  #read(address: number, wide: boolean): boolean {
    const page = Math.floor(address / 4096);
    const words = page < this.#pageLimit ? this.#memory.wordsOf(page) : undefined;
    if (words === undefined) return false;
    const at = this.#memory.wordOf(page) + ((address % 4096) >>> 2);
    for (let i = 0; i < 4; i++) this.#entry[i] = wide || i === 0 ? (words[at + i] as number) : 0;
    return true;
  }

  /** IG and SA keep page faults of interrupts out of the log. */
  #logged({ ignoreUnmapped, suppressAll }: Readonly<AmdInterruptFields>): boolean {
    return !ignoreUnmapped && !suppressAll;
  }

  #refuse(out: AmdInterruptVerdict, fault: number, recorded: boolean, explain: ExplanationSink | undefined, rule: string): void {
    out.fault = fault;
    out.recorded = recorded;
    if (explain !== undefined) explainAmdRule(explain, "interrupt", rule, "AMD-Vi §2.2.5", recorded ? `blocked, event ${fault}` : "blocked");
  }
}
