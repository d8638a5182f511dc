import type { CachePolicy } from "@iommu-lab/pci-bus";
import { Binding, ScalableContext } from "./binding.ts";

/** Entries of the realistic context and PASID caches. */
const REALISTIC_ENTRIES = 256;

/** Counts what may change what a request is bound to: entries claimed, and invalidations of more than pages. */
export class Changes {
  count = 0;
}

const keyOf = (requester: number, pasid: number): number => requester * 0x20_0000 + pasid + 1;

/**
 * The context-cache of legacy mode and the PASID-cache of scalable mode: bindings by requester and PASID. VT-d §6.2.2, §6.2.5.
 * The realistic one replaces the oldest entry; the adversarial one keeps all.
 */
export class BindingCache {
  readonly #policy: CachePolicy;
  readonly #changes: Changes;
  readonly #scratch = new Binding();
  readonly #pool: Binding[];
  #next = 0;
  readonly #byKey = new Map<number, Binding>();
  /** What each requester used last, by bus: a hit costs no hashing. */
  readonly #last: (Binding | undefined)[][] = [];

  constructor(policy: CachePolicy, changes: Changes) {
    this.#policy = policy;
    this.#changes = changes;
    this.#pool = policy === "realistic" ? Array.from({ length: REALISTIC_ENTRIES }, () => new Binding()) : [];
  }

  find(requester: number, pasid: number): Binding | undefined {
    const last = this.#last[requester >>> 8]?.[requester & 0xff];
    if (last !== undefined && last.valid && last.requester === requester && last.pasid === pasid) return last;
    if (this.#policy === "none") return undefined;
    const found = this.#byKey.get(keyOf(requester, pasid));
    if (!found?.valid) return undefined;
    this.#remember(found);
    return found;
  }

  /** An entry to fill in for what `find` has not found. It is cached once `keep` is called with it. */
  claim(requester: number, pasid: number): Binding {
    this.#changes.count++;
    const binding = this.#policy === "realistic" ? this.#recycle() : this.#policy === "adversarial" ? new Binding() : this.#scratch;
    binding.valid = false;
    binding.requester = requester;
    binding.pasid = pasid;
    binding.fault = 0;
    binding.epoch = -1;
    return binding;
  }

  keep(binding: Binding): void {
    if (this.#policy === "none") return;
    binding.valid = true;
    this.#byKey.set(keyOf(binding.requester, binding.pasid), binding);
    this.#remember(binding);
    if (this.#policy === "realistic") this.#next = (this.#next + 1) % REALISTIC_ENTRIES;
  }

  /** Everything kept. */
  get entries(): readonly Binding[] {
    return [...this.#byKey.values()].filter(({ valid }) => valid);
  }

  #remember(binding: Binding): void {
    const bus = (this.#last[binding.requester >>> 8] ??= new Array<undefined>(0x100).fill(undefined));
    bus[binding.requester & 0xff] = binding;
  }

  /** Drops the entries for which `matches` holds. */
  invalidate(matches: (binding: Binding) => boolean): void {
    this.#changes.count++;
    for (const [key, binding] of this.#byKey) {
      if (!matches(binding)) continue;
      binding.valid = false;
      this.#byKey.delete(key);
    }
  }

  #recycle(): Binding {
    const binding = this.#pool[this.#next] as Binding; // next is below the pool's length
    const key = keyOf(binding.requester, binding.pasid);
    if (binding.valid && this.#byKey.get(key) === binding) this.#byKey.delete(key);
    return binding;
  }
}

/** The context-cache of scalable mode. */
export class ScalableContextCache {
  readonly #policy: CachePolicy;
  readonly #changes: Changes;
  readonly #scratch = new ScalableContext();
  /** By bus, then device and function. */
  readonly #slots: ((ScalableContext | undefined)[] | undefined)[] = [];
  /** Requesters with a valid slot, oldest first, for replacement. */
  readonly #order = new Uint16Array(REALISTIC_ENTRIES);
  #count = 0;

  constructor(policy: CachePolicy, changes: Changes) {
    this.#policy = policy;
    this.#changes = changes;
  }

  find(requester: number): ScalableContext | undefined {
    const slot = this.#slots[requester >>> 8]?.[requester & 0xff];
    return slot?.valid ? slot : undefined;
  }

  claim(requester: number): ScalableContext {
    this.#changes.count++;
    const slot = this.#policy === "none" ? this.#scratch : this.#slotOf(requester);
    slot.valid = false;
    slot.requester = requester;
    slot.fault = 0;
    return slot;
  }

  keep(slot: ScalableContext): void {
    if (this.#policy === "none") return;
    slot.valid = true;
    if (this.#policy !== "realistic") return;
    const at = this.#count++ % REALISTIC_ENTRIES;
    const old = this.#slotOf(this.#order[at] as number); // at is below the length
    if (this.#count > REALISTIC_ENTRIES && old !== slot) old.valid = false;
    this.#order[at] = slot.requester;
  }

  /** Everything kept. */
  get entries(): readonly ScalableContext[] {
    return this.#policy === "none" ? [] : this.#slots.flatMap((bus) => bus ?? []).filter((slot) => slot?.valid === true) as ScalableContext[];
  }

  invalidate(matches: (context: ScalableContext) => boolean): void {
    this.#changes.count++;
    for (const bus of this.#slots) for (const slot of bus ?? []) if (slot?.valid && matches(slot)) slot.valid = false;
  }

  #slotOf(requester: number): ScalableContext {
    const bus = (this.#slots[requester >>> 8] ??= new Array<undefined>(0x100).fill(undefined));
    return (bus[requester & 0xff] ??= new ScalableContext());
  }
}
