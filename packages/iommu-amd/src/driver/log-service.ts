import { Access, NO_PASID, PageResponseCode, type IommuDriverCallbacks, type IommuFault, type PageRequest, type RequesterId } from "@iommu-lab/pci-bus";
import type { TableFrames } from "@iommu-lab/pci-bus/paging";
import { EVENTS, EventCode, EVT_BASE, EVT_HEAD, EVT_TAIL, ILLEGAL_DEV_TABLE_ENTRY, IO_PAGE_FAULT, PPR_BASE, PPR_HEAD, PPR_LOG_ENTRY, PPR_TAIL, STATUS } from "../layouts/index.ts";
import type { CommandQueue } from "./command-queue.ts";
import type { UnitRegisters } from "./unit-registers.ts";

/** One page: 256 entries of 4 words. AMD-Vi §3.4.3. */
const ENTRY_WORDS = 4;
const ENTRIES = 256;
const BASE_LENGTH = 8;

/** What events say. AMD-Vi §2.5. */
const TEXTS: Readonly<Record<number, string>> = {
  [EventCode.IllegalDeviceEntry]: "The device table entry is illegal",
  [EventCode.IoPageFault]: "The access is not allowed",
  [EventCode.DeviceTableHardwareError]: "The device table entry cannot be read",
  [EventCode.PageTableHardwareError]: "A page table entry cannot be read",
  [EventCode.IllegalCommand]: "A command is illegal",
  [EventCode.CommandHardwareError]: "A command cannot be read",
  [EventCode.IotlbTimeout]: "A device-TLB did not answer an invalidation",
  [EventCode.InvalidDeviceRequest]: "The device sent a request that it may not send",
  [EventCode.InvalidPprRequest]: "The device sent a page request that it may not send",
};
/** Events about a request of a function. */
const FAULTS: ReadonlySet<number> = new Set([EventCode.IllegalDeviceEntry, EventCode.IoPageFault, EventCode.DeviceTableHardwareError, EventCode.PageTableHardwareError, EventCode.InvalidDeviceRequest]);

/** Reads the event log and the PPR log, and groups page requests. AMD-Vi §2.5, §2.6. */
export class LogService {
  readonly #registers: UnitRegisters;
  readonly #commands: CommandQueue;
  readonly #events: { readonly page: number; readonly words: Uint32Array };
  readonly #requests: { readonly page: number; readonly words: Uint32Array } | undefined;
  readonly #groups = new Map<string, Group>();

  /** @param withRequests the IOMMU takes page requests */
  constructor(registers: UnitRegisters, frames: TableFrames, commands: CommandQueue, withRequests: boolean) {
    this.#registers = registers;
    this.#commands = commands;
    const log = (): { page: number; words: Uint32Array } => {
      const page = frames.allocate();
      return { page, words: frames.words(page) };
    };
    this.#events = log();
    this.#requests = withRequests ? log() : undefined;
  }

  start(): void {
    const registers = this.#registers;
    registers.write(STATUS, { EventOverflow: 1, EventLogInt: 1, ComWaitInt: 1, PprOverflow: 1, PprInt: 1 });
    this.#startEvents();
    if (this.#requests !== undefined) {
      registers.write(PPR_BASE, { Base: this.#requests.page, Len: BASE_LENGTH });
      registers.write(PPR_HEAD, { Ptr: 0 });
      registers.write(PPR_TAIL, { Ptr: 0 });
      registers.control({ PprEn: 1, PprLogEn: 1, PprIntEn: 1 });
    }
    this.#groups.clear();
  }

  stop(): void {
    this.#registers.control({ EventLogEn: 0, EventIntEn: 0, PprEn: 0, PprLogEn: 0, PprIntEn: 0 });
    for (const group of this.#groups.values()) group.closed = true;
    this.#groups.clear();
  }

  service(callbacks: IommuDriverCallbacks): void {
    this.#serviceRequests(callbacks);
    this.#serviceEvents(callbacks);
  }

  /** A function was detached: whoever of it still waits is told that there is nothing. */
  abandon(requester: RequesterId, pasid: number | undefined): void {
    this.#serviceRequests({});
    for (const group of [...this.#groups.values()])
      if (group.requester === requester && group.pasid === (pasid ?? NO_PASID)) {
        group.code = PageResponseCode.InvalidRequest;
        group.open = 0;
        if (group.complete) this.#answer(group);
      }
  }

  #startEvents(): void {
    const registers = this.#registers;
    registers.write(EVT_BASE, { Base: this.#events.page, Len: BASE_LENGTH });
    registers.write(EVT_HEAD, { Ptr: 0 });
    registers.write(EVT_TAIL, { Ptr: 0 });
    registers.control({ EventLogEn: 1, EventIntEn: 1 });
  }

  /** After an overflow the log is switched off, cleared and started again. AMD-Vi §2.5.1. */
  #serviceEvents(callbacks: IommuDriverCallbacks): void {
    const registers = this.#registers;
    registers.write(STATUS, { EventLogInt: 1 });
    let head = registers.read(EVT_HEAD).Ptr;
    for (let tail = registers.read(EVT_TAIL).Ptr; head !== tail; tail = registers.read(EVT_TAIL).Ptr) {
      const words = this.#events.words.slice(head * ENTRY_WORDS, (head + 1) * ENTRY_WORDS);
      head = (head + 1) % ENTRIES;
      registers.write(EVT_HEAD, { Ptr: head });
      report(words, callbacks);
    }
    if (registers.read(STATUS).EventOverflow === 0) return;
    callbacks.problem?.("Events were lost: the event log was full.");
    registers.control({ EventLogEn: 0 });
    registers.waitFor(() => registers.read(STATUS).EventLogRun === 0, "EventLogRun = 0");
    registers.write(STATUS, { EventOverflow: 1 });
    this.#startEvents();
  }

  #serviceRequests(callbacks: IommuDriverCallbacks): void {
    const log = this.#requests;
    if (log === undefined) return;
    const registers = this.#registers;
    registers.write(STATUS, { PprInt: 1 });
    let head = registers.read(PPR_HEAD).Ptr;
    for (let tail = registers.read(PPR_TAIL).Ptr; head !== tail; tail = registers.read(PPR_TAIL).Ptr) {
      const request = requestOf(log.words.slice(head * ENTRY_WORDS, (head + 1) * ENTRY_WORDS));
      head = (head + 1) % ENTRIES;
      registers.write(PPR_HEAD, { Ptr: head });
      this.#take(request, callbacks);
    }
    if (registers.read(STATUS).PprOverflow === 0) return;
    registers.control({ PprLogEn: 0 });
    registers.waitFor(() => registers.read(STATUS).PprLogRun === 0, "PprLogRun = 0");
    registers.write(STATUS, { PprOverflow: 1 });
    registers.write(PPR_BASE, { Base: log.page, Len: BASE_LENGTH });
    registers.write(PPR_HEAD, { Ptr: 0 });
    registers.write(PPR_TAIL, { Ptr: 0 });
    registers.control({ PprLogEn: 1 });
    for (const [key, group] of this.#groups) if (!group.complete) this.#groups.delete(key);
  }

  #take(request: PageRequest, callbacks: IommuDriverCallbacks): void {
    const key = keyOf(request);
    const { requester, pasid, group: index } = request;
    const waiting: Group = this.#groups.get(key) ?? { requester, pasid, group: index, open: 0, complete: false, code: PageResponseCode.Success, closed: false };
    this.#groups.set(key, waiting);
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

/** Requests of one group that are waiting for software. */
interface Group {
  readonly requester: RequesterId;
  readonly pasid: number;
  readonly group: number;
  open: number;
  complete: boolean;
  code: PageResponseCode;
  closed: boolean;
}

const keyOf = ({ requester, pasid, group }: Pick<PageRequest, "requester" | "pasid" | "group">): string => `${requester} ${pasid} ${group}`;

const requestOf = (words: Uint32Array): PageRequest => {
  const entry = PPR_LOG_ENTRY.decode(words);
  return {
    requester: entry.DeviceID,
    pasid: entry.GN ? entry.PASIDLow + entry.PASIDHigh * 0x1_0000 : NO_PASID,
    page: entry.Address,
    access: (entry.RD ? Access.Read : 0) | (entry.RW ? Access.Write : 0) | (entry.NX ? Access.Execute : 0) | (entry.GN && !entry.US ? Access.Privileged : 0),
    group: entry.Tag,
    last: entry.Last === 1,
  };
};

/** An event as a fault, or as a problem of the IOMMU's own. */
/** RW of an IO_PAGE_FAULT says nothing while PR is 0. AMD-Vi §2.5.3. */
const knownAccess = (known: boolean, write: boolean): number => (known ? (write ? Access.Write : Access.Read) : 0);

const report = (words: Uint32Array, callbacks: IommuDriverCallbacks): void => {
  const code = (words[1] as number) >>> 28; // four words
  const text = TEXTS[code] ?? EVENTS[code]?.name ?? `Event ${code}`;
  if (!FAULTS.has(code)) {
    callbacks.problem?.(text);
    return;
  }
  const { DeviceID, PASIDHigh, DomainIDorPASID, GN, NX, US, I, PR, RW } = IO_PAGE_FAULT.decode(words);
  const address = (BigInt(words[3] as number) << 32n) | BigInt(words[2] as number);
  const tagged = GN === 1 && I === 0;
  const pasidLow = code === EventCode.IllegalDeviceEntry ? ILLEGAL_DEV_TABLE_ENTRY.get.PASIDLow(words) : DomainIDorPASID;
  const fault: IommuFault = {
    requester: DeviceID,
    // PASID 0 is where requests without PASID are sent (GIoV), and attached to no other.
    pasid: tagged ? pasidLow + PASIDHigh * 0x1_0000 || NO_PASID : NO_PASID,
    address: I ? 0n : address,
    access: knownAccess(PR === 1 || code !== EventCode.IoPageFault, RW === 1) | (tagged && NX ? Access.Execute : 0) | (tagged && !US ? Access.Privileged : 0),
    code,
    text,
    ...(I ? { interrupt: Number(address & 0x7ffn) } : {}),
  };
  callbacks.fault?.(fault);
};
