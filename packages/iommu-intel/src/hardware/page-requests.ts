import { Access, NO_PASID, PageResponseCode, type DownstreamPort, type PageRequest } from "@iommu-lab/pci-bus";
import { PAGE_REQUEST_DESCRIPTOR } from "../layouts/index.ts";
import type { VtdCapabilities } from "./capabilities.ts";
import type { EventInterrupt } from "./event-interrupt.ts";
import type { FaultRecording } from "./fault-recording.ts";
import type { TableMemory } from "./table-memory.ts";
import { TranslationTableMode, type Translator } from "./translator.ts";
import type { UnitRegisters } from "./unit-registers.ts";

/** Bytes of a page request descriptor. */
const DESCRIPTOR_BYTES = 32;

/** Takes page requests from functions and queues them for software. VT-d §7.4 "Page Requests". */
export class PageRequests {
  downstream: DownstreamPort | undefined;
  readonly #registers: UnitRegisters;
  readonly #memory: TableMemory;
  readonly #capabilities: VtdCapabilities;
  readonly #translator: Translator;
  readonly #faults: FaultRecording;
  readonly #event: EventInterrupt;
  readonly #words = new Uint32Array(8);

  constructor(registers: UnitRegisters, memory: TableMemory, capabilities: VtdCapabilities, translator: Translator, faults: FaultRecording, event: EventInterrupt) {
    this.#registers = registers;
    this.#memory = memory;
    this.#capabilities = capabilities;
    this.#translator = translator;
    this.#faults = faults;
    this.#event = event;
  }

  receive(request: PageRequest): void {
    const { requester, pasid, page, access } = request;
    const { mode, enabled } = this.#translator;
    const { PRS, ADMS } = this.#capabilities.ecap;
    // Abort-DMA mode tells nobody of what it refuses. VT-d §11.4.5.
    if (!PRS || !enabled || (mode === TranslationTableMode.Abort && ADMS)) {
      this.#answer(request, PageResponseCode.ResponseFailure);
      return;
    }
    const blocked = this.#judge(requester, pasid);
    if (blocked !== 0) {
      if (!this.#silenced(blocked)) this.#faults.pageRequest(requester, pasid, page, access, blocked);
      this.#answer(request, PageResponseCode.InvalidRequest);
      return;
    }
    this.#queue(request);
  }

  /** PPR and PRO share the event: it goes when both are clear. VT-d §11.4.11.4. */
  statusWritten(): void {
    if (this.#registers.get("PRS_REG", "PPR") === 0 && this.#registers.get("PRS_REG", "PRO") === 0) this.#event.drop();
  }

  #judge(requester: number, pasid: number): number {
    const { mode, rootTable, sources } = this.#translator;
    if (mode === TranslationTableMode.Legacy) return 0x32;
    if (mode !== TranslationTableMode.Scalable) return 0x30;
    const context = sources.scalableContext(rootTable, requester);
    if (context === undefined) return sources.fault;
    sources.silenced = context.silenced;
    if (!context.pageRequests) return 0x47;
    if (pasid === NO_PASID) return 0;
    if (!context.pasidEnabled) return 0x45;
    return pasid >= context.pasids ? 0x46 : 0;
  }

  #silenced(reason: number): boolean {
    return reason >= 0x38 && this.#translator.sources.silenced;
  }

  /** VT-d §7.4.1: a full queue sets PRO; while it is set, requests are dropped and the last of a group is told to try again. */
  #queue(request: PageRequest): void {
    const registers = this.#registers;
    const size = 4096 * 2 ** registers.get("PQA_REG", "PQS");
    const tail = registers.get("PQT_REG", "PQT") * DESCRIPTOR_BYTES;
    const next = (tail + DESCRIPTOR_BYTES) % size;
    const base = registers.get("PQA_REG", "PQA");
    if (registers.get("PRS_REG", "PRO") === 1 || next === registers.get("PQH_REG", "PQH") * DESCRIPTOR_BYTES) {
      this.#status("PRO");
      this.#answer(request, PageResponseCode.Success);
      return;
    }
    const words = this.#encode(request);
    for (let i = 0; i < words.length; i++) this.#memory.write32(base * 4096 + tail + 4 * i, words[i] as number);
    registers.set("PQT_REG", "PQT", next / DESCRIPTOR_BYTES);
    this.#status("PPR");
  }

  #encode({ requester, pasid, page, access, group, last }: PageRequest): Uint32Array {
    const tagged = pasid !== NO_PASID;
    const bit = (mask: number): number => ((access & mask) !== 0 ? 1 : 0);
    return PAGE_REQUEST_DESCRIPTOR.encode(
      {
        TYPE: 1,
        PP: tagged ? 1 : 0,
        RID: requester,
        PASID: tagged ? pasid : 0,
        EXE: tagged ? bit(Access.Execute) : 0,
        PRIV: tagged ? bit(Access.Privileged) : 0,
        R: bit(Access.Read),
        W: bit(Access.Write),
        LPIG: last ? 1 : 0,
        PRGI: group,
        ADDR: page,
      },
      this.#words,
    );
  }

  #status(field: "PPR" | "PRO"): void {
    const registers = this.#registers;
    if (registers.get("PRS_REG", field) === 1) return;
    registers.set("PRS_REG", field, 1);
    this.#event.raise();
  }

  #answer(request: PageRequest, code: PageResponseCode): void {
    if (request.last) this.downstream?.respondToPage(request.requester, { pasid: request.pasid, group: request.group, code });
  }
}
