/**
 * The free lists of a buddy allocator: blocks of 2^order frames at multiples of their size, one doubly linked list per order.
 * Frames are counted by index; links live in typed arrays and are kept as index + 1, so that untouched frames cost no resident memory.
 */
export class BuddyLists {
  readonly maxOrder: number;
  readonly #heads: Int32Array;
  readonly #counts: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** Order + 1 of the free block that starts at a frame; 0 where none does. */
  readonly #order: Uint8Array;

  constructor(frames: number, maxOrder: number) {
    this.maxOrder = maxOrder;
    this.#heads = new Int32Array(maxOrder + 1);
    this.#counts = new Int32Array(maxOrder + 1);
    this.#next = new Int32Array(frames);
    this.#previous = new Int32Array(frames);
    this.#order = new Uint8Array(frames);
  }

  /** Free blocks per order, as the columns of /proc/buddyinfo. */
  counts(): number[] {
    return [...this.#counts];
  }

  /** Order of the free block that starts at frame `index`, or -1. */
  orderAt(index: number): number {
    return (this.#order[index] ?? 0) - 1;
  }

  /** Takes a block of `order`, splitting the smallest larger one; its first frame, or -1 when there is none. */
  take(order: number): number {
    for (let from = order; from <= this.maxOrder; from++) {
      const head = this.#heads[from] as number; // from is at most maxOrder
      if (head === 0) continue;
      this.#unlink(head - 1, from);
      this.#split(head - 1, from, order, head - 1);
      return head - 1;
    }
    return -1;
  }

  /** Takes exactly frame `index` out of the free block around it; false when it is not free. */
  takeFrame(index: number): boolean {
    for (let order = 0; order <= this.maxOrder; order++) {
      const start = index & -(1 << order);
      if (this.orderAt(start) !== order) continue;
      this.#unlink(start, order);
      this.#split(start, order, 0, index);
      return true;
    }
    return false;
  }

  /** Gives a block back and joins it with its free buddies. */
  give(index: number, order: number): void {
    let start = index;
    let size = order;
    while (size < this.maxOrder && this.orderAt(start ^ (1 << size)) === size) {
      this.#unlink(start ^ (1 << size), size);
      start &= ~(1 << size);
      size++;
    }
    this.#link(start, size);
  }

  /** Halves the block at `start` until the one that holds `keep` has the order `to`; the other halves become free. */
  #split(start: number, from: number, to: number, keep: number): void {
    let at = start;
    for (let order = from - 1; order >= to; order--) {
      const upper = at + (1 << order);
      if (keep >= upper) {
        this.#link(at, order);
        at = upper;
      } else this.#link(upper, order);
    }
  }

  #link(index: number, order: number): void {
    const head = this.#heads[order] as number; // order is at most maxOrder
    this.#next[index] = head;
    this.#previous[index] = 0;
    if (head !== 0) this.#previous[head - 1] = index + 1;
    this.#heads[order] = index + 1;
    this.#order[index] = order + 1;
    this.#counts[order] = (this.#counts[order] as number) + 1;
  }

  #unlink(index: number, order: number): void {
    const next = this.#next[index] as number; // index is a frame
    const previous = this.#previous[index] as number;
    if (next !== 0) this.#previous[next - 1] = previous;
    if (previous !== 0) this.#next[previous - 1] = next;
    else this.#heads[order] = next;
    this.#order[index] = 0;
    this.#counts[order] = (this.#counts[order] as number) - 1;
  }
}
