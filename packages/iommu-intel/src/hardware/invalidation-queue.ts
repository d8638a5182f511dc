import type { Field } from "@iommu-lab/memory/layout";
import { NO_PASID, PageResponseCode, type DeviceTlbInvalidation, type DownstreamPort } from "@iommu-lab/pci-bus";
import { FSTS_REG, GSTS_REG, IQA_REG, IQH_REG, IQT_REG } from "../layouts/index.ts";
import type { VtdCapabilities } from "./capabilities.ts";
import { DescriptorRules, DescriptorType, QueueError } from "./descriptor-rules.ts";
import type { EventInterrupt } from "./event-interrupt.ts";
import type { FaultRecording } from "./fault-recording.ts";
import { Granularity, type Invalidation } from "./invalidation.ts";
import { numberOf, pageIn, type TableMemory } from "./table-memory.ts";
import { TranslationTableMode } from "./translator.ts";
import type { UnitRegisters } from "./unit-registers.ts";

/** A field's bits in a register's low word. */
const maskOf = ({ msb, lsb }: Field): number => (2 ** (msb + 1) - 2 ** lsb) | 0;

/** A wait descriptor that waits for device-TLBs. */
interface PendingWait {
  /** Device-TLB invalidations up to this number must have completed. */
  readonly after: number;
  readonly flags: number;
  readonly data: number;
  readonly low: number;
  readonly high: number;
}

/** Bits of a wait descriptor's first word. */
const INTERRUPT = 1 << 4;
const STATUS_WRITE = 1 << 5;
const FENCE = 1 << 6;

/** Bits of the registers that every tail is looked up with. */
const QUEUE_ON = maskOf(GSTS_REG.fields.QIES);
const STOPPED = maskOf(FSTS_REG.fields.IQE) | maskOf(FSTS_REG.fields.ITE);
const TAIL = maskOf(IQT_REG.fields.QT);
const WIDE = maskOf(IQA_REG.fields.DW);
const SIZE = maskOf(IQA_REG.fields.QS);

/** What a queue acts on. */
export interface QueuePorts {
  readonly registers: UnitRegisters;
  readonly memory: TableMemory;
  readonly capabilities: VtdCapabilities;
  readonly invalidation: Invalidation;
  readonly faults: FaultRecording;
  /** Invalidation completion event. */
  readonly completion: EventInterrupt;
  /** Nanoseconds after which a device-TLB invalidation counts as lost. */
  readonly deviceTlbTimeout: number;
  /** TTM as latched. */
  readonly mode: () => number;
}

/** The invalidation queue. VT-d §6.5.2 "Queued Invalidation Interface". */
export class InvalidationQueue {
  /** The way down to device-TLBs, once connected. */
  downstream: DownstreamPort | undefined;
  /** Descriptors done. */
  descriptors = 0;
  readonly #ports: QueuePorts;
  readonly #registers: UnitRegisters;
  readonly #memory: TableMemory;
  readonly #invalidation: Invalidation;
  readonly #rules: DescriptorRules;
  #running = false;
  /** `process` was called since the queue was last looked at. */
  #again = false;
  /** Byte offset of the head. */
  #head = 0;
  #issued = 0;
  /** Somebody who will never answer; told once nothing more can be fetched. */
  #silent: number | undefined;
  readonly #outstanding = new Map<number, number>();
  #waits: PendingWait[] = [];
  #fenced = false;
  /** Raised when everything outstanding is dropped, so that late completions are not taken for later ones. */
  #generation = 0;

  constructor(ports: QueuePorts) {
    this.#ports = ports;
    this.#registers = ports.registers;
    this.#memory = ports.memory;
    this.#invalidation = ports.invalidation;
    this.#rules = new DescriptorRules(ports.capabilities);
  }

  /** QIE: 0→1 starts at the head with what is pending, 1→0 stops and puts the head to 0. VT-d §6.5.2, §11.4.9.1. */
  enable(on: boolean): void {
    this.#drop();
    this.#moveHead(0);
    if (on) this.process();
  }

  reset(): void {
    this.#drop();
    this.#moveHead(0);
  }

  /** An unexpected or malformed completion arrived from a function: ICE, and the queue goes on. VT-d §6.5.2.10. */
  completionError(source: number): void {
    this.#registers.set("IQERCD_REG", "ICESID", source);
    this.#ports.faults.raise("ICE");
  }

  /** Fetches and does descriptors until the queue is empty, an error stops it, or a fence waits. */
  process(): void {
    this.#again = true;
    if (this.#running) return;
    this.#running = true;
    // Once the queue is empty, only what calls this again can have put something into it.
    while (this.#again) {
      this.#again = false;
      if (!this.#isReady() || !this.#processTo(this.#registers.stored(IQT_REG.offset) & TAIL)) break;
    }
    this.#running = false;
    if (this.#silent !== undefined) this.#timedOut(this.#silent);
  }

  #isReady(): boolean {
    const registers = this.#registers;
    return (registers.stored(GSTS_REG.offset) & QUEUE_ON) !== 0 && (registers.stored(FSTS_REG.offset) & STOPPED) === 0 && !this.#fenced;
  }

  /** Does what is before a tail; false when it stopped. */
  #processTo(tail: number): boolean {
    if (tail === this.#head) return true;
    const registers = this.#registers;
    const address = registers.stored(IQA_REG.offset);
    const wide = (address & WIDE) !== 0;
    const size = 4096 << (address & SIZE);
    const wrong = this.#checkQueue(tail, size, wide, this.#ports.mode());
    if (wrong === QueueError.None) return this.#run(pageIn(address, registers.stored(IQA_REG.offset + 4)), tail, size, wide);
    this.#error(wrong);
    return false;
  }

  /** VT-d §6.5.2, §11.4.9.9: translation table mode and width, then tail. */
  #checkQueue(tail: number, size: number, wide: boolean, mode: number): number {
    if (mode !== TranslationTableMode.Legacy) {
      const { ecap } = this.#ports.capabilities;
      if (mode === TranslationTableMode.Reserved || !(mode === TranslationTableMode.Scalable ? ecap.SMTS : ecap.ADMS)) return QueueError.Mode;
      if (!wide) return QueueError.Width;
    }
    if (wide && tail % 32 !== 0) return QueueError.Alignment;
    return tail >= size ? QueueError.Tail : QueueError.None;
  }

  /** Descriptors from the head to the tail; false when it stopped before. The queue's registers cannot change meanwhile but by descriptors. */
  #run(base: number, tail: number, size: number, wide: boolean): boolean {
    const memory = this.#memory;
    const step = wide ? 32 : 16;
    let head = this.#head;
    let going = true;
    while (going && head !== tail) {
      const page = base + (head >>> 12);
      const words = memory.wordsOf(page);
      if (words === undefined) return this.#stop(head, QueueError.Fetch);
      const at = memory.wordOf(page) + ((head & 0xfff) >>> 2);
      const w0 = (words[at] as number) | 0; // a descriptor never crosses a page
      const w1 = (words[at + 1] as number) | 0;
      const w2 = (words[at + 2] as number) | 0;
      const w3 = (words[at + 3] as number) | 0;
      const type = (w0 & 15) | ((w0 >>> 5) & 0x70);
      const wrong = this.#rules.check(type, w0, w1, w2, w3);
      if (wrong !== QueueError.None) return this.#stop(head, wrong);
      if (wide && ((words[at + 4] as number) | (words[at + 5] as number) | (words[at + 6] as number) | (words[at + 7] as number)) !== 0) return this.#stop(head, QueueError.Reserved);
      head = (head + step) & (size - 1); // a power of two
      this.descriptors++;
      // Most invalidate the IOTLB, or wait: the other ones are out of their way. The page number is in bits 63:12 of the second quad.
      if (type === DescriptorType.Iotlb) this.#invalidation.iotlb((w0 >>> 4) & 3, w0 >>> 16, (w2 >>> 12) | (w3 << 20), w3 >>> 12, w2 & 63, (w2 & 64) !== 0);
      else if (type === DescriptorType.Wait) going = this.#wait(w0, w1, w2, w3, head);
      else this.#executeOther(type, w0, w1, w2, w3, head);
    }
    this.#moveHead(head);
    return going;
  }

  /** An error at the descriptor at `head`. */
  #stop(head: number, code: number): false {
    this.#moveHead(head);
    this.#error(code);
    return false;
  }

  /** Does a descriptor of another type. @param next the head after it */
  #executeOther(type: number, w0: number, w1: number, w2: number, w3: number, next: number): void {
    const invalidation = this.#invalidation;
    const low = (w2 >>> 12) | (w3 << 20);
    const high = w3 >>> 12;
    switch (type) {
      case DescriptorType.Context:
        invalidation.context((w0 >>> 4) & 3, w0 >>> 16, w1 & 0xffff, (w1 >>> 16) & 3);
        break;
      case DescriptorType.InterruptEntries:
        invalidation.interruptEntries((w0 & 16) !== 0, w1 & 0xffff, w0 >>> 27);
        break;
      case DescriptorType.PasidIotlb:
        invalidation.pasidIotlb(((w0 >>> 4) & 3) === Granularity.Selective, w0 >>> 16, w1 & 0xf_ffff, low, high, w2 & 63, (w2 & 64) !== 0);
        break;
      case DescriptorType.PasidCache:
        invalidation.pasidCache((w0 >>> 4) & 3, w0 >>> 16, w1 & 0xf_ffff);
        break;
      case DescriptorType.DeviceTlb:
        this.#toDevice(w1 & 0xffff, { pasid: NO_PASID, ...rangeOf(low, high, (w2 & 1) !== 0), global: false }, next);
        break;
      case DescriptorType.PasidDeviceTlb:
        this.#toDevice(w0 >>> 16, { pasid: w1 & 0xf_ffff, ...rangeOf(low, high, (w2 & (1 << 11)) !== 0), global: (w2 & 1) !== 0 }, next);
        break;
      default:
        this.#respond(w0, w1, w2);
    }
  }

  #respond(w0: number, w1: number, w2: number): void {
    const code = (w0 >>> 12) & 15;
    const response = code === PageResponseCode.Success || code === PageResponseCode.InvalidRequest ? code : PageResponseCode.ResponseFailure;
    this.downstream?.respondToPage(w0 >>> 16, { pasid: (w0 & 16) !== 0 ? w1 & 0xf_ffff : NO_PASID, group: (w2 >>> 3) & 0x1ff, code: response });
  }

  #toDevice(source: number, invalidation: DeviceTlbInvalidation, next: number): void {
    this.#moveHead(next);
    const number = ++this.#issued;
    const generation = this.#generation;
    this.#outstanding.set(number, source);
    let sending = true;
    const complete = (outcome: "completed" | "timed-out"): void => {
      if (generation !== this.#generation || !this.#outstanding.has(number)) return;
      if (outcome === "timed-out" && sending) {
        // That nobody is there is known at once here; hardware learns it by waiting, and fetches on meanwhile.
        this.#silent ??= source;
        return;
      }
      this.#outstanding.delete(number);
      if (outcome === "timed-out") this.#timedOut(source);
      else this.#finishWaits();
      this.process();
    };
    if (this.downstream === undefined) complete("timed-out");
    else this.downstream.invalidateDeviceTlb(source, invalidation, this.#ports.deviceTlbTimeout, complete);
    sending = false;
  }

  /** ITE: waits are aborted, what is outstanding is dropped, and nothing is fetched until software clears it. VT-d §6.5.2.10. */
  #timedOut(source: number): void {
    this.#drop();
    this.#registers.set("IQERCD_REG", "ITESID", source);
    this.#ports.faults.raise("ITE");
  }

  /** An invalidation wait: at once where nothing is outstanding; false when no further descriptor may be fetched now. @param next the head after it */
  #wait(flags: number, data: number, low: number, high: number, next: number): boolean {
    if (this.#outstanding.size === 0 && this.#waits.length === 0) {
      this.#complete(flags, data, low, high);
      return true;
    }
    this.#waits.push({ after: this.#issued, flags, data, low, high });
    this.#moveHead(next);
    if ((flags & FENCE) === 0) return true;
    this.#fenced = true;
    return false;
  }

  /** Completes waits in their order as far as what they wait for is done. */
  #finishWaits(): void {
    for (let first = this.#waits[0]; first !== undefined; first = this.#waits[0]) {
      for (const number of this.#outstanding.keys()) if (number <= first.after) return;
      this.#waits.shift();
      this.#complete(first.flags, first.data, first.low, first.high);
      if ((first.flags & FENCE) !== 0) this.#fenced = false;
    }
  }

  /** Status write, then the event. While IWC is set, no further event comes. VT-d §6.5.2.8, §11.4.9.4. */
  #complete(flags: number, data: number, low: number, high: number): void {
    const registers = this.#registers;
    // Model: a status write to where no memory is goes nowhere.
    if ((flags & STATUS_WRITE) !== 0) this.#memory.write32(numberOf(low, high), data >>> 0);
    if ((flags & INTERRUPT) === 0 || registers.get("ICS_REG", "IWC") === 1) return;
    registers.set("ICS_REG", "IWC", 1);
    this.#ports.completion.raise();
  }

  #error(code: number): void {
    this.#registers.set("IQERCD_REG", "IQEI", code);
    this.#ports.faults.raise("IQE");
  }

  #drop(): void {
    this.#outstanding.clear();
    this.#silent = undefined;
    this.#waits = [];
    this.#fenced = false;
    this.#generation++;
  }

  #moveHead(to: number): void {
    this.#head = to;
    this.#registers.store(IQH_REG.offset, to);
  }
}

/** The range a device-TLB invalidation names: with S, the ones from bit 12 up give its size. VT-d §6.5.2.5; PCIe §10.3.1. */
const rangeOf = (low: number, high: number, sized: boolean): { readonly page: number; readonly sizeShift: number } => {
  const page = (low >>> 0) + high * 0x1_0000_0000;
  if (!sized) return { page, sizeShift: 12 };
  let ones = 0;
  while (ones < 51 && Math.floor(page / 2 ** ones) % 2 === 1) ones++;
  if (ones >= 51) return { page: 0, sizeShift: 64 };
  return { page: page - (page % 2 ** (ones + 1)), sizeShift: 13 + ones };
};
