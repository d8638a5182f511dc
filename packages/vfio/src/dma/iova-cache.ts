/** Ranges in one magazine. Linux IOVA_MAG_SIZE. */
const MAGAZINE_SIZE = 127;
/** Full magazines that wait in the depot for one size. */
const DEPOT_SIZE = 32;

interface Magazines {
  loaded: number[];
  previous: number[];
}

/**
 * Freed IOVA ranges of one size, kept for the next allocation: per processor two magazines, and a depot of full ones that
 * processors share. Linux drivers/iommu/iova.c, after Bonwick's magazine layer.
 */
export class IovaCache {
  readonly #processors: Magazines[];
  readonly #depot: number[][] = [];

  constructor(processors: number) {
    this.#processors = Array.from({ length: processors }, () => ({ loaded: [], previous: [] }));
  }

  /** A range whose first page is at most `last`, or 0. */
  take(processor: number, last: number): number {
    const own = this.#of(processor);
    if (own.loaded.length === 0) {
      if (own.previous.length > 0) swap(own);
      else own.loaded = this.#depot.pop() ?? own.loaded;
    }
    const { loaded } = own;
    for (let at = loaded.length - 1; at >= 0; at--) {
      const first = loaded[at] as number;
      if (first > last) continue;
      loaded[at] = loaded.at(-1) as number;
      loaded.pop();
      return first;
    }
    return 0;
  }

  /** Keeps a range. What is returned no longer fits and is the caller's to free. */
  put(processor: number, first: number): readonly number[] {
    const own = this.#of(processor);
    let overflow: readonly number[] = [];
    if (own.loaded.length === MAGAZINE_SIZE) {
      if (own.previous.length < MAGAZINE_SIZE) swap(own);
      else {
        if (this.#depot.length < DEPOT_SIZE) this.#depot.push(own.loaded);
        else overflow = own.loaded;
        own.loaded = [];
      }
    }
    own.loaded.push(first);
    return overflow;
  }

  /** Empties the cache: everything it held. */
  drain(): readonly number[] {
    const held = this.#depot.splice(0).flat();
    for (const own of this.#processors) {
      held.push(...own.loaded, ...own.previous);
      own.loaded = [];
      own.previous = [];
    }
    return held;
  }

  #of(processor: number): Magazines {
    const own = this.#processors[processor];
    if (!own) throw new RangeError(`Processor ${processor} is none of the ${this.#processors.length} this IOVA allocator was made for.`);
    return own;
  }
}

const swap = (own: Magazines): void => {
  const { loaded } = own;
  own.loaded = own.previous;
  own.previous = loaded;
};
