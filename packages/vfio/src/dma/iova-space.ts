import { hex } from "@iommu-lab/memory";

interface Node {
  readonly first: number;
  readonly last: number;
  below: Node | undefined;
  above: Node | undefined;
}

const FOUR_GIB = 2 ** 32;

/**
 * The allocated and reserved ranges of an I/O address space, in pages, and the search for free ones: top-down below a
 * limit, starting where the last search in that half of the space ended. Linux drivers/iommu/iova.c.
 * Model: ranges form a list with an index by first page; Linux has a red-black tree, whose neighbours are the same.
 */
export class IovaSpace {
  /** Pages below this are never given out. */
  readonly start: number;
  readonly #end: number;
  readonly #below4g: number;
  readonly #nodes = new Map<number, Node>();
  readonly #reserved = new Set<Node>();
  readonly #anchor: Node;
  #hint: Node;
  #hint32: Node;
  /** A search below 4 GiB for this many pages failed; until something is freed there, another one fails too. */
  #failed32: number;
  #probes = 0;

  /**
   * @param granule bytes of a page
   * @param start   first page to give out; at least 1, so that no mapping has address 0
   * @param end     first page past the space
   */
  constructor(granule: number, start: number, end: number) {
    if (!(start >= 1 && start < end)) throw new RangeError(`IOVA pages ${hex(start)} to ${hex(end)} are no space: it starts at 1 or above and is not empty.`);
    this.start = start;
    this.#end = end;
    this.#below4g = FOUR_GIB / granule;
    this.#failed32 = Infinity;
    this.#anchor = { first: end, last: Infinity, below: undefined, above: undefined };
    this.#hint = this.#anchor;
    this.#hint32 = this.#anchor;
  }

  /** Ranges that searches have looked at so far. */
  get probes(): number {
    return this.#probes;
  }

  /** Pages allocated now, reserved ones left out. */
  get allocatedPages(): number {
    let sum = 0;
    for (const node of this.#nodes.values()) if (!this.#reserved.has(node)) sum += node.last - node.first + 1;
    return sum;
  }

  /**
   * Takes `size` pages at a multiple of the next power of two, as high as possible below `limit`.
   * @param limit first page that may not be used
   * @returns the first page, or 0 where there is no room
   */
  allocate(size: number, limit: number): number {
    const bound = Math.min(limit, this.#end);
    const low = bound <= this.#below4g;
    if (low && size >= this.#failed32) return 0;
    const hint = low ? this.#hint32 : this.#hint;
    const found = this.#search(hint, size, bound, this.start) || (hint === this.#anchor ? 0 : this.#search(this.#anchor, size, bound, hint.first));
    if (!found && bound === this.#below4g) this.#failed32 = size;
    return found;
  }

  /** Gives a range back. @throws RangeError where none starts at `first` */
  free(first: number): void {
    const node = this.#nodes.get(first);
    if (!node || this.#reserved.has(node)) throw new RangeError(`No allocated IOVA range starts at page ${hex(first)}.`);
    const above = node.above ?? this.#anchor;
    if (node === this.#hint32 || (node.last < this.#below4g && node.first >= this.#hint32.first)) this.#hint32 = above;
    if (node.first < this.#below4g) this.#failed32 = Infinity;
    if (node === this.#hint || node.first >= this.#hint.first) this.#hint = above;
    above.below = node.below;
    if (node.below) node.below.above = above;
    this.#nodes.delete(first);
  }

  /** Keeps pages `first` to `last` from being given out, whole ranges that overlap joined. Before the first allocation. */
  reserve(first: number, last: number): void {
    let from = first;
    let to = Math.min(last, this.#end - 1);
    if (to < from) return;
    let above = this.#anchor;
    while (above.below && above.below.last >= from) {
      const each = above.below;
      if (each.first > to) {
        above = each;
        continue;
      }
      if (!this.#reserved.has(each)) throw new RangeError(`IOVA pages ${hex(first)} to ${hex(last)} are allocated already; reserve before allocating.`);
      from = Math.min(from, each.first);
      to = Math.max(to, each.last);
      this.#reserved.delete(each);
      this.#nodes.delete(each.first);
      above.below = each.below;
      if (each.below) each.below.above = above;
    }
    this.#reserved.add(this.#insert(from, to, above));
    this.#hint = this.#anchor;
    this.#hint32 = this.#anchor;
  }

  /** Looks from just below `above` down to `floor`. */
  #search(from: Node, size: number, limit: number, floor: number): number {
    const align = 2 ** Math.ceil(Math.log2(size));
    let above = from;
    let high = Math.min(limit, above.first);
    for (;;) {
      this.#probes++;
      const first = Math.floor((high - size) / align) * align;
      const below = above.below;
      if (first >= this.start && (!below || first > below.last)) {
        const made = this.#insert(first, first + size - 1, above);
        if (made.last < this.#below4g) this.#hint32 = made;
        else this.#hint = made;
        return first;
      }
      if (!below || first < floor) return 0;
      above = below;
      high = Math.min(limit, above.first);
    }
  }

  #insert(first: number, last: number, above: Node): Node {
    const node: Node = { first, last, below: above.below, above };
    if (above.below) above.below.above = node;
    above.below = node;
    this.#nodes.set(first, node);
    return node;
  }
}
