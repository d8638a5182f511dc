import type { CachePolicy } from "@iommu-lab/pci-bus";

const ENTRY_WORDS = 4;
const SETS = 16;
const WAYS = 4;
/** Indexes a table can have. */
const INDEXES = 2048;

/** Keeps IRTEs by DeviceID and index, as read; 32-bit entries fill the first word. AMD-Vi §2.4.5 "INVALIDATE_INTERRUPT_TABLE". */
export interface InterruptEntries {
  /** Copies an entry to `out`, or returns false. */
  find(device: number, index: number, out: Uint32Array): boolean;
  insert(device: number, index: number, entry: Uint32Array): void;
  invalidateTable(device: number): void;
  invalidateAll(): void;
}

const NOTHING_KEPT: InterruptEntries = { find: () => false, insert: () => undefined, invalidateTable: () => undefined, invalidateAll: () => undefined };

/** 64 entries in 16 sets; the ways of a set are replaced in turn. */
class SetAssociativeEntries implements InterruptEntries {
  readonly #tags = new Int32Array(SETS * WAYS).fill(-1);
  readonly #words = new Uint32Array(SETS * WAYS * ENTRY_WORDS);
  readonly #next = new Uint8Array(SETS);

  find(device: number, index: number, out: Uint32Array): boolean {
    const tag = device * INDEXES + index;
    const first = (index & (SETS - 1)) * WAYS;
    for (let way = first; way < first + WAYS; way++) {
      if (this.#tags[way] !== tag) continue;
      for (let word = 0; word < ENTRY_WORDS; word++) out[word] = this.#words[way * ENTRY_WORDS + word] as number; // way is below SETS * WAYS
      return true;
    }
    return false;
  }

  insert(device: number, index: number, entry: Uint32Array): void {
    const set = index & (SETS - 1);
    const turn = this.#next[set] as number; // set is masked
    const way = set * WAYS + turn;
    this.#next[set] = (turn + 1) % WAYS;
    this.#tags[way] = device * INDEXES + index;
    for (let word = 0; word < ENTRY_WORDS; word++) this.#words[way * ENTRY_WORDS + word] = entry[word] as number; // four words
  }

  invalidateTable(device: number): void {
    for (let way = 0; way < this.#tags.length; way++) if (Math.floor((this.#tags[way] as number) / INDEXES) === device) this.#tags[way] = -1;
  }

  invalidateAll(): void {
    this.#tags.fill(-1);
  }
}

/** Keeps everything until it is invalidated. */
class UnlimitedEntries implements InterruptEntries {
  readonly #devices = new Map<number, Map<number, Uint32Array>>();

  find(device: number, index: number, out: Uint32Array): boolean {
    const kept = this.#devices.get(device)?.get(index);
    if (kept === undefined) return false;
    out.set(kept);
    return true;
  }

  insert(device: number, index: number, entry: Uint32Array): void {
    let entries = this.#devices.get(device);
    if (entries === undefined) this.#devices.set(device, (entries = new Map<number, Uint32Array>()));
    entries.set(index, entry.slice());
  }

  invalidateTable(device: number): void {
    this.#devices.delete(device);
  }

  invalidateAll(): void {
    this.#devices.clear();
  }
}

/** An empty cache that behaves as `policy` says. */
export const interruptEntries = (policy: CachePolicy): InterruptEntries => {
  if (policy === "none") return NOTHING_KEPT;
  return policy === "realistic" ? new SetAssociativeEntries() : new UnlimitedEntries();
};
