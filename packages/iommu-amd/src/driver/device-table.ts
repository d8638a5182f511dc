import type { RequesterId } from "@iommu-lab/pci-bus";
import type { TableFrames } from "@iommu-lab/pci-bus/paging";
import { DEVICE_TABLE_ENTRY } from "../layouts/index.ts";

const ENTRY_WORDS = 8;
const ENTRIES_A_PAGE = 128;
/** 2^9 pages hold an entry for every DeviceID. */
const TABLE_ORDER = 9;

/** The fields of an entry that say how a function's DMA is translated. */
export type Translation = Readonly<Partial<Record<"Mode" | "HostRoot" | "DomainID" | "IR" | "IW" | "GV" | "GIoV" | "GLX" | "GCR3Low" | "GCR3Mid" | "GCR3High" | "GuestPagingMode", number>>>;
/** Those that say how its interrupts are remapped. */
export type Interrupts = Readonly<Partial<Record<"IntTabRoot" | "IntTabLen", number>>>;

/** Device-TLB, page requests, and whether interrupts are remapped. */
type Flags = Readonly<Record<"I" | "PPR" | "IV", number>>;

/** V and TV with no rights: every access is refused, and recorded. */
export const BLOCKED: Translation = {};

/** The device table: an entry for every DeviceID, so that none is beyond it. AMD-Vi §2.2.2. */
export class DeviceTable {
  readonly page: number;
  readonly #frames: TableFrames;
  readonly #flags: (requester: RequesterId) => Flags;

  /** @param empty interrupt table without entries, for functions that were given none */
  constructor(frames: TableFrames, empty: Interrupts, flags: (requester: RequesterId) => Flags) {
    this.#frames = frames;
    this.#flags = flags;
    this.page = frames.allocate(TABLE_ORDER);
    const blocked = this.#encode(0, BLOCKED, empty);
    for (let i = 0; i < 2 ** TABLE_ORDER; i++) {
      const words = frames.words(this.page + i);
      for (let at = 0; at < ENTRIES_A_PAGE * ENTRY_WORDS; at += ENTRY_WORDS) words.set(blocked, at);
    }
  }

  /** Writes an entry; what makes it valid comes last. The caller invalidates. AMD-Vi §2.2.2.2. */
  write(requester: RequesterId, translation: Translation, interrupts: Interrupts): void {
    const words = this.#frames.words(this.page + Math.floor(requester / ENTRIES_A_PAGE));
    const at = (requester % ENTRIES_A_PAGE) * ENTRY_WORDS;
    const entry = this.#encode(requester, translation, interrupts);
    for (let i = ENTRY_WORDS - 1; i >= 0; i--) words[at + i] = entry[i] as number; // eight words
  }

  #encode(requester: RequesterId, translation: Translation, interrupts: Interrupts): Uint32Array {
    return DEVICE_TABLE_ENTRY.encode({ V: 1, TV: 1, ...this.#flags(requester), ...translation, IntCtl: 2, ...interrupts });
  }
}
