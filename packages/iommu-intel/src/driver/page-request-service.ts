import { Access, NO_PASID, PageResponseCode, type IommuDriverCallbacks, type PageRequest, type RequesterId } from "@iommu-lab/pci-bus";
import { PAGE_REQUEST_DESCRIPTOR, PEADDR_REG, PECTL_REG, PEDATA_REG, PEUADDR_REG, PQA_REG, PQH_REG, PQT_REG, PRS_REG } from "../layouts/index.ts";
import type { InvalidationCommands } from "./invalidation-commands.ts";
import type { VtdEventMessage } from "./options.ts";
import type { RegisterAccess } from "./register-access.ts";
import type { TableFrames } from "@iommu-lab/pci-bus/paging";

const REQUEST_WORDS = 8;
const QUEUE_BYTES = 4096;
const PENDING = 1;
const OVERFLOW = 2;

/** Requests of one group that are waiting for software. */
interface Group {
  readonly requester: RequesterId;
  readonly pasid: number;
  readonly group: number;
  /** Requests not yet answered. */
  open: number;
  /** The last one arrived. */
  complete: boolean;
  /** The worst answer so far. */
  code: PageResponseCode;
  closed: boolean;
}

/** The page request queue: reads it, groups requests, and answers a group when all of it is answered. VT-d §7.4, §7.6. */
export class PageRequestService {
  readonly #registers: RegisterAccess;
  readonly #commands: InvalidationCommands;
  readonly #page: number;
  readonly #words: Uint32Array;
  readonly #groups = new Map<string, Group>();
  #head = 0;

  constructor(registers: RegisterAccess, frames: TableFrames, commands: InvalidationCommands) {
    this.#registers = registers;
    this.#commands = commands;
    this.#page = frames.allocate();
    this.#words = frames.words(this.#page);
  }

  start(event: VtdEventMessage | undefined): void {
    const registers = this.#registers;
    registers.writePointer(PQA_REG.offset, this.#page, 0);
    // The tail is hardware's; an empty queue is one whose head is there.
    this.#head = registers.read64(PQT_REG.offset)[0] as number;
    registers.write64(PQH_REG.offset, this.#head, 0);
    registers.write32(PRS_REG.offset, PENDING | OVERFLOW);
    this.#groups.clear();
    if (event === undefined) return;
    registers.write32(PEDATA_REG.offset, event.data);
    registers.write32(PEADDR_REG.offset, event.address);
    registers.write32(PEUADDR_REG.offset, event.upper);
    registers.write32(PECTL_REG.offset, 0);
  }

  stop(): void {
    this.#registers.write32(PECTL_REG.offset, 2 ** PECTL_REG.fields.IM.lsb);
    for (const group of this.#groups.values()) group.closed = true;
    this.#groups.clear();
  }

  /** Reads what is queued. While PRO is set hardware drops requests and answers their groups itself: incomplete ones are forgotten. VT-d §7.4.1. */
  service(callbacks: IommuDriverCallbacks): void {
    const registers = this.#registers;
    const status = registers.read32(PRS_REG.offset) & (PENDING | OVERFLOW);
    if (status === 0) return;
    registers.write32(PRS_REG.offset, PENDING);
    for (let tail = registers.read64(PQT_REG.offset)[0] as number; this.#head !== tail; tail = registers.read64(PQT_REG.offset)[0] as number) {
      const request = decode(this.#words, this.#head / 4);
      this.#head = (this.#head + REQUEST_WORDS * 4) % QUEUE_BYTES;
      registers.write64(PQH_REG.offset, this.#head, 0);
      this.#take(request, callbacks);
    }
    if ((status & OVERFLOW) === 0) return;
    for (const [key, group] of this.#groups) if (!group.complete) this.#groups.delete(key);
    registers.write32(PRS_REG.offset, OVERFLOW);
  }

  /** A source was detached: whoever of it still waits is told that there is nothing. */
  abandon(requester: RequesterId, pasid: number): void {
    this.service({});
    for (const group of this.#groups.values())
      if (group.requester === requester && group.pasid === pasid) {
        group.code = PageResponseCode.InvalidRequest;
        group.open = 0;
        if (group.complete) this.#answer(group);
      }
  }

  #take(request: PageRequest, callbacks: IommuDriverCallbacks): void {
    const { requester, pasid, group: index } = request;
    const key = keyOf(request);
    let group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, (group = { requester, pasid, group: index, open: 0, complete: false, code: PageResponseCode.Success, closed: false }));
    const waiting = group;
    waiting.open++;
    waiting.complete ||= request.last;
    let answered = false;
    const respond = (code: PageResponseCode): void => {
      if (answered || waiting.closed) return;
      answered = true;
      waiting.open--;
      waiting.code = Math.max(waiting.code, code) as PageResponseCode;
      if (waiting.complete && waiting.open === 0) this.#answer(waiting);
    };
    if (callbacks.pageRequest === undefined) respond(PageResponseCode.InvalidRequest);
    else callbacks.pageRequest(request, respond);
  }

  #answer(group: Group): void {
    group.closed = true;
    this.#groups.delete(keyOf(group));
    this.#commands.pageResponse(group.requester, { pasid: group.pasid, group: group.group, code: group.code });
    this.#commands.finish();
  }
}

const keyOf = ({ requester, pasid, group }: Pick<PageRequest, "requester" | "pasid" | "group">): string => `${requester} ${pasid} ${group}`;

const decode = (words: Uint32Array, at: number): PageRequest => {
  const { PP, RID, PASID, EXE, PRIV, R, W, LPIG, PRGI, ADDR } = PAGE_REQUEST_DESCRIPTOR.decode(words, at);
  return {
    requester: RID,
    pasid: PP ? PASID : NO_PASID,
    page: ADDR,
    access: (R ? Access.Read : 0) | (W ? Access.Write : 0) | (EXE ? Access.Execute : 0) | (PRIV ? Access.Privileged : 0),
    group: PRGI,
    last: LPIG === 1,
  };
};
