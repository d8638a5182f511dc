import { FlatMemory, type SparseMemory } from "@iommu-lab/memory";
import type { Register } from "@iommu-lab/memory/registers";
import { Access, AddressType, newTranslation, NO_PASID, type ExplanationStep, type Translation, type TranslationRequest } from "@iommu-lab/pci-bus";
import { AmdIommu, ZEN } from "../src/hardware/index.ts";
import { CMD_BASE, CONTROL, DEVICE_TABLE_ENTRY, DEV_TAB_BASE, EVT_BASE, GCR3_ENTRY } from "../src/layouts/index.ts";

/** The one requester, its domain, and the PASID of guest and nested rows; all arbitrary. */
export const REQUESTER = 0x0108;
export const DOMAIN = 5;
export const PASID = 3;

/** Page numbers of the fixed structures; the device table has three pages. */
const DEVICE_TABLE = 1;
export const COMMAND_PAGE = 4;
const EVENT_PAGE = 5;
export const STATUS = 0x6000;
const FIRST_TABLE = 0x10;

export type AnyMemory = FlatMemory | SparseMemory;

/** Host entries: PR and Next Level in the low word, IR and IW in the high one. */
const HOST_RIGHTS = 3 << 29;
const NEXT_LEVEL_SHIFT = 9;
/** Guest entries: P, R/W, U/S, A, and D in leaves, so that walks have nothing to set. */
const GUEST_TABLE_BITS = 0x27;
const GUEST_LEAF_BITS = 0x67;

/** An IOMMU in front of memory, and the tables behind it, written as words. */
export class Machine {
  readonly memory: AnyMemory;
  readonly iommu: AmdIommu;
  readonly request: TranslationRequest = { requester: REQUESTER, pasid: NO_PASID, addressType: AddressType.Untranslated, page: 0, access: Access.Read };
  readonly out: Translation = newTranslation();
  /** Page numbers of the top tables: host, and guest where it is not nested. */
  readonly host: number;
  readonly guest: number;
  /** The GCR3 entry of `PASID`, in words. */
  readonly gcr3Word: number;
  #nextPage: number;
  /** Guest tables are at guest pages when nested; host pages by guest page. */
  readonly #hostOf = new Map<number, number>();
  #nextGuest = [0, 0, 0, 0, 0];

  /** `host`: one table of four levels. `guest`: PASIDs have tables of their own at host addresses. `nested`: they are guest addresses. */
  constructor(options: { readonly mode: "host" | "guest" | "nested"; readonly memory?: AnyMemory; /** Page number from which on tables are made. */ readonly firstTable?: number; readonly iotlb?: { readonly sets: number; readonly ways: number } }) {
    const { mode } = options;
    this.memory = options.memory ?? new FlatMemory(64 * 2 ** 20);
    this.#nextPage = options.firstTable ?? FIRST_TABLE;
    this.iommu = new AmdIommu({ memory: this.memory, capabilities: ZEN, ...(options.iotlb ? { iotlb: options.iotlb } : {}) });
    this.host = this.page();
    this.guest = this.page();
    const gcr3 = this.page();
    this.gcr3Word = (gcr3 * 4096 + 8 * PASID) / 4;
    if (mode !== "host") this.put(gcr3 * 4096 + 8 * PASID, GCR3_ENTRY.encode({ V: 1, Address: mode === "guest" ? this.guest : this.guestTable(4, 0) }));
    this.put(
      DEVICE_TABLE * 4096 + 32 * REQUESTER,
      DEVICE_TABLE_ENTRY.encode({ V: 1, TV: 1, IR: 1, IW: 1, DomainID: DOMAIN, ...(mode === "guest" ? {} : { Mode: 4, HostRoot: this.host }), ...(mode === "host" ? {} : { GV: 1, GCR3Low: gcr3 & 7, GCR3Mid: gcr3 >>> 3 }) }),
    );
    this.#write(DEV_TAB_BASE, { DevTabBase: DEVICE_TABLE, Size: 2 });
    this.#write(CMD_BASE, { Base: COMMAND_PAGE, Len: 8 });
    this.#write(EVT_BASE, { Base: EVENT_PAGE, Len: 8 });
    this.#write(CONTROL, { IommuEn: 1, EventLogEn: 1, CmdBufEn: 1, GTEn: mode === "host" ? 0 : 1 });
  }

  /** A page for a table. */
  page(): number {
    return this.#nextPage++;
  }

  #write({ layout, offset }: Register, fields: Readonly<Record<string, number>>): void {
    const words = layout.encode(fields);
    this.iommu.registers.write64(offset, words[0] as number, words[1] as number);
  }

  put(address: number, words: Uint32Array): void {
    for (let i = 0; i < words.length; i++) this.memory.write32(address + 4 * i, words[i] as number);
  }

  #entry(address: number, page: number, low: number, high: number): void {
    this.memory.write32(address, (page * 4096 + low) >>> 0);
    this.memory.write32(address + 4, (Math.floor(page / 2 ** 20) | high) >>> 0);
  }

  #next(address: number): number {
    return (this.memory.read32(address) >>> 12) + (this.memory.read32(address + 4) & 0xf_ffff) * 2 ** 20;
  }

  /** Maps one 4 KiB page in the host table's four levels. */
  map(page: number, host: number): void {
    let table = this.host;
    for (let level = 4; level > 1; level--) {
      const address = table * 4096 + 8 * indexAt(page, level);
      if (this.memory.read32(address) === 0) this.#entry(address, this.page(), 1 | ((level - 1) << NEXT_LEVEL_SHIFT), HOST_RIGHTS);
      table = this.#next(address);
    }
    this.#entry(table * 4096 + 8 * indexAt(page, 1), host, 1, HOST_RIGHTS);
  }

  mapGuest(page: number, host: number): void {
    let table = this.guest;
    for (let level = 4; level > 1; level--) {
      const address = table * 4096 + 8 * indexAt(page, level);
      if (this.memory.read32(address) === 0) this.#entry(address, this.page(), GUEST_TABLE_BITS, 0);
      table = this.#next(address);
    }
    this.#entry(table * 4096 + 8 * indexAt(page, 1), host, GUEST_LEAF_BITS, 0);
  }

  /** A guest page number for a guest table of `level`, mapped in the host table. Each level has a guest region 2^39 · 64 bytes from the next: see `spreadPages`. */
  guestTable(level: number, index: number): number {
    const guest = (4 - level) * 64 * 2 ** 27 + index;
    if (!this.#hostOf.has(guest)) {
      const host = this.page();
      this.#hostOf.set(guest, host);
      this.map(guest, host);
    }
    return guest;
  }

  /** Maps a page through both tables: guest tables at guest pages, then guest page to host page. */
  mapNested(page: number, guest: number, host: number): void {
    let table = this.guestTable(4, 0);
    for (let level = 4; ; level--) {
      const address = (this.#hostOf.get(table) ?? NaN) * 4096 + 8 * indexAt(page, level);
      if (level === 1) {
        this.#entry(address, guest, GUEST_LEAF_BITS, 0);
        break;
      }
      if (this.memory.read32(address) === 0) this.#entry(address, this.guestTable(level - 1, (this.#nextGuest[level] = (this.#nextGuest[level] ?? 0) + 1)), GUEST_TABLE_BITS, 0);
      table = this.#next(address);
    }
    this.map(guest, host);
  }

  /** Entries of page tables that a walk for a page reads now, as the IOMMU itself explains it. */
  readsOf(page: number): number {
    const steps: ExplanationStep[] = [];
    this.request.page = page;
    this.iommu.translate(this.request, this.out, { step: (step) => steps.push(step) });
    if (this.out.fault !== 0) throw new Error(`The bench's own page ${page} faults: ${JSON.stringify(steps)}`);
    return steps.filter(({ structure }) => /^(?:host|guest|GCR3) entry/.test(structure)).length;
  }
}

/** Index in the table of `level` of a page number of up to 36 bits. */
const indexAt = (page: number, level: number): number => Math.floor(page / 2 ** (9 * (level - 1))) % 512;
