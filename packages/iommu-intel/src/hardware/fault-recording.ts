import { Access, NO_PASID, type TranslationRequest } from "@iommu-lab/pci-bus";
import { FAULT_RECORD } from "../layouts/index.ts";
import type { VtdCapabilities } from "./capabilities.ts";
import type { EventInterrupt } from "./event-interrupt.ts";
import type { TableMemory } from "./table-memory.ts";
import type { UnitRegisters } from "./unit-registers.ts";

/** Status bits whose first one raises the fault event. VT-d §7.3. */
const STATUS = ["PFO", "PPF", "AFO", "APF", "IQE", "ICE", "ITE"] as const;
/** Bytes of a record in an advanced fault log, and records on a page. */
const LOG_RECORD = 16;
const LOG_RECORDS_A_PAGE = 256;

/** Records faults: in the recording registers, or in the advanced fault log. VT-d §7.2 "Fault Logging", §7.3 "Fault Event". */
export class FaultRecording {
  readonly #registers: UnitRegisters;
  readonly #memory: TableMemory;
  readonly #event: EventInterrupt;
  readonly #records: number;
  readonly #collapse: boolean;
  /** Page numbers are kept below this: the largest address that can be translated. VT-d §11.4.7.6 (FI). */
  readonly #pageLimit: number;
  readonly #record = new Uint32Array(4);
  readonly #pair = new Uint32Array(2);
  #next = 0;
  #logIndex = 0;
  /** Faults that were to be recorded, kept or not. */
  faults = 0;

  /** @param collapse a fault of a source that has a pending record is dropped without telling of an overflow. VT-d §7.2.1 allows it */
  constructor(registers: UnitRegisters, memory: TableMemory, { cap, ecap }: VtdCapabilities, event: EventInterrupt, collapse: boolean) {
    this.#registers = registers;
    this.#memory = memory;
    this.#event = event;
    this.#records = cap.NFR + 1;
    this.#collapse = collapse;
    const second = (cap.SAGAW & 8) !== 0 ? 57 : (cap.SAGAW & 4) !== 0 ? 48 : 39;
    const first = ecap.FSTS ? (cap.FS5LP ? 57 : 48) : 0;
    this.#pageLimit = 2 ** (Math.max(second, first) - 12);
  }

  /** A DMA fault. VT-d §11.4.7.6. */
  dma(request: Readonly<TranslationRequest>, reason: number): void {
    const tagged = request.pasid !== NO_PASID;
    const { access } = request;
    const page = request.page % this.#pageLimit;
    this.#encode(request.requester, reason, lowOf(page), highOf(page), (access & Access.Write) === 0 ? 1 : 0, (access & Access.Write) !== 0 && (access & Access.Read) !== 0 ? 3 : 0, request.addressType);
    if (tagged) this.#tag(request.pasid, access);
    this.#store(request.requester);
  }

  /** A page request that was blocked. */
  pageRequest(requester: number, pasid: number, page: number, access: Access, reason: number): void {
    const kept = page % this.#pageLimit;
    this.#encode(requester, reason, lowOf(kept), highOf(kept), 0, 1, 0);
    if (pasid !== NO_PASID) this.#tag(pasid, access);
    this.#store(requester);
  }

  /** A blocked interrupt: the address field holds the index. VT-d §7.1.3, §11.4.7.6. */
  interrupt(requester: number, reason: number, index: number): void {
    this.#encode(requester, reason, 0, 0, 0, 0, 0);
    this.#record[1] = index << 16;
    this.#store(requester);
  }

  /** Raises the fault event for a status bit that the invalidation queue sets. */
  raise(bit: "IQE" | "ICE" | "ITE"): void {
    this.#setStatus(bit);
  }

  /** After software cleared F bits: PPF is their OR, and the event goes when the last status bit does. VT-d §11.4.7.1. */
  recordsWritten(): void {
    const registers = this.#registers;
    for (let i = 0; i < this.#records; i++) if (registers.get(NAMES_HIGH[i] as string, "F") === 1) return;
    registers.set("FSTS_REG", "PPF", 0);
    this.statusWritten();
  }

  statusWritten(): void {
    if (this.#isQuiet()) this.#event.drop();
  }

  reset(): void {
    this.#next = 0;
    this.#logIndex = 0;
  }

  /** The log starts at its first record again (SFL). */
  restartLog(): void {
    this.#logIndex = 0;
  }

  /** @param low the address's words: two int32, since a large page number as an argument would be allocated; @param type1 T1; @param type2 bit 0 T2, bit 1: T1 as well (an atomic operation) */
  #encode(requester: number, reason: number, low: number, high: number, type1: number, type2: number, addressType: number): void {
    const record = this.#record;
    record[0] = low;
    record[1] = high;
    record[2] = requester | ((type2 & 1) << 28);
    record[3] = (reason | (addressType << 28) | ((type1 | (type2 >>> 1)) << 30) | 0x8000_0000) >>> 0;
  }

  #tag(pasid: number, access: Access): void {
    const record = this.#record;
    record[2] = ((record[2] as number) | 0x8000_0000 | ((access & Access.Privileged) !== 0 ? 1 << 29 : 0) | ((access & Access.Execute) !== 0 ? 1 << 30 : 0)) >>> 0;
    record[3] = (record[3] as number) | (pasid << 8);
  }

  #store(requester: number): void {
    this.faults++;
    if (this.#registers.get("GSTS_REG", "AFLS") === 1) this.#log();
    else this.#latch(requester);
  }

  /** VT-d §7.2.1 "Primary Fault Logging". */
  #latch(requester: number): void {
    const registers = this.#registers;
    if (registers.get("FSTS_REG", "PFO") === 1) return;
    if (this.#collapse && this.#isPending(requester)) return;
    const high = NAMES_HIGH[this.#next] as string; // next is below 256
    if (registers.get(high, "F") === 1) {
      this.#setStatus("PFO");
      return;
    }
    const record = this.#record;
    registers.set(NAMES_LOW[this.#next] as string, "FI", FAULT_RECORD.get.FI(record));
    registers.set(high, "REST", record[2] as number);
    registers.set(high, "REASON", (record[3] as number) % 0x8000_0000);
    registers.set(high, "F", 1);
    const index = this.#next;
    this.#next = (index + 1) % this.#records;
    if (registers.get("FSTS_REG", "PPF") === 1) return;
    registers.set("FSTS_REG", "FRI", index);
    this.#setStatus("PPF");
  }

  #isPending(requester: number): boolean {
    for (let i = 0; i < this.#records; i++) {
      const name = NAMES_HIGH[i] as string; // i is below 256
      this.#registers.load(name, this.#pair);
      if (((this.#pair[1] as number) & 0x8000_0000) !== 0 && ((this.#pair[0] as number) & 0xffff) === requester) return true;
    }
    return false;
  }

  /** VT-d §7.2.2 "Advanced Fault Logging": records in memory, each free once software has cleared its F bit. */
  #log(): void {
    const registers = this.#registers;
    if (registers.get("FSTS_REG", "AFO") === 1) return;
    const page = registers.get("AFLOG_REG", "FLA") + Math.floor(this.#logIndex / LOG_RECORDS_A_PAGE);
    const inPage = (this.#logIndex % LOG_RECORDS_A_PAGE) * LOG_RECORD;
    const words = this.#memory.wordsOf(page);
    if (words === undefined) return;
    if (((words[this.#memory.wordOf(page) + inPage / 4 + 3] as number) & 0x8000_0000) !== 0) {
      this.#setStatus("AFO");
      return;
    }
    for (let i = 0; i < 4; i++) this.#memory.write32(page * 4096 + inPage + 4 * i, this.#record[i] as number);
    this.#logIndex = (this.#logIndex + 1) % (LOG_RECORDS_A_PAGE * 2 ** registers.get("AFLOG_REG", "FLS"));
    if (registers.get("FSTS_REG", "APF") === 0) this.#setStatus("APF");
  }

  /** Only the first status bit raises the event. VT-d §7.3. */
  #setStatus(bit: (typeof STATUS)[number]): void {
    const first = this.#isQuiet();
    this.#registers.set("FSTS_REG", bit, 1);
    if (first) this.#event.raise();
  }

  #isQuiet(): boolean {
    return STATUS.every((bit) => this.#registers.get("FSTS_REG", bit) === 0);
  }
}

const NAMES_LOW = Array.from({ length: 256 }, (_, i) => `FRCD${i}_LOW`);
const NAMES_HIGH = Array.from({ length: 256 }, (_, i) => `FRCD${i}_HIGH`);
/** The words of a page number's address. */
const lowOf = (page: number): number => (page & 0xf_ffff) << 12;
const highOf = (page: number): number => Math.floor(page / 0x10_0000) | 0;
