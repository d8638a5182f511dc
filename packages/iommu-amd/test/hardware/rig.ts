import { SparseMemory } from "@iommu-lab/memory";
import type { Field, Layout } from "@iommu-lab/memory/layout";
import type { Register } from "@iommu-lab/memory/registers";
import { Access, AddressType, NO_PASID, type CachePolicy, type Completion, type DeviceTlbInvalidation, type ExplanationStep, type Interrupt, type InterruptSink, type MemoryType, type PageRequest, type PageResponse, type Posting, type Translation } from "@iommu-lab/pci-bus";
import { AmdIommu, FULL, withCapabilities, type AmdCapabilities, type AmdPolicy, type CapabilityChanges } from "../../src/hardware/index.ts";
import * as layouts from "../../src/layouts/index.ts";

/** Where the rig puts things; all arbitrary. */
export const DEVICE_TABLE = 0x10_0000;
export const COMMANDS = 0x40_0000;
export const EVENTS = 0x41_0000;
export const PPRS = 0x42_0000;
export const GA_LOG = 0x43_0000;
export const EVENTS_B = 0x44_0000;
export const PPRS_B = 0x45_0000;
export const STORE = 0x46_0000;
export const INTERRUPT_TABLE = 0x47_0000;
/** Page numbers from here on are handed out for tables. */
const FIRST_TABLE_PAGE = 0x500;
/** The RAM that rigs use ends here. */
export const RAM = 0x4000_0000;
/** With `far` there is a little more RAM here, for tables whose page numbers are past int32 and past 32 bits. */
export const FAR = [2 ** 43, 2 ** 45] as const;
const FAR_BYTES = 2 ** 21;

export const DEVICE = 0x0108; // 01:01.0, arbitrary
export const DOMAIN = 0x1234; // arbitrary
/** log2 of the rings' entries: the smallest. */
const LENGTH = 8;

/** Values of a structure's fields by name. */
export type Fields = Readonly<Record<string, number>>;
export type AnyLayout = Layout<Readonly<Record<string, Field>>>;

/** What a request asks for beside its address. */
export interface RequestOptions {
  readonly device?: number;
  readonly pasid?: number;
  readonly type?: AddressType;
  readonly access?: Access;
  readonly explain?: ExplanationStep[];
}

const memoryOf = (far: boolean): SparseMemory => new SparseMemory({ ranges: [{ start: 0, size: RAM }, ...(far ? FAR.map((start) => ({ start, size: FAR_BYTES })) : [])] });

/** An answer that a caller has used before: no field is what any request gets, so that one left as it is shows. */
const used = (): Translation => ({ page: -1, pageShift: -1, permissions: -1, global: true, memoryType: -1 as MemoryType, snoop: true, fault: -1, recorded: true, completion: -1 as Completion });

/** What a rig is built with. */
export interface RigOptions extends CapabilityChanges {
  readonly base?: AmdCapabilities;
  readonly caches?: CachePolicy;
  readonly policy?: AmdPolicy;
  readonly iotlb?: { readonly sets: number; readonly ways: number };
  /** RAM at FAR as well. */
  readonly far?: boolean;
  /** Device-TLB invalidations wait until the test completes them. */
  readonly holdDeviceTlb?: boolean;
  /** CONTROL beside IommuEn, CmdBufEn and EventLogEn. */
  readonly control?: Fields;
}

/** An IOMMU in front of memory, with what software does to it in a line each. */
export class Rig {
  readonly memory: SparseMemory;
  readonly iommu: AmdIommu;
  readonly capabilities: AmdCapabilities;
  /** The IOMMU's own messages. */
  readonly messages: { readonly address: number; readonly upper: number; readonly data: number }[] = [];
  readonly delivered: Interrupt[] = [];
  readonly posted: Posting[] = [];
  readonly deviceTlb: { readonly device: number; readonly invalidation: DeviceTlbInvalidation; readonly timeout: number; readonly complete: (outcome: "completed" | "timed-out") => void }[] = [];
  readonly responses: { readonly device: number; readonly response: PageResponse }[] = [];
  readonly sink: InterruptSink = { deliver: (interrupt) => this.delivered.push({ ...interrupt }), post: (posting) => this.posted.push({ ...posting }) };
  #nextPage = FIRST_TABLE_PAGE;
  #stored = 0;

  constructor(options: RigOptions = {}) {
    const { base = FULL, caches = "realistic", policy, iotlb, holdDeviceTlb, control, far = false, ...changes } = options;
    this.memory = memoryOf(far);
    this.capabilities = withCapabilities(base, changes);
    this.iommu = new AmdIommu({ memory: this.memory, capabilities: this.capabilities, caches, ...(policy ? { policy } : {}), ...(iotlb ? { iotlb } : {}), sendMessage: (address, upper, data) => this.messages.push({ address, upper, data }) });
    this.iommu.connect({
      invalidateDeviceTlb: (device, invalidation, timeout, complete) => {
        this.deviceTlb.push({ device, invalidation, timeout, complete });
        if (!holdDeviceTlb) complete("completed");
      },
      respondToPage: (device, response) => this.responses.push({ device, response }),
    });
    this.start(control);
  }

  /** Sets up tables and rings, and switches everything on. */
  start(control: Fields = {}): void {
    this.write(layouts.DEV_TAB_BASE, { DevTabBase: DEVICE_TABLE / 4096, Size: 511 });
    for (const [register, at] of [
      [layouts.CMD_BASE, COMMANDS],
      [layouts.EVT_BASE, EVENTS],
      [layouts.PPR_BASE, PPRS],
      [layouts.GA_BASE, GA_LOG],
      [layouts.EVT_B_BASE, EVENTS_B],
      [layouts.PPR_B_BASE, PPRS_B],
    ] as const)
      this.write(register, { Base: at / 4096, Len: LENGTH });
    this.write(layouts.CONTROL, { IommuEn: 1, CmdBufEn: 1, EventLogEn: 1, ...control });
  }

  // ---- registers

  write(register: Register, fields: Fields): void {
    const words = register.layout.encode(fields, new Uint32Array(2));
    if (register.width === 64) this.iommu.registers.write64(register.offset, words[0] as number, words[1] as number);
    else this.iommu.registers.write(register.offset, 4, words[0] as number);
  }

  raw(register: Register): Uint32Array {
    const words = new Uint32Array(2);
    if (register.width === 64) this.iommu.registers.read64(register.offset, words);
    else words[0] = this.iommu.registers.read(register.offset, 4);
    return words;
  }

  read<R extends Register>(register: R): Record<keyof R["fields"], number> {
    return register.layout.decode(this.raw(register)) as Record<keyof R["fields"], number>;
  }

  get status(): Record<keyof typeof layouts.STATUS.fields, number> {
    return this.read(layouts.STATUS);
  }

  /** Changes fields of CONTROL and keeps the others. */
  control(fields: Partial<Record<keyof typeof layouts.CONTROL.fields, number>>): void {
    this.write(layouts.CONTROL, { ...this.read(layouts.CONTROL), ...fields });
  }

  // ---- memory

  page(): number {
    return this.#nextPage++;
  }

  put(layout: AnyLayout, address: number, fields: Fields): void {
    this.putWords(address, layout.encode(fields));
  }

  putWords(address: number, words: ArrayLike<number>): void {
    for (let i = 0; i < words.length; i++) this.memory.write32(address + 4 * i, words[i] as number);
  }

  words(address: number, count: number): Uint32Array {
    return Uint32Array.from({ length: count }, (_, i) => this.memory.read32(address + 4 * i));
  }

  flip(address: number, bit: number): void {
    const at = address + 4 * (bit >>> 5);
    this.memory.write32(at, (this.memory.read32(at) ^ (2 ** (bit & 31))) >>> 0);
  }

  // ---- tables

  /** A device's entry: V=1, TV=1, IR=1, IW=1 and the domain, unless said otherwise. Its address. */
  device(fields: Fields = {}, device = DEVICE): number {
    const at = DEVICE_TABLE + 32 * device;
    this.put(layouts.DEVICE_TABLE_ENTRY, at, { V: 1, TV: 1, IR: 1, IW: 1, DomainID: DOMAIN, ...fields });
    return at;
  }

  /** Maps a page in host tables; addresses of the entries, top first. `steps` are the levels visited: [4, 3, 2, 1] by default. */
  mapHost(table: number, page: number, host: number, options: { readonly steps?: readonly number[]; readonly leaf?: Fields } = {}): number[] {
    const { steps = [4, 3, 2, 1], leaf = {} } = options;
    const entries: number[] = [];
    let at = table;
    for (const [i, level] of steps.entries()) {
      const entry = at * 4096 + 8 * (Math.floor(page / 2 ** (9 * (level - 1))) % 512);
      entries.push(entry);
      const next = steps[i + 1];
      if (next === undefined) this.put(layouts.HOST_PTE, entry, { PR: 1, IR: 1, IW: 1, Address: host, ...leaf });
      else {
        if ((this.memory.read32(entry) & 1) === 0) this.put(layouts.HOST_PDE, entry, { PR: 1, IR: 1, IW: 1, NextLevel: next, Address: this.page() });
        at = layouts.HOST_PDE.get.Address(this.words(entry, 2));
      }
    }
    return entries;
  }

  /** Maps a page in guest tables whose pages are at the same host addresses; addresses of the entries, top first. */
  mapGuest(table: number, page: number, target: number, options: { readonly levels?: number; readonly leafLevel?: number; readonly leaf?: Fields } = {}): number[] {
    const { levels = 4, leafLevel = 1, leaf = {} } = options;
    const entries: number[] = [];
    let at = table;
    for (let level = levels; level >= leafLevel; level--) {
      const entry = at * 4096 + 8 * (Math.floor(page / 2 ** (9 * (level - 1))) % 512);
      entries.push(entry);
      if (level === leafLevel) this.put(layouts.GUEST_PTE, entry, { P: 1, RW: 1, US: 1, Address: target, ...(level > 1 ? { PS: 1 } : {}), ...leaf });
      else {
        if ((this.memory.read32(entry) & 1) === 0) this.put(layouts.GUEST_PTE, entry, { P: 1, RW: 1, US: 1, Address: this.page() });
        at = layouts.GUEST_PTE.get.Address(this.words(entry, 2));
      }
    }
    return entries;
  }

  // ---- requests

  translate(page: number, options: RequestOptions = {}): Translation {
    const out = used();
    const { explain } = options;
    this.iommu.translate(
      { requester: options.device ?? DEVICE, pasid: options.pasid ?? NO_PASID, addressType: options.type ?? AddressType.Untranslated, page, access: options.access ?? Access.Read },
      out,
      explain ? { step: (step) => explain.push(step) } : undefined,
    );
    return out;
  }

  interrupt(data: number, options: { readonly address?: number; readonly device?: number; readonly explain?: ExplanationStep[] } = {}): { readonly fault: number; readonly recorded: boolean } {
    const out = { fault: -1, recorded: true };
    const { explain } = options;
    this.iommu.remapInterrupt({ requester: options.device ?? DEVICE, address: options.address ?? 0xfee0_0000, data }, this.sink, out, explain ? { step: (step) => explain.push(step) } : undefined);
    return out;
  }

  pageRequest(changes: Partial<PageRequest> = {}): void {
    this.iommu.pageRequest({ requester: DEVICE, pasid: NO_PASID, page: 0x1_2345, access: Access.Read, group: 5, last: true, ...changes });
  }

  // ---- logs and commands

  /** Words of the n-th entry of a ring. */
  entry(ring: number, index: number, count = 4): number[] {
    return [...this.words(ring + 4 * count * index, count)];
  }

  /** Events logged so far, by the layout of their code, oldest first; all of them count as taken. */
  events(): { readonly name: string; readonly [field: string]: number | string }[] {
    const found: { name: string; [field: string]: number | string }[] = [];
    const tail = this.read(layouts.EVT_TAIL).Ptr;
    let head = this.read(layouts.EVT_HEAD).Ptr;
    for (; head !== tail; head = (head + 1) % 2 ** LENGTH) {
      const words = this.words(EVENTS + 16 * head, 4);
      const layout = layouts.EVENTS[(words[1] as number) >>> 28];
      if (layout === undefined || layout.reservedIn(words) >= 0) throw new Error(`No event looks like ${words.join(" ")}.`);
      found.push({ name: layout.name, ...Object.fromEntries(Object.entries(layout.decode(words)).filter(([field, value]) => value !== 0 && field !== "EventCode")) });
    }
    this.write(layouts.EVT_HEAD, { Ptr: head });
    return found;
  }

  /** Puts commands behind the tail and moves it. */
  submit(...commands: ArrayLike<number>[]): void {
    let tail = this.read(layouts.CMD_TAIL).Ptr;
    for (const words of commands) {
      this.putWords(COMMANDS + 16 * tail, words);
      tail = (tail + 1) % 2 ** LENGTH;
    }
    this.write(layouts.CMD_TAIL, { Ptr: tail });
  }

  /** A COMPLETION_WAIT that stores a number of its own. */
  wait(fields: Fields = {}): Uint32Array {
    return layouts.COMPLETION_WAIT.encode({ OpCode: 1, s: 1, StoreLow: STORE / 8, DataLow: ++this.#stored, DataHigh: 0x5555, ...fields });
  }

  /** Whether the last such wait is done. */
  get waited(): boolean {
    return this.memory.read32(STORE) === this.#stored && this.memory.read32(STORE + 4) === 0x5555;
  }

  invalidateDevice(device = DEVICE): void {
    this.submit(layouts.INVALIDATE_DEVTAB_ENTRY.encode({ OpCode: 2, DeviceID: device }));
  }

  invalidatePages(fields: Fields = {}): void {
    this.submit(layouts.INVALIDATE_IOMMU_PAGES.encode({ OpCode: 3, DomainID: DOMAIN, PDE: 1, ...fields }));
  }
}

/** S=1 and this address: everything. */
export const ALL_PAGES = { S: 1, Address: 0x7_ffff_ffff_ffff } as const;

/** A rig with one device and a host table of four levels (or as `device` says); everything else is to be mapped. */
export const hostRig = (options: RigOptions & { readonly device?: Fields } = {}): Rig & { readonly table: number; readonly dte: number } => {
  const { device = {}, ...rest } = options;
  const rig = new Rig(rest);
  const table = rig.page();
  const dte = rig.device({ Mode: 4, HostRoot: table, ...device });
  return Object.assign(rig, { table, dte });
};

/** PASID that guest rigs bind. */
export const PASID = 3;

/** Fields of a device table entry that name a GCR3 table. */
export const gcr3Fields = (page: number): Fields => ({ GCR3Low: page & 7, GCR3Mid: Math.floor(page / 8) & 0xffff, GCR3High: Math.floor(page / 0x8_0000) });

/** A rig with a device whose PASID 3 has a guest table; nested in an identity host table of 1 GiB when `nested`. */
export const guestRig = (options: RigOptions & { readonly device?: Fields; readonly nested?: boolean } = {}): Rig & { readonly guest: number; readonly gcr3: number; readonly table: number; readonly dte: number } => {
  const { device = {}, nested = false, control, ...rest } = options;
  const rig = new Rig({ ...rest, control: { GTEn: 1, ...control } });
  const guest = rig.page();
  const gcr3 = rig.page();
  const table = rig.page();
  rig.put(layouts.GCR3_ENTRY, gcr3 * 4096 + 8 * PASID, { V: 1, Address: guest });
  if (nested) rig.mapHost(table, 0, 0, { steps: [4, 3] });
  const dte = rig.device({ GV: 1, ...gcr3Fields(gcr3), ...(nested ? { Mode: 4, HostRoot: table } : {}), ...device });
  return Object.assign(rig, { guest, gcr3, table, dte });
};
