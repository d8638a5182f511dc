import { SparseMemory } from "@iommu-lab/memory";
import type { Field, Layout } from "@iommu-lab/memory/layout";
import type { Register } from "@iommu-lab/memory/registers";
import { Access, AddressType, NO_PASID, type CachePolicy, type Completion, type DeviceTlbInvalidation, type DownstreamPort, type ExplanationStep, type Interrupt, type InterruptSink, type MemoryType, type PageResponse, type Posting, type Translation } from "@iommu-lab/pci-bus";
import { LEGACY, SCALABLE, VtdUnit, withCapabilities, type CapabilityChanges, type VtdCapabilities, type VtdPolicy, type VtdUnitOptions } from "../../src/hardware/index.ts";
import * as layouts from "../../src/layouts/index.ts";

/** Where the rig puts things; all arbitrary. */
export const ROOT = 0x1000;
export const QUEUE = 0x2000;
export const INTERRUPT_TABLE = 0x3000;
export const STATUS = 0x4000;
/** Page numbers from here on are handed out for tables. */
const FIRST_TABLE_PAGE = 0x10;
/** The RAM that rigs use ends here. */
export const RAM = 0x4000_0000;
/** With `far` there is a little more RAM here, for tables whose page numbers are past int32 and past 32 bits. */
export const FAR = [2 ** 43, 2 ** 45] as const;
const FAR_BYTES = 2 ** 21;

export const BDF = 0x0108; // 01:01.0, arbitrary
export const DID = 5; // arbitrary

/** Values of a structure's fields by name. */
type Fields = Readonly<Record<string, number>>;
type AnyLayout = Layout<Readonly<Record<string, Field>>>;

/** What a request asks for beside its address. */
export interface RequestOptions {
  readonly requester?: number;
  readonly pasid?: number;
  readonly type?: AddressType;
  readonly access?: Access;
  readonly explain?: ExplanationStep[];
}

/** A fault record as software reads it. */
export interface FaultRecord {
  readonly page: number;
  readonly sid: number;
  readonly reason: number;
  readonly type: "write" | "read" | "page-request" | "atomic";
  readonly pasid: number | undefined;
  readonly privileged: boolean;
  readonly execute: boolean;
  readonly addressType: number;
}

const memoryOf = (far: boolean): SparseMemory => new SparseMemory({ ranges: [{ start: 0, size: RAM }, ...(far ? FAR.map((start) => ({ start, size: FAR_BYTES })) : [])] });

const protectedMemory = (memory: SparseMemory, pages: ReadonlySet<number>): VtdUnitOptions["memory"] => ({
  wordsOf: (page) => memory.wordsOf(page),
  wordOf: (page) => memory.wordOf(page),
  write32: (at, value) => {
    memory.write32(at, value);
  },
  canUpdate: (page) => !pages.has(page),
});

/** An answer that a caller has used before: no field is what any request gets, so that one left as it is shows. */
const used = (): Translation => ({ page: -1, pageShift: -1, permissions: -1, global: true, memoryType: -1 as MemoryType, snoop: true, fault: -1, recorded: true, completion: -1 as Completion });

/** What a rig is built with. */
export interface RigOptions extends CapabilityChanges {
  readonly base?: VtdCapabilities;
  readonly caches?: CachePolicy;
  readonly policy?: VtdPolicy;
  readonly iotlb?: { readonly sets: number; readonly ways: number };
  /** RAM at FAR as well. */
  readonly far?: boolean;
  /** The unit's updates of tables on these pages fail. */
  readonly writeProtected?: ReadonlySet<number>;
  /** Device-TLB invalidations wait until `completeDeviceTlb`. */
  readonly holdDeviceTlb?: boolean;
}

/** A unit in front of memory, with what software does to it in a line each. */
export class Rig {
  readonly memory: SparseMemory;
  readonly unit: VtdUnit;
  readonly capabilities: VtdCapabilities;
  /** The unit's own messages. */
  readonly messages: { readonly address: number; readonly upper: number; readonly data: number }[] = [];
  readonly delivered: Interrupt[] = [];
  readonly posted: Posting[] = [];
  readonly deviceTlb: { readonly requester: number; readonly invalidation: DeviceTlbInvalidation; readonly complete: (outcome: "completed" | "timed-out") => void }[] = [];
  readonly responses: { readonly requester: number; readonly response: PageResponse }[] = [];
  readonly sink: InterruptSink = { deliver: (interrupt) => this.delivered.push({ ...interrupt }), post: (posting) => this.posted.push({ ...posting }) };
  #nextPage = FIRST_TABLE_PAGE;
  #tail = 0;
  #wide = false;
  #status = 0;

  constructor(options: RigOptions = {}) {
    const { base = LEGACY, caches = "realistic", far = false } = options;
    this.memory = memoryOf(far);
    this.capabilities = withCapabilities(base, options);
    this.unit = new VtdUnit({
      memory: options.writeProtected ? protectedMemory(this.memory, options.writeProtected) : this.memory,
      capabilities: this.capabilities,
      caches,
      ...(options.policy ? { policy: options.policy } : {}),
      ...(options.iotlb ? { iotlb: options.iotlb } : {}),
      sendMessage: (address, upper, data) => this.messages.push({ address, upper, data }),
    });
    const port: DownstreamPort = {
      invalidateDeviceTlb: (requester, invalidation, _timeout, complete) => {
        this.deviceTlb.push({ requester, invalidation, complete });
        if (!options.holdDeviceTlb) complete("completed");
      },
      respondToPage: (requester, response) => this.responses.push({ requester, response }),
    };
    this.unit.connect(port);
  }

  // ---- registers

  offset(register: Register): number {
    const iotlb = register === layouts.IVA_REG || register === layouts.IOTLB_REG;
    return register.offset + (iotlb ? 16 * this.capabilities.ecap.IRO : 0);
  }

  write(register: Register, fields: Fields): void {
    this.writeRaw(register, register.layout.encode(fields, new Uint32Array(2)));
  }

  writeRaw(register: Register, words: ArrayLike<number>): void {
    if (register.width === 64) this.unit.registers.write64(this.offset(register), words[0] as number, words[1] as number);
    else this.unit.registers.write(this.offset(register), 4, words[0] as number);
  }

  raw(register: Register): Uint32Array {
    const words = new Uint32Array(2);
    if (register.width === 64) this.unit.registers.read64(this.offset(register), words);
    else words[0] = this.unit.registers.read(this.offset(register), 4);
    return words;
  }

  read<R extends Register>(register: R): Record<keyof R["fields"], number> {
    return register.layout.decode(this.raw(register)) as Record<keyof R["fields"], number>;
  }

  /** Levels of GCMD that are in force, as software keeps them. */
  #kept(): Record<"TE" | "QIE" | "IRE" | "CFI" | "EAFL", number> {
    const status = this.read(layouts.GSTS_REG);
    return { TE: status.TES, QIE: status.QIES, IRE: status.IRES, CFI: status.CFIS, EAFL: status.AFLS };
  }

  command(fields: Partial<Record<keyof typeof layouts.GCMD_REG.fields, number>>): void {
    this.write(layouts.GCMD_REG, { ...this.#kept(), ...fields });
  }

  /** Sets the root table and turns translation on. */
  start(mode: 0 | 1 | 2 | 3 = 0, root = ROOT): this {
    this.write(layouts.RTADDR_REG, { RTA: root / 4096, TTM: mode });
    this.command({ SRTP: 1 });
    this.command({ TE: 1 });
    return this;
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

  // ---- tables; each gives the address of the entry it wrote

  /** Legacy root and context entry of a requester. */
  context(fields: Fields, requester = BDF): { readonly root: number; readonly context: number } {
    const root = ROOT + 16 * (requester >>> 8);
    if ((this.memory.read32(root) & 1) === 0) this.put(layouts.ROOT_ENTRY, root, { P: 1, CTP: this.page() });
    const context = layouts.ROOT_ENTRY.get.CTP(this.words(root, 4)) * 4096 + 16 * (requester & 0xff);
    this.put(layouts.CONTEXT_ENTRY, context, { P: 1, AW: 2, DID, ...fields });
    return { root, context };
  }

  /** Scalable root and context entry of a requester, with a PASID directory of its own. */
  scalableContext(fields: Fields = {}, requester = BDF): { readonly root: number; readonly context: number; readonly directory: number } {
    const root = ROOT + 16 * (requester >>> 8);
    const upper = (requester & 0x80) !== 0;
    const old = layouts.SCALABLE_ROOT_ENTRY.decode(this.words(root, 4));
    const table = upper ? old.UCTP || this.page() : old.LCTP || this.page();
    this.put(layouts.SCALABLE_ROOT_ENTRY, root, { ...old, ...(upper ? { UP: 1, UCTP: table } : { LP: 1, LCTP: table }) });
    const directory = fields.PASIDDIRPTR ?? this.page();
    const context = table * 4096 + 32 * (requester & 0x7f);
    this.put(layouts.SCALABLE_CONTEXT_ENTRY, context, { P: 1, PASIDDIRPTR: directory, ...fields });
    return { root, context, directory: directory * 4096 };
  }

  /** PASID directory entry and table entry. @param directory its address */
  pasid(directory: number, pasid: number, fields: Fields): { readonly directory: number; readonly entry: number } {
    const at = directory + 8 * (pasid >>> 6);
    if ((this.memory.read32(at) & 1) === 0) this.put(layouts.PASID_DIRECTORY_ENTRY, at, { P: 1, SMPTBLPTR: this.page() });
    const entry = layouts.PASID_DIRECTORY_ENTRY.get.SMPTBLPTR(this.words(at, 2)) * 4096 + 64 * (pasid & 63);
    this.put(layouts.PASID_ENTRY, entry, { P: 1, DID, ...fields });
    return { directory: at, entry };
  }

  /** Addresses of the entries on the way to a page, from the top level down to `leafLevel`; missing tables are made. */
  path(layout: AnyLayout, table: number, levels: number, page: number, leafLevel: number, rights: Fields): number[] {
    const entries: number[] = [];
    let at = table;
    for (let level = levels; level >= leafLevel; level--) {
      const entry = at * 4096 + 8 * (Math.floor(page / 2 ** (9 * (level - 1))) % 512);
      entries.push(entry);
      if (level === leafLevel) break;
      if ((this.memory.read32(entry) & 7) === 0) this.put(layout, entry, { ...rights, ADDR: this.page() });
      at = layouts.SECOND_STAGE_ENTRY.get.ADDR(this.words(entry, 2));
    }
    return entries;
  }

  /** Maps a page in second-stage tables; addresses of the entries, top first. */
  mapSecond(table: number, page: number, host: number, options: { readonly levels?: number; readonly leafLevel?: number; readonly leaf?: Fields } = {}): number[] {
    const { levels = 4, leafLevel = 1, leaf = {} } = options;
    const entries = this.path(layouts.SECOND_STAGE_ENTRY, table, levels, page, leafLevel, { R: 1, W: 1 });
    this.put(layouts.SECOND_STAGE_ENTRY, entries.at(-1) as number, { R: 1, W: 1, ADDR: host, ...(leafLevel > 1 ? { PS: 1 } : {}), ...leaf });
    return entries;
  }

  /** Maps a page in first-stage tables; addresses of the entries, top first. */
  mapFirst(table: number, page: number, host: number, options: { readonly levels?: number; readonly leafLevel?: number; readonly leaf?: Fields } = {}): number[] {
    const { levels = 4, leafLevel = 1, leaf = {} } = options;
    const entries = this.path(layouts.FIRST_STAGE_ENTRY, table, levels, page, leafLevel, { P: 1, RW: 1, US: 1 });
    this.put(layouts.FIRST_STAGE_ENTRY, entries.at(-1) as number, { P: 1, RW: 1, US: 1, ADDR: host, ...(leafLevel > 1 ? { PS: 1 } : {}), ...leaf });
    return entries;
  }

  // ---- requests

  translate(page: number, options: RequestOptions = {}): Translation {
    const out = used();
    const { explain } = options;
    this.unit.translate(
      { requester: options.requester ?? BDF, pasid: options.pasid ?? NO_PASID, addressType: options.type ?? AddressType.Untranslated, page, access: options.access ?? Access.Read },
      out,
      explain ? { step: (step) => explain.push(step) } : undefined,
    );
    return out;
  }

  /** The fault of a request, 0 for none. */
  fault(page: number, options?: RequestOptions): number {
    return this.translate(page, options).fault;
  }

  interrupt(address: number, data: number, requester = BDF): { readonly fault: number; readonly recorded: boolean } {
    const out = { fault: -1, recorded: true };
    this.unit.remapInterrupt({ requester, address, data }, this.sink, out);
    return out;
  }

  // ---- faults

  recordAddress(index = 0): number {
    return 16 * this.capabilities.cap.FRO + 16 * index;
  }

  /** The record as software reads it, undefined while F is clear. */
  record(index = 0): FaultRecord | undefined {
    const words = Uint32Array.from({ length: 4 }, (_, i) => this.unit.registers.read(this.recordAddress(index) + 4 * i, 4));
    const fields = layouts.FAULT_RECORD.decode(words);
    if (fields.F === 0) return undefined;
    return {
      page: fields.FI,
      sid: fields.SID,
      reason: fields.FR,
      type: (["write", "page-request", "read", "atomic"] as const)[fields.T1 * 2 + fields.T2] ?? "write",
      pasid: fields.PP ? fields.PV : undefined,
      privileged: fields.PRIV === 1,
      execute: fields.EXE === 1,
      addressType: fields.AT,
    };
  }

  /** Clears a record's F bit as Linux does: one DWORD. */
  clearRecord(index = 0): void {
    this.unit.registers.write(this.recordAddress(index) + 12, 4, 0x8000_0000);
  }

  // ---- queue

  /** Turns the queue on. */
  queue(options: { readonly wide?: boolean; readonly size?: number } = {}): this {
    this.#wide = options.wide ?? false;
    this.#tail = 0;
    this.write(layouts.IQT_REG, { QT: 0 });
    this.write(layouts.IQA_REG, { IQA: QUEUE / 4096, QS: options.size ?? 0, DW: this.#wide ? 1 : 0 });
    this.command({ QIE: 1 });
    return this;
  }

  /** Writes descriptors behind the tail and moves it. */
  submit(...descriptors: ArrayLike<number>[]): void {
    const step = this.#wide ? 32 : 16;
    const size = 4096 * 2 ** this.read(layouts.IQA_REG).QS;
    for (const words of descriptors) {
      this.putWords(QUEUE + this.#tail, Uint32Array.from({ length: step / 4 }, (_, i) => words[i] ?? 0));
      this.#tail = (this.#tail + step) % size;
    }
    this.write(layouts.IQT_REG, { QT: this.#tail / 16 });
  }

  /** A wait that writes its status; the value it writes. */
  wait(): Uint32Array {
    return layouts.WAIT_DESCRIPTOR.encode({ TYPE: 5, SW: 1, DATA: ++this.#status, ADDR_LOW: STATUS / 4 });
  }

  /** Whether the last wait has written its status. */
  get waited(): boolean {
    return this.memory.read32(STATUS) === this.#status;
  }
}

export const invalidateContext = (fields: Fields): Uint32Array => layouts.CONTEXT_DESCRIPTOR.encode({ TYPE: 1, ...fields });
export const invalidateIotlb = (fields: Fields): Uint32Array => layouts.IOTLB_DESCRIPTOR.encode({ TYPE: 2, ...fields });
export const invalidatePasidIotlb = (fields: Fields): Uint32Array => layouts.PASID_IOTLB_DESCRIPTOR.encode({ TYPE: 6, ...fields });
export const invalidatePasidCache = (fields: Fields): Uint32Array => layouts.PASID_CACHE_DESCRIPTOR.encode({ TYPE: 7, ...fields });

/** A legacy unit with one requester and a 4-level table; everything else is to be mapped. */
export const legacyRig = (options: RigOptions & { readonly context?: Fields; readonly start?: boolean } = {}): Rig & { readonly table: number; readonly entries: { readonly root: number; readonly context: number } } => {
  const rig = new Rig(options);
  const table = rig.page();
  const entries = rig.context({ SSPTPTR: table, ...options.context });
  if (options.start !== false) rig.start();
  return Object.assign(rig, { table, entries });
};

/** A scalable unit whose requester's PASID 0 (no RID_PASID) is bound as `pasid` says, with tables for both stages. */
export const scalableRig = (
  options: RigOptions & { readonly context?: Fields; readonly pasid?: Fields; readonly pasidValue?: number; readonly start?: boolean } = {},
): Rig & { readonly second: number; readonly first: number; readonly at: { readonly root: number; readonly context: number; readonly directory: number; readonly entry: number } } => {
  const rig = new Rig({ base: SCALABLE, ...options });
  const second = rig.page();
  const first = rig.page();
  const { root, context, directory } = rig.scalableContext({ PASIDE: 1, ...options.context });
  const pasid = rig.pasid(directory, options.pasidValue ?? 0, { PGTT: 2, AW: 2, PWSNP: 1, SSPTPTR: second, FSPTPTR: first, ...options.pasid });
  if (options.start !== false) rig.start(1);
  return Object.assign(rig, { second, first, at: { root, context, ...pasid } });
};
