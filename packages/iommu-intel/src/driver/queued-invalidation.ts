import { hex } from "@iommu-lab/memory";
import { IommuDriverError, NO_PASID, type PageResponse, type RequesterId } from "@iommu-lab/pci-bus";
import { FSTS_REG, IQA_REG, IQERCD_REG, IQH_REG, IQT_REG } from "../layouts/index.ts";
import type { InvalidationCommands } from "./invalidation-commands.ts";
import type { RegisterAccess } from "./register-access.ts";
import type { TableFrames } from "@iommu-lab/pci-bus/paging";

/** Types with their granularities in bits 5:4. VT-d §6.5.2, Table 23. */
const CONTEXT = 1;
const IOTLB = 2;
const DEVICE_TLB = 3;
const INTERRUPT_ENTRIES = 4;
const WAIT = 5;
const PASID_IOTLB = 6;
const PASID_CACHE = 7;
const PASID_DEVICE_TLB = 8;
const PAGE_GROUP_RESPONSE = 9;
const GLOBAL = 1 << 4;
const DOMAIN = 2 << 4;
const SELECTIVE = 3 << 4;
const PASID_SELECTIVE = 1 << 4;
const PASID_GLOBAL = 3 << 4;
const BY_INDEX = 1 << 4;
const DRAIN = (1 << 6) | (1 << 7);
const STATUS_WRITE = 1 << 5;
const FENCE = 1 << 6;

const IQE = 1 << FSTS_REG.fields.IQE.lsb;
const ICE = 1 << FSTS_REG.fields.ICE.lsb;
const ITE = 1 << FSTS_REG.fields.ITE.lsb;

/** Bit 7 of a device-TLB invalidation's address field is its S bit by PASID; S and the page's low bits give the size. */
const SIZED = 1;
const SIZED_BY_PASID = 1 << 11;

/** Waits lost to time-outs that are given again before the driver gives up. */
const RETRIES = 4;

/** The queued invalidation interface: descriptors of 128 or 256 bits in a ring, ended by a wait with status write. VT-d §6.5.2. */
export class QueuedInvalidation implements InvalidationCommands {
  readonly maximumMask: number;
  readonly #registers: RegisterAccess;
  readonly #drain: number;
  readonly #page: number;
  readonly #order: number;
  /** The ring's pages, live. */
  readonly #ring: readonly Uint32Array[];
  readonly #words: number;
  readonly #entries: number;
  /** Word 0 takes the status of waits; word 1 that of repaired descriptors. */
  readonly #status: Uint32Array;
  readonly #statusPage: number;
  readonly #report: (problem: string) => void;
  #running = false;
  #tail = 0;
  /** Descriptors since the last wait. */
  #posted = 0;
  #sequence = 0;
  /** Hardware refused a descriptor: what it was to invalidate is invalidated with everything else. */
  #refused = false;

  /** @param wide descriptors of 256 bits, as scalable mode needs them; @param report told what hardware complained about */
  constructor(registers: RegisterAccess, frames: TableFrames, order: number, wide: boolean, report: (problem: string) => void) {
    const { cap } = registers;
    this.#registers = registers;
    this.#order = order;
    this.#report = report;
    this.#words = wide ? 8 : 4;
    this.#entries = (1024 * 2 ** order) / this.#words;
    this.#page = frames.allocate(order);
    this.#ring = Array.from({ length: 2 ** order }, (_, i) => frames.words(this.#page + i));
    this.#statusPage = frames.allocate();
    this.#status = frames.words(this.#statusPage);
    this.#drain = DRAIN & ((cap.DWD ? 1 << 6 : 0) | (cap.DRD ? 1 << 7 : 0));
    this.maximumMask = cap.PSI ? cap.MAMV : -1;
  }

  /** Gives the ring to the hardware and switches the queue on. VT-d §6.5.2. */
  start(): void {
    const registers = this.#registers;
    if (registers.status("QIES")) registers.command("QIE", false, "QIES");
    this.#clearErrors();
    this.#tail = 0;
    this.#posted = 0;
    registers.write64(IQT_REG.offset, 0, 0);
    registers.writePointer(IQA_REG.offset, this.#page, this.#order | (this.#words === 8 ? 1 << IQA_REG.fields.DW.lsb : 0));
    registers.command("QIE", true, "QIES");
    this.#running = true;
  }

  /** Looks for errors that came while nobody waited, clears and reports them. */
  recover(): void {
    this.#clearErrors();
    if (this.#refused) this.#invalidateEverything();
  }

  /** Switches the queue off, once it is idle. */
  stop(): void {
    this.finish();
    this.#running = false;
    this.#registers.command("QIE", false, "QIES");
  }

  everyContext(): void {
    this.#post(CONTEXT | GLOBAL, 0, 0, 0);
  }

  context(requester: RequesterId, domain: number): void {
    this.#post(CONTEXT | SELECTIVE | (domain << 16), requester, 0, 0);
  }

  everyPasid(): void {
    this.#post(PASID_CACHE | PASID_GLOBAL, 0, 0, 0);
  }

  pasid(domain: number, pasid: number): void {
    this.#post(PASID_CACHE | PASID_SELECTIVE | (domain << 16), pasid, 0, 0);
  }

  everyTranslation(): void {
    this.#post(IOTLB | GLOBAL | this.#drain, 0, 0, 0);
  }

  domain(domain: number): void {
    this.#post(IOTLB | DOMAIN | this.#drain | (domain << 16), 0, 0, 0);
  }

  pages(domain: number, page: number, mask: number, leafOnly: boolean): void {
    this.#post(IOTLB | SELECTIVE | this.#drain | (domain << 16), 0, lowOf(page) | (leafOnly ? 1 << 6 : 0) | mask, highOf(page));
  }

  domainPasid(domain: number, pasid: number): void {
    this.#post(PASID_IOTLB | DOMAIN | (domain << 16), pasid, 0, 0);
  }

  domainPasidPages(domain: number, pasid: number, page: number, mask: number, leafOnly: boolean): void {
    this.#post(PASID_IOTLB | SELECTIVE | (domain << 16), pasid, lowOf(page) | (leafOnly ? 1 << 6 : 0) | mask, highOf(page));
  }

  /** A range of 2^n pages is its first page with the n - 1 low bits of the page number set, the next one clear. VT-d §6.5.2.5. */
  deviceTlb(requester: RequesterId, pasid: number, page: number, sizeShift: number): void {
    const pages = 2 ** (sizeShift - 12);
    const coded = sizeShift === 12 ? page : page - (page % pages) + pages / 2 - 1;
    const sized = sizeShift === 12 ? 0 : pasid === 0 ? SIZED : SIZED_BY_PASID;
    if (pasid === 0) this.#post(DEVICE_TLB, requester, lowOf(coded) | sized, highOf(coded));
    else this.#post(PASID_DEVICE_TLB | (requester << 16), pasid, lowOf(coded) | sized, highOf(coded));
  }

  everyInterruptEntry(): void {
    this.#post(INTERRUPT_ENTRIES, 0, 0, 0);
  }

  interruptEntry(index: number): void {
    this.#post(INTERRUPT_ENTRIES | BY_INDEX, index, 0, 0);
  }

  pageResponse(requester: RequesterId, { pasid, group, code }: PageResponse): void {
    const tagged = pasid !== NO_PASID;
    this.#post(PAGE_GROUP_RESPONSE | (tagged ? 1 << 4 : 0) | (code << 12) | (requester << 16), tagged ? pasid : 0, group << 3, 0);
  }

  finish(): void {
    if (!this.#running || this.#posted === 0) return;
    for (let attempt = 0; ; attempt++) {
      this.#submitWait();
      if (this.#status[0] === this.#sequence || this.#poll()) break;
      if (attempt === RETRIES) {
        this.#posted = 0;
        throw new IommuDriverError("EIO", "The remapping unit does not finish its invalidations: translations that were to go may still be in use.");
      }
    }
    this.#posted = 0;
    if (this.#refused) this.#invalidateEverything();
  }

  #invalidateEverything(): void {
    this.#refused = false;
    this.everyContext();
    if (this.#words === 8) this.everyPasid();
    this.everyTranslation();
    if (this.#registers.ecap.IR) this.everyInterruptEntry();
    this.finish();
  }

  #post(first: number, second: number, third: number, fourth: number): void {
    if (!this.#running) return;
    // One slot for the wait, one that stays empty: head = tail means an empty ring.
    if (this.#posted >= this.#entries - 2 - RETRIES) this.finish();
    this.#write(first, second, third, fourth);
    this.#posted++;
  }

  #write(first: number, second: number, third: number, fourth: number): void {
    const perPage = 1024 / this.#words;
    const words = this.#ring[Math.floor(this.#tail / perPage)] as Uint32Array; // the tail is below the entries
    const at = (this.#tail % perPage) * this.#words;
    words[at] = first;
    words[at + 1] = second;
    words[at + 2] = third;
    words[at + 3] = fourth;
    if (this.#words === 8) words.fill(0, at + 4, at + 8);
    this.#tail = (this.#tail + 1) % this.#entries;
  }

  #submitWait(): void {
    this.#sequence = (this.#sequence % 0xffff_ffff) + 1;
    this.#write(WAIT | STATUS_WRITE | FENCE, this.#sequence, (this.#statusPage % 0x10_0000) * 4096, Math.floor(this.#statusPage / 0x10_0000));
    this.#registers.write64(IQT_REG.offset, this.#tail * this.#words * 4, 0);
  }

  /** Waits for the status; false when the hardware has aborted the wait and is idle, or does nothing. */
  #poll(): boolean {
    const registers = this.#registers;
    let aborted = false;
    registers.poll(() => {
      if (this.#status[0] === this.#sequence) return true;
      if ((registers.read32(FSTS_REG.offset) & (IQE | ITE | ICE)) === 0) return false;
      this.#clearErrors();
      aborted = this.#status[0] !== this.#sequence && registers.read64(IQH_REG.offset)[0] === this.#tail * this.#words * 4;
      return aborted;
    });
    return this.#status[0] === this.#sequence && !aborted;
  }

  /** Clears what stops the queue: a bad descriptor is replaced by one that does nothing. VT-d §6.5.2.9, §6.5.2.10. */
  #clearErrors(): void {
    const registers = this.#registers;
    const status = registers.read32(FSTS_REG.offset);
    const record = registers.read64(IQERCD_REG.offset).slice();
    if ((status & ITE) !== 0) this.#report(`A device-TLB invalidation of ${hex(IQERCD_REG.layout.get.ITESID(record))} timed out: its function may go on using old translations.`);
    if ((status & ICE) !== 0) this.#report(`Function ${hex(IQERCD_REG.layout.get.ICESID(record))} sent an invalidation completion that was not expected.`);
    if ((status & IQE) !== 0) {
      this.#report(`The invalidation queue stopped at a descriptor: ${IQERCD_REG.fields.IQEI.values?.[IQERCD_REG.layout.get.IQEI(record)] ?? "unknown error"}.`);
      if (this.#running) this.#repairHead();
      this.#refused = this.#running;
    }
    if ((status & (IQE | ITE | ICE)) !== 0) registers.write32(FSTS_REG.offset, status & (IQE | ITE | ICE));
  }

  #repairHead(): void {
    const head = (this.#registers.read64(IQH_REG.offset)[0] as number) / 4;
    const words = this.#ring[head >>> 10];
    if (words === undefined) return;
    words.set([WAIT | STATUS_WRITE, 0, (this.#statusPage % 0x10_0000) * 4096 + 4, Math.floor(this.#statusPage / 0x10_0000)], head & 1023);
    if (this.#words === 8) words.fill(0, (head & 1023) + 4, (head & 1023) + 8);
  }
}

/** Bits 63:12 of a quad that holds a page number: its two words. */
const lowOf = (page: number): number => (page % 0x10_0000) << 12;
const highOf = (page: number): number => Math.floor(page / 0x10_0000);
