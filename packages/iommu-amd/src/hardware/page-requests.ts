import { Access, NO_PASID, PageResponseCode, type DownstreamPort, type PageRequest } from "@iommu-lab/pci-bus";
import { EventCode, PPR_LOG_ENTRY } from "../layouts/index.ts";
import type { AmdCapabilities } from "./capabilities.ts";
import type { Events } from "./events.ts";
import type { RaiseInterrupt, RingLog } from "./ring-log.ts";
import type { Translator } from "./translator.ts";
import type { UnitRegisters } from "./unit-registers.ts";

/** The early indicator of each ring: its register and its STATUS bit. */
const EARLY = {
  PPR_BASE: ["PPR_EARLY", "PprOverflowEarly"],
  PPR_B_BASE: ["PPR_B_EARLY", "PprOverflowEarlyB"],
} as const;

/** Takes page requests from functions and logs them for software. AMD-Vi §2.6 "Peripheral Page Request (PPR) Logging". */
export class PageRequests {
  downstream: DownstreamPort | undefined;
  readonly #registers: UnitRegisters;
  readonly #capabilities: AmdCapabilities;
  readonly #translator: Translator;
  readonly #log: RingLog;
  readonly #events: Events;
  readonly #raise: RaiseInterrupt;
  readonly #words = new Uint32Array(4);

  constructor(registers: UnitRegisters, capabilities: AmdCapabilities, translator: Translator, log: RingLog, events: Events, raise: RaiseInterrupt) {
    this.#registers = registers;
    this.#capabilities = capabilities;
    this.#translator = translator;
    this.#log = log;
    this.#events = events;
    this.#raise = raise;
  }

  receive(request: PageRequest): void {
    const registers = this.#registers;
    if (!this.#translator.enabled || registers.get("CONTROL", "PprEn") === 0) {
      this.#answer(request, PageResponseCode.ResponseFailure, false);
      return;
    }
    const entry = this.#translator.pageRequester(request.requester);
    if (entry === undefined) {
      this.#refuse(request);
      return;
    }
    const automatic = registers.get("CONTROL", "PprAutoRspEn") === 1;
    if (automatic && registers.get("CONTROL", "PprAutoRspAon") === 1) {
      this.#respond(request, entry.responsePasid);
      return;
    }
    if (this.#log.append(this.#encode(request))) {
      this.#warnEarly();
      return;
    }
    if (automatic) this.#respond(request, entry.responsePasid);
    else this.#answer(request, PageResponseCode.ResponseFailure, entry.responsePasid);
  }

  /** INVALID_PPR_REQUEST. AMD-Vi §2.5.10. */
  #refuse(request: PageRequest): void {
    const words = this.#encode(request);
    // Device, PASID, tag and flags stand as in the log; bit 41 is the tag's.
    const w1 = ((words[1] as number) & 0x0fff_fdff) | (EventCode.InvalidPprRequest << 28); // four words
    this.#events.log(words[0] as number, w1, words[2] as number, words[3] as number);
    this.#answer(request, PageResponseCode.InvalidRequest, false);
  }

  #encode({ requester, pasid, page, access, group, last }: PageRequest): Uint32Array {
    const tagged = pasid !== NO_PASID;
    const bit = (mask: number): number => ((access & mask) !== 0 ? 1 : 0);
    return PPR_LOG_ENTRY.encode(
      {
        DeviceID: requester,
        PASIDLow: tagged ? pasid & 0xffff : 0,
        PASIDHigh: tagged ? pasid >>> 16 : 0,
        Tag: group,
        Last: last ? 1 : 0,
        NX: tagged ? bit(Access.Execute) : 0,
        RD: bit(Access.Read),
        RW: bit(Access.Write),
        US: tagged && bit(Access.Privileged) === 0 ? 1 : 0,
        GN: tagged ? 1 : 0,
        PprCode: 1,
        Address: page,
      },
      this.#words,
    );
  }

  /** The log is nearly full. AMD-Vi §3.4 "PPR Log Overflow Early Indicator Register". */
  #warnEarly(): void {
    if (!this.#capabilities.efr.PprOvrflwEarlySup) return;
    const registers = this.#registers;
    const [register, status] = EARLY[this.#log.ring.base as keyof typeof EARLY];
    if (registers.get(register, "En") === 0 || this.#log.pending < registers.get(register, "Threshold") || registers.get("STATUS", status) === 1) return;
    registers.set("STATUS", status, 1);
    if (registers.get(register, "IntEn") === 1) this.#raise("ppr");
  }

  /** The automatic response. AMD-Vi §3.4 "PPR Log Auto Response Register". */
  #respond(request: PageRequest, withPasid: boolean): void {
    const code = this.#registers.get("PPR_AUTO_RESPONSE", "Code");
    const known = code === PageResponseCode.Success || code === PageResponseCode.InvalidRequest ? code : PageResponseCode.ResponseFailure;
    this.#answer(request, known, withPasid && this.#registers.get("PPR_AUTO_RESPONSE", "MaskGN") === 0);
  }

  #answer(request: PageRequest, code: PageResponseCode, withPasid: boolean): void {
    if (request.last) this.downstream?.respondToPage(request.requester, { pasid: withPasid ? request.pasid : NO_PASID, group: request.group, code });
  }
}
