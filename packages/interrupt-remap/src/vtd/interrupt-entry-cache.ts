import type { CachePolicy } from "@iommu-lab/pci-bus";

/** Words of an IRTE. */
const ENTRY_WORDS = 4;
const ALL_INDEXES = 2 ** 16;
const SETS = 16;
const WAYS = 4;

/** Keeps IRTEs by interrupt index, as read: the interrupt entry cache. VT-d §6.2 "Address Translation Caches". */
export interface InterruptEntryCache {
  /** Copies the entry of `index` to `out`, or returns false. */
  find(index: number, out: Uint32Array): boolean;
  /** Keeps an entry that `find` has just missed. */
  insert(index: number, entry: Uint32Array): void;
  invalidateAll(): void;
  /** Drops the 2^maskBits indexes of the aligned block that `index` is in. */
  invalidateIndex(index: number, maskBits: number): void;
}

const NOTHING_KEPT: InterruptEntryCache = { find: () => false, insert: () => undefined, invalidateAll: () => undefined, invalidateIndex: () => undefined };

const copyEntry = (from: Uint32Array, at: number, to: Uint32Array, target: number): void => {
  for (let word = 0; word < ENTRY_WORDS; word++) to[target + word] = from[at + word] as number; // both hold whole entries
};

/** 64 entries in 16 sets; the ways of a set are replaced in turn. */
class SetAssociativeCache implements InterruptEntryCache {
  /** Index kept in each way, -1 for none. */
  readonly #tags = new Int32Array(SETS * WAYS).fill(-1);
  readonly #words = new Uint32Array(SETS * WAYS * ENTRY_WORDS);
  readonly #next = new Uint8Array(SETS);

  find(index: number, out: Uint32Array): boolean {
    const way = this.#wayOf(index);
    if (way < 0) return false;
    copyEntry(this.#words, way * ENTRY_WORDS, out, 0);
    return true;
  }

  insert(index: number, entry: Uint32Array): void {
    const set = index & (SETS - 1);
    const turn = this.#next[set] as number; // set < SETS
    const way = set * WAYS + turn;
    this.#next[set] = (turn + 1) % WAYS;
    this.#tags[way] = index;
    copyEntry(entry, 0, this.#words, way * ENTRY_WORDS);
  }

  invalidateAll(): void {
    this.#tags.fill(-1);
  }

  invalidateIndex(index: number, maskBits: number): void {
    const block = index >>> maskBits;
    for (let way = 0; way < SETS * WAYS; way++) {
      const tag = this.#tags[way] as number; // way < SETS * WAYS
      if (tag >= 0 && tag >>> maskBits === block) this.#tags[way] = -1;
    }
  }

  #wayOf(index: number): number {
    const first = (index & (SETS - 1)) * WAYS;
    for (let way = first; way < first + WAYS; way++) if (this.#tags[way] === index) return way;
    return -1;
  }
}

/** A place for every index there can be. */
class UnlimitedCache implements InterruptEntryCache {
  readonly #kept = new Uint8Array(ALL_INDEXES);
  readonly #words = new Uint32Array(ALL_INDEXES * ENTRY_WORDS);

  find(index: number, out: Uint32Array): boolean {
    if (this.#kept[index] !== 1) return false;
    copyEntry(this.#words, index * ENTRY_WORDS, out, 0);
    return true;
  }

  insert(index: number, entry: Uint32Array): void {
    this.#kept[index] = 1;
    copyEntry(entry, 0, this.#words, index * ENTRY_WORDS);
  }

  invalidateAll(): void {
    this.#kept.fill(0);
  }

  invalidateIndex(index: number, maskBits: number): void {
    const size = 2 ** maskBits;
    const first = Math.floor(index / size) * size;
    this.#kept.fill(0, first, first + size);
  }
}

/** An empty cache that behaves as `policy` says. */
export const interruptEntryCache = (policy: CachePolicy): InterruptEntryCache => {
  if (policy === "none") return NOTHING_KEPT;
  return policy === "realistic" ? new SetAssociativeCache() : new UnlimitedCache();
};
