import { Access, AddressType, newTranslation, NO_PASID, PageResponseCode, type DeviceTlbInvalidation, type DownstreamPort, type TranslationRequest } from "@iommu-lab/pci-bus";
import { CMD_HEAD, CMD_TAIL, CommandCode, EventCode } from "../layouts/index.ts";
import type { AmdCapabilities } from "./capabilities.ts";
import { isLegalCommand, supportedCommands } from "./command-rules.ts";
import type { Events } from "./events.ts";
import type { Invalidation } from "./invalidation.ts";
import type { RaiseInterrupt } from "./ring-log.ts";
import { numberOf, type TableMemory } from "./table-memory.ts";
import type { Translator } from "./translator.ts";
import type { UnitRegisters } from "./unit-registers.ts";

const COMMAND_BYTES = 16;
const SMALLEST = 8;
const LARGEST = 15;
/** Bits of a COMPLETION_WAIT's first word. */
const STORE = 1;
const INTERRUPT = 2;
/** Bits of the third word of commands with an address. */
const SIZED = 1;
const DIRECTORIES = 2;
const GUEST = 4;
const PREFETCH_INVALIDATES = 1 << 4;
/** Type fields of COMMAND_HARDWARE_ERROR. */
const TARGET_ABORT = 2 << 25;
const DATA_ERROR = 3 << 25;
/** Bits 18:4 of the pointer registers: byte offsets. */
const POINTER = 0x7_fff0;
/** log2 of the pages of the whole address space. */
const EVERYTHING = 52;
/** InvTimeOut in nanoseconds; 0 and 7 wait for ever. */
const TIMEOUTS = [Number.MAX_SAFE_INTEGER, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, Number.MAX_SAFE_INTEGER] as const;

/** What a command buffer acts on. */
export interface CommandPorts {
  readonly registers: UnitRegisters;
  readonly memory: TableMemory;
  readonly capabilities: AmdCapabilities;
  readonly translator: Translator;
  readonly invalidation: Invalidation;
  readonly events: Events;
  readonly raise: RaiseInterrupt;
  /** SNP is active: completion stores are confined to the range in EXCL_BASE and EXCL_LIMIT. */
  readonly snp: boolean;
}

/** The command buffer. AMD-Vi §2.4 "Commands". */
export class CommandBuffer {
  /** The way down to device-TLBs, once connected. */
  downstream: DownstreamPort | undefined;
  /** Commands are fetched. */
  running = false;
  /** Commands done, and those of them that invalidate. */
  commands = 0;
  invalidations = 0;
  readonly #ports: CommandPorts;
  readonly #supported: number;
  #enabled = false;
  #busy = false;
  /** `process` was called since the tail was last looked at. */
  #again = false;
  /** Of the buffer that runs: its first page, its bytes less one, and the head's byte offset. Software cannot change them meanwhile. */
  #page = 0;
  #offsetMask = 0;
  #head = 0;
  /** Number of device-TLB invalidations whose completion is awaited. */
  #outstanding = 0;
  /** Raised when everything outstanding is dropped, so that late completions are not taken for later ones. */
  #generation = 0;
  readonly #prefetch: TranslationRequest = { requester: 0, pasid: NO_PASID, addressType: AddressType.TranslationRequest, page: 0, access: 0 };
  readonly #prefetched = newTranslation();

  constructor(ports: CommandPorts) {
    this.#ports = ports;
    this.#supported = supportedCommands(ports.capabilities);
  }

  /** CONTROL was written: a buffer that is newly enabled starts at its head, with what is pending. AMD-Vi §3.4 (CmdBufEn, CmdBufRun). */
  update(iommuEnabled: boolean): void {
    const { registers } = this.#ports;
    const enabled = iommuEnabled && registers.get("CONTROL", "CmdBufEn") === 1;
    if (enabled === this.#enabled) return;
    this.#enabled = enabled;
    this.#drop();
    const length = registers.get("CMD_BASE", "Len");
    const runs = enabled && length >= SMALLEST && length <= LARGEST;
    if (runs) {
      this.#page = registers.get("CMD_BASE", "Base");
      this.#offsetMask = 2 ** length * COMMAND_BYTES - 1;
      // Model: a head past the buffer's end counts modulo its size, and so does a tail.
      this.#head = (registers.get("CMD_HEAD", "Ptr") * COMMAND_BYTES) & this.#offsetMask;
    }
    this.#run(runs);
    this.process();
  }

  /** Whether software may not write a register now. */
  owns(register: string): boolean {
    return this.running && (register === "CMD_BASE" || register === "CMD_HEAD");
  }

  reset(): void {
    this.#drop();
    this.#enabled = false;
    this.running = false;
  }

  /** Fetches and does commands until the buffer is empty, an error stops it, or a COMPLETION_WAIT waits. */
  process(): void {
    this.#again = true;
    if (this.#busy) return;
    this.#busy = true;
    // Once the buffer is empty, or waits, only what calls this again can have changed that.
    while (this.#again && this.running) {
      this.#again = false;
      this.#processTo(this.#ports.registers.stored(CMD_TAIL.offset) & POINTER & this.#offsetMask);
    }
    this.#busy = false;
  }

  /** Does what is before a tail, until an error stops the buffer or a COMPLETION_WAIT waits. */
  #processTo(tail: number): void {
    const { memory, invalidation } = this.#ports;
    while (this.running && this.#head !== tail) {
      const next = (this.#head + COMMAND_BYTES) & this.#offsetMask;
      const page = this.#page + (this.#head >>> 12);
      const words = memory.wordsOf(page);
      if (words === undefined) {
        this.#stop(EventCode.CommandHardwareError, DATA_ERROR);
        return;
      }
      const at = memory.wordOf(page) + ((this.#head & 0xfff) >>> 2);
      const w0 = (words[at] as number) | 0; // a command has four words
      const w1 = (words[at + 1] as number) | 0;
      const w2 = (words[at + 2] as number) | 0;
      const w3 = (words[at + 3] as number) | 0;
      if (!isLegalCommand(this.#supported, w0, w1, w2, w3)) {
        this.#stop(EventCode.IllegalCommand, 0);
        return;
      }
      // Most invalidate pages: the other ones are out of their way.
      if (w1 >>> 28 === CommandCode.InvalidatePages) {
        invalidation.pages(w1 & 0xffff, (w2 & GUEST) !== 0 ? w0 & 0xf_ffff : NO_PASID, (w2 >>> 12) | (w3 << 20), w3 >>> 12, (w2 & SIZED) === 0 ? 0 : orderOf(w2, w3), (w2 & DIRECTORIES) !== 0);
        this.invalidations++;
      } else if (!this.#executeOther(w1 >>> 28, w0, w1, w2, w3)) break;
      this.commands++;
      this.#head = next;
    }
    this.#showHead();
  }

  /** The register is brought up to date before anybody can look at it. */
  #showHead(): void {
    this.#ports.registers.store(CMD_HEAD.offset, this.#head);
  }

  /** Logs an error and stops; the head stays at the command. AMD-Vi §2.5.6, §2.5.7. */
  #stop(code: number, type: number, head = this.#head, device = 0): false {
    const address = this.#page * 4096 + head;
    this.#showHead();
    this.#run(false);
    this.#drop();
    this.#ports.events.log(device, (code << 28) | type, address % 0x1_0000_0000, Math.floor(address / 0x1_0000_0000));
    return false;
  }

  /** Does another command; false when the head must stay at it. */
  #executeOther(code: number, w0: number, w1: number, w2: number, w3: number): boolean {
    const { invalidation } = this.#ports;
    switch (code) {
      case CommandCode.CompletionWait:
        if (this.#outstanding > 0) return false;
        if ((w0 & STORE) !== 0 && !this.#store(w0 & ~7, w1 & 0xf_ffff, w2, w3)) return this.#stop(EventCode.CommandHardwareError, TARGET_ABORT);
        if ((w0 & INTERRUPT) !== 0) this.#tell();
        break;
      case CommandCode.InvalidateDeviceEntry:
        invalidation.device(w0);
        this.invalidations++;
        break;
      case CommandCode.InvalidateIotlb:
        // PASID bits 15:8 and 7:0 stand where Linux writes them, 19:16 above them.
        this.#toDevice(w0 & 0xffff, (w2 & GUEST) !== 0 ? ((w0 >>> 16) & 0xff) * 0x100 + ((w1 >>> 16) & 0xff) + ((w1 >>> 24) & 15) * 0x1_0000 : NO_PASID, w2, w3);
        this.invalidations++;
        break;
      case CommandCode.InvalidateInterruptTable:
        invalidation.interruptTable(w0);
        this.invalidations++;
        break;
      case CommandCode.Prefetch:
        this.#fetchAhead(w0, w1, w2, w3);
        break;
      case CommandCode.CompletePpr:
        this.#respond(w0, w1 & 0xf_ffff, w2, w3);
        break;
      default:
        invalidation.everything();
        this.invalidations++;
    }
    return true;
  }

  /** The 8-byte completion store; false where it may not go. Model: a store to where no memory is goes nowhere. */
  #store(low: number, high: number, dataLow: number, dataHigh: number): boolean {
    const { memory, registers, snp } = this.#ports;
    const address = numberOf(low, high);
    if (snp) {
      const page = Math.floor(address / 4096);
      if (page < registers.get("EXCL_BASE", "Base") || page > registers.get("EXCL_LIMIT", "Limit")) return false;
    }
    memory.write32(address, dataLow >>> 0);
    memory.write32(address + 4, dataHigh >>> 0);
    return true;
  }

  /** ComWaitInt, and the interrupt where it is enabled. */
  #tell(): void {
    const { registers, raise } = this.#ports;
    this.#showHead();
    registers.set("STATUS", "ComWaitInt", 1);
    if (registers.get("CONTROL", "ComWaitIntEn") === 1) raise("general");
  }

  /** Sends a device-TLB invalidation, which later COMPLETION_WAITs wait for. AMD-Vi §2.4.4, §2.5.8. */
  #toDevice(device: number, pasid: number, w2: number, w3: number): void {
    this.#showHead();
    const head = this.#head;
    const invalidation: DeviceTlbInvalidation = { pasid, ...rangeOf(w2, w3), global: false };
    const timeout = TIMEOUTS[this.#ports.registers.get("CONTROL", "InvTimeOut")] as number;
    const generation = this.#generation;
    this.#outstanding++;
    const complete = (outcome: "completed" | "timed-out"): void => {
      if (generation !== this.#generation) return;
      if (outcome === "timed-out") {
        // Without a time-out it is waited for until software restarts the buffer.
        if (timeout !== TIMEOUTS[0]) this.#stop(EventCode.IotlbTimeout, 0, head, device);
        return;
      }
      this.#outstanding--;
      this.process();
    };
    if (this.downstream === undefined) complete("timed-out");
    else this.downstream.invalidateDeviceTlb(device, invalidation, timeout, complete);
  }

  /** COMPLETE_PPR_REQUEST. GPRP of the device's entry says whether the response carries the PASID. AMD-Vi §2.4.7. */
  #respond(device: number, pasid: number, w2: number, w3: number): void {
    const tagged = (w2 & GUEST) !== 0 && this.#ports.translator.devices.find(device)?.responsePasid === true;
    const status = (w3 >>> 12) & 15;
    const code = status === PageResponseCode.Success || status === PageResponseCode.InvalidRequest ? status : PageResponseCode.ResponseFailure;
    this.downstream?.respondToPage(device, { pasid: tagged ? pasid : NO_PASID, group: w3 & 0x1ff, code });
  }

  /** PREFETCH_IOMMU_PAGES: as if the device had asked for translations nobody waits for. AMD-Vi §2.4.6. */
  #fetchAhead(w0: number, w1: number, w2: number, w3: number): void {
    const { translator, invalidation } = this.#ports;
    const request = this.#prefetch;
    const entry = translator.devices.find(w0 & 0xffff);
    if (!entry?.ats) return;
    request.requester = w0 & 0xffff;
    request.pasid = (w2 & GUEST) !== 0 ? w1 & 0xf_ffff : NO_PASID;
    request.access = Access.Read;
    const first = (w2 >>> 12) + (w3 >>> 0) * 0x10_0000;
    for (let i = 0; i <= w0 >>> 24; i++) {
      const page = (first + i) % 2 ** 52;
      if ((w2 & PREFETCH_INVALIDATES) !== 0) invalidation.pages(entry.domain, request.pasid, page | 0, Math.floor(page / 0x1_0000_0000), 0, false);
      request.page = page;
      translator.translate(request, this.#prefetched);
    }
  }

  #drop(): void {
    this.#outstanding = 0;
    this.#generation++;
  }

  #run(on: boolean): void {
    this.running = on;
    this.#ports.registers.set("STATUS", "CmdBufRun", on ? 1 : 0);
  }
}

/** log2 of the pages that a command's address names, with S: its lowest 0 from bit 12 up gives it, and past bit 51 it is everything. AMD-Vi §2.4.3. */
const orderOf = (w2: number, w3: number): number => {
  const zeros = ~((w2 >>> 12) | (w3 << 20));
  if (zeros !== 0) return 32 - Math.clz32(zeros & -zeros);
  // As far as bit 50 of the address: of its bits 63:44 seven.
  const above = ~(w3 >>> 12) & 0x7f;
  return above === 0 ? EVERYTHING : 64 - Math.clz32(above & -above);
};

/** The same as a range for device-TLBs. */
const rangeOf = (w2: number, w3: number): { readonly page: number; readonly sizeShift: number } => {
  const order = (w2 & SIZED) === 0 ? 0 : orderOf(w2, w3);
  if (order === EVERYTHING) return { page: 0, sizeShift: 64 };
  const page = (w2 >>> 12) + (w3 >>> 0) * 0x10_0000;
  return { page: page - (page % 2 ** order), sizeShift: 12 + order };
};
