import { FlatMemory, type SparseMemory } from "@iommu-lab/memory";
import { Access, AddressType, newTranslation, NO_PASID, type CachePolicy, type ExplanationStep, type Translation, type TranslationRequest } from "@iommu-lab/pci-bus";
import { LEGACY, SCALABLE, VtdUnit } from "../src/hardware/index.ts";
import { CONTEXT_ENTRY, GCMD_REG, IQA_REG, IQT_REG, PASID_DIRECTORY_ENTRY, PASID_ENTRY, ROOT_ENTRY, RTADDR_REG, SCALABLE_CONTEXT_ENTRY, SCALABLE_ROOT_ENTRY } from "../src/layouts/index.ts";

/** The one requester, its domain, and the PASID of first-stage and nested rows; all arbitrary. */
export const REQUESTER = 0x0108;
export const DOMAIN = 5;
export const PASID = 3;

/** Page numbers of the fixed structures. */
const ROOT = 1;
export const QUEUE_PAGE = 2;
export const STATUS = 0x3000;
const FIRST_TABLE = 0x10;

export type AnyMemory = FlatMemory | SparseMemory;

/** Low bits of entries. Second stage: R, W. First stage: P, R/W, U/S, A, and D in leaves, so that walks have nothing to set. */
const SECOND_BITS = 3;
const FIRST_TABLE_BITS = 0x27;
const FIRST_LEAF_BITS = 0x67;

/** A unit in front of memory, and the tables behind it, written as words. */
export class Machine {
  readonly memory: AnyMemory;
  readonly unit: VtdUnit;
  readonly request: TranslationRequest = { requester: REQUESTER, pasid: NO_PASID, addressType: AddressType.Untranslated, page: 0, access: Access.Read };
  readonly out: Translation = newTranslation();
  /** Page numbers of the top tables. */
  readonly second: number;
  readonly first: number;
  #nextPage: number;
  /** First-stage tables are at guest pages when nested; host pages by guest page. */
  readonly #hostOf = new Map<number, number>();
  #nextGuest = [0, 0, 0, 0, 0];

  constructor(options: { readonly mode: "legacy" | "scalable"; readonly memory?: AnyMemory; /** Page number from which on tables are made. */ readonly firstTable?: number; readonly caches?: CachePolicy; readonly iotlb?: { readonly sets: number; readonly ways: number } }) {
    this.memory = options.memory ?? new FlatMemory(64 * 2 ** 20);
    this.#nextPage = options.firstTable ?? FIRST_TABLE;
    const { memory } = this;
    this.unit = new VtdUnit({ memory, capabilities: options.mode === "legacy" ? LEGACY : SCALABLE, ...(options.caches ? { caches: options.caches } : {}), ...(options.iotlb ? { iotlb: options.iotlb } : {}) });
    this.second = this.page();
    this.first = this.page();
    if (options.mode === "legacy") this.#bindLegacy();
    else this.#bindScalable();
  }

  /** A page for a table. */
  page(): number {
    return this.#nextPage++;
  }

  #bindLegacy(): void {
    const table = this.page();
    this.put(ROOT * 4096 + 16 * (REQUESTER >>> 8), ROOT_ENTRY.encode({ P: 1, CTP: table }));
    this.put(table * 4096 + 16 * (REQUESTER & 255), CONTEXT_ENTRY.encode({ P: 1, AW: 2, DID: DOMAIN, SSPTPTR: this.second }));
    this.#start(0);
  }

  /** PASID 0 (requests without one) is second-stage, PASID 1 first-stage, `PASID` nested. */
  #bindScalable(): void {
    const [contexts, directory, table] = [this.page(), this.page(), this.page()];
    this.put(ROOT * 4096 + 16 * (REQUESTER >>> 8), SCALABLE_ROOT_ENTRY.encode({ LP: 1, LCTP: contexts }));
    this.put(contexts * 4096 + 32 * (REQUESTER & 127), SCALABLE_CONTEXT_ENTRY.encode({ P: 1, PASIDE: 1, PASIDDIRPTR: directory }));
    this.put(directory * 4096, PASID_DIRECTORY_ENTRY.encode({ P: 1, SMPTBLPTR: table }));
    for (const [pasid, kind, top] of [[0, 2, this.first], [1, 1, this.first], [PASID, 3, this.guestTable(4, 0)]] as const)
      this.put(table * 4096 + 64 * pasid, PASID_ENTRY.encode({ P: 1, PGTT: kind, AW: 2, DID: DOMAIN, PWSNP: 1, SSPTPTR: this.second, FSPTPTR: top }));
    this.#start(1);
  }

  #start(mode: number): void {
    const write = (offset: number, words: Uint32Array): void => {
      this.unit.registers.write64(offset, words[0] as number, words[1] as number);
    };
    write(RTADDR_REG.offset, RTADDR_REG.layout.encode({ RTA: ROOT, TTM: mode }));
    write(IQA_REG.offset, IQA_REG.layout.encode({ IQA: QUEUE_PAGE, DW: mode }));
    write(IQT_REG.offset, IQT_REG.layout.encode({ QT: 0 }));
    for (const command of [{ SRTP: 1 }, { QIE: 1 }, { QIE: 1, TE: 1 }]) this.unit.registers.write(GCMD_REG.offset, 4, GCMD_REG.layout.encode(command)[0] as number);
  }

  put(address: number, words: Uint32Array): void {
    for (let i = 0; i < words.length; i++) this.memory.write32(address + 4 * i, words[i] as number);
  }

  #entry(address: number, page: number, low: number): void {
    this.memory.write32(address, (page * 4096 + low) >>> 0);
    this.memory.write32(address + 4, Math.floor(page / 2 ** 20));
  }

  #next(address: number): number {
    return (this.memory.read32(address) >>> 12) + this.memory.read32(address + 4) * 2 ** 20;
  }

  /** Maps one 4 KiB page in four levels. @returns the address of its leaf entry */
  map(top: number, page: number, host: number, tableBits = SECOND_BITS, leafBits = SECOND_BITS): number {
    let table = top;
    for (let level = 4; ; level--) {
      const address = table * 4096 + 8 * indexAt(page, level);
      if (level === 1) {
        this.#entry(address, host, leafBits);
        return address;
      }
      if (this.memory.read32(address) === 0) this.#entry(address, this.page(), tableBits);
      table = this.#next(address);
    }
  }

  mapFirst(page: number, host: number): void {
    this.map(this.first, page, host, FIRST_TABLE_BITS, FIRST_LEAF_BITS);
  }

  /** A guest page number for a first-stage table of `level`, mapped in the second stage. Each level has a guest region 2^39 · 64 bytes from the next: see `spreadPages`. */
  guestTable(level: number, index: number): number {
    const guest = (4 - level) * 64 * 2 ** 27 + index;
    if (!this.#hostOf.has(guest)) {
      const host = this.page();
      this.#hostOf.set(guest, host);
      this.map(this.second, guest, host);
    }
    return guest;
  }

  /** Maps a page through both stages: first-stage tables of guest pages, then guest page to host page. */
  mapNested(page: number, guest: number, host: number): void {
    let table = this.guestTable(4, 0);
    for (let level = 4; ; level--) {
      const address = (this.#hostOf.get(table) ?? NaN) * 4096 + 8 * indexAt(page, level);
      if (level === 1) {
        this.#entry(address, guest, FIRST_LEAF_BITS);
        break;
      }
      if (this.memory.read32(address) === 0) this.#entry(address, this.guestTable(level - 1, (this.#nextGuest[level] = (this.#nextGuest[level] ?? 0) + 1)), FIRST_TABLE_BITS);
      table = this.#next(address);
    }
    this.map(this.second, guest, host);
  }

  /** Entries of page tables that a walk for a page reads now, as the unit itself explains it. */
  readsOf(page: number): number {
    const steps: ExplanationStep[] = [];
    this.request.page = page;
    this.unit.translate(this.request, this.out, { step: (step) => steps.push(step) });
    if (this.out.fault !== 0) throw new Error(`The bench's own page ${page} faults: ${JSON.stringify(steps)}`);
    return steps.filter(({ structure }) => structure.includes("-stage entry")).length;
  }
}

/** Index in the table of `level` of a page number of up to 36 bits. */
const indexAt = (page: number, level: number): number => Math.floor(page / 2 ** (9 * (level - 1))) % 512;
