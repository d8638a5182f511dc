import { hex, PHYSICAL_LIMIT, PAGE_SIZE, type Pfn } from "../address.ts";
import { BuddyLists } from "./buddy-lists.ts";
import { FRAME_STATE_NAMES, FrameState, type FrameCounts } from "./frame-state.ts";
import { seededRandom } from "./random.ts";

/** Which frames an allocator hands out. */
export interface FrameAllocatorOptions {
  /** First page number. */
  readonly start: Pfn<"HPA">;
  /** How many frames; at most 2^30. */
  readonly count: number;
  /** Largest block is 2^maxOrder frames. Default 10 (4 MiB), as Linux has it on x86; at most 18 (1 GiB). */
  readonly maxOrder?: number;
}

/**
 * A host kernel's page allocator: a binary buddy system over page frames, and what each frame is in use for.
 * Blocks start at multiples of their size in absolute page numbers, so an order-9 block can back a 2 MiB page.
 * Free → used by `allocate`; used ⇄ shared by `share`/`unshare`; used or shared ⇄ pinned by `pin`/`unpin`;
 * used ⇄ ballooned by `balloon`/`deflate`; used → free by `free`. Every other transition throws and changes nothing.
 */
export class FrameAllocator {
  readonly start: Pfn<"HPA">;
  readonly count: number;
  readonly maxOrder: number;
  /** Page number of index 0: `start` rounded down to the largest block. */
  readonly #origin: number;
  readonly #lists: BuddyLists;
  readonly #state: Uint8Array;
  readonly #owners: Uint32Array;
  readonly #pins: Uint32Array;
  /** Order + 1 of the allocated block that starts at a frame; 0 where none does. */
  readonly #allocated: Uint8Array;
  readonly #counts = new Int32Array(FRAME_STATE_NAMES.length);

  /** @throws RangeError when the range or the largest order is impossible */
  constructor({ start, count, maxOrder = 10 }: FrameAllocatorOptions) {
    if (!Number.isInteger(start) || !Number.isInteger(count) || start < 0 || count < 1 || count > 2 ** 30 || (start + count) * PAGE_SIZE > PHYSICAL_LIMIT)
      throw new RangeError(`${count} frames from page ${start} are impossible: there are 1 to 2^30, and they end at or below page ${hex(PHYSICAL_LIMIT / PAGE_SIZE)}.`);
    if (!Number.isInteger(maxOrder) || maxOrder < 0 || maxOrder > 18) throw new RangeError(`The largest order ${maxOrder} is impossible; it is 0 to 18.`);
    this.start = start;
    this.count = count;
    this.maxOrder = maxOrder;
    const largest = 2 ** maxOrder;
    this.#origin = Math.floor(start / largest) * largest;
    const frames = start - this.#origin + count;
    this.#lists = new BuddyLists(frames, maxOrder);
    this.#state = new Uint8Array(frames);
    this.#owners = new Uint32Array(frames);
    this.#pins = new Uint32Array(frames);
    this.#allocated = new Uint8Array(frames);
    this.#counts[FrameState.Free] = count;
    // From the top down: lists are last in, first out, so low addresses are handed out first.
    for (let end = frames; end > start - this.#origin; ) {
      let order = 0;
      while (order < maxOrder && (end & ((2 << order) - 1)) === 0 && end - (2 << order) >= start - this.#origin) order++;
      end -= 1 << order;
      this.#lists.give(end, order);
    }
  }

  /**
   * Allocates 2^order frames at a multiple of their number, all used with one owner.
   * @returns the first page number, or -1 when no block is large enough: fragmentation is an outcome, not an error
   * @throws RangeError when the order is not 0 to `maxOrder`
   */
  allocate(order = 0): Pfn<"HPA"> {
    if (!Number.isInteger(order) || order < 0 || order > this.maxOrder) throw new RangeError(`Order ${order} is impossible; this allocator has 0 to ${this.maxOrder}.`);
    const index = this.#lists.take(order);
    if (index < 0) return -1;
    this.#occupy(index, order);
    return this.#origin + index;
  }

  /**
   * Frees the block that `allocate` gave as `pfn`, whole.
   * @throws RangeError when it is free already, not the first frame of a block, or a frame in it is pinned, shared or ballooned
   */
  free(pfn: Pfn<"HPA">): void {
    const index = this.#demand(pfn, "freed");
    const order = (this.#allocated[index] as number) - 1;
    if (order < 0) throw new RangeError(`Page ${hex(pfn)} cannot be freed: it is ${this.#name(index)} but not the first frame of an allocated block.`);
    for (let i = index; i < index + 2 ** order; i++)
      if (this.#state[i] !== FrameState.Used) throw new RangeError(`Page ${hex(pfn)} (order ${order}) cannot be freed: page ${hex(this.#origin + i)} of it is ${this.#name(i)}, and only used frames with one owner can be.`);
    for (let i = index; i < index + 2 ** order; i++) {
      this.#owners[i] = 0;
      this.#settle(i, FrameState.Free);
    }
    this.#allocated[index] = 0;
    this.#lists.give(index, order);
  }

  /** Adds an owner. @throws RangeError when the frame is free or ballooned */
  share(pfn: Pfn<"HPA">): void {
    const index = this.#demand(pfn, "shared");
    this.#owners[index] = (this.#owners[index] as number) + 1;
    this.#derive(index);
  }

  /** Takes an owner away; the last one leaves by `free`. @throws RangeError when there is only one */
  unshare(pfn: Pfn<"HPA">): void {
    const index = this.#demand(pfn, "unshared");
    const owners = this.#owners[index] as number;
    if (owners < 2) throw new RangeError(`Page ${hex(pfn)} cannot be unshared: it has one owner, which gives it back with free().`);
    this.#owners[index] = owners - 1;
    this.#derive(index);
  }

  /** Holds a frame in place for DMA; pins are counted. @throws RangeError when the frame is free or ballooned */
  pin(pfn: Pfn<"HPA">): void {
    const index = this.#demand(pfn, "pinned");
    this.#pins[index] = (this.#pins[index] as number) + 1;
    this.#derive(index);
  }

  /** Takes one pin away. @throws RangeError when there is none */
  unpin(pfn: Pfn<"HPA">): void {
    const index = this.#demand(pfn, "unpinned");
    const pins = this.#pins[index] as number;
    if (pins === 0) throw new RangeError(`Page ${hex(pfn)} cannot be unpinned: it is ${this.#name(index)} and has no pin.`);
    this.#pins[index] = pins - 1;
    this.#derive(index);
  }

  /** A guest's balloon gives the frame up. @throws RangeError unless it is used by one owner and not pinned */
  balloon(pfn: Pfn<"HPA">): void {
    const index = this.#demand(pfn, "ballooned");
    if (this.#state[index] !== FrameState.Used) throw new RangeError(`Page ${hex(pfn)} cannot be ballooned: it is ${this.#name(index)}, and only a used frame can be.`);
    this.#settle(index, FrameState.Ballooned);
  }

  /** The balloon lets go: the frame is used again. @throws RangeError when it is not ballooned */
  deflate(pfn: Pfn<"HPA">): void {
    const index = this.#index(pfn);
    if (this.#state[index] !== FrameState.Ballooned) throw new RangeError(`Page ${hex(pfn)} cannot leave the balloon: it is ${this.#name(index)}.`);
    this.#settle(index, FrameState.Used);
  }

  /** What the frame is in use for; a frame both pinned and shared is pinned. */
  stateOf(pfn: Pfn<"HPA">): FrameState {
    return this.#state[this.#index(pfn)] as FrameState;
  }

  /** How many owners the frame has; 0 when free. */
  ownersOf(pfn: Pfn<"HPA">): number {
    return this.#owners[this.#index(pfn)] as number;
  }

  /** How often the frame is pinned. */
  pinsOf(pfn: Pfn<"HPA">): number {
    return this.#pins[this.#index(pfn)] as number;
  }

  /** Free blocks per order, as the columns of /proc/buddyinfo. */
  freeBlocks(): readonly number[] {
    return this.#lists.counts();
  }

  /** How many frames are in each state. */
  counts(): FrameCounts {
    const [free = 0, used = 0, pinned = 0, shared = 0, ballooned = 0] = this.#counts;
    return { free, used, pinned, shared, ballooned, total: this.count };
  }

  /**
   * Fragments free memory: allocates and pins single frames chosen at random, so that few larger blocks are left.
   * @param fraction how many of the free frames, 0 to 1
   * @param seed     the same seed and state choose the same frames
   * @returns the frames, ascending; `unpin` and `free` each to undo
   */
  fragment(fraction: number, seed: number): Pfn<"HPA">[] {
    if (!(fraction >= 0 && fraction <= 1)) throw new RangeError(`A fraction of ${fraction} of the free frames is impossible; it is 0 to 1.`);
    const random = seededRandom(seed);
    const free: number[] = [];
    for (let index = this.start - this.#origin; index < this.#state.length; index++) if (this.#state[index] === FrameState.Free) free.push(index);
    const wanted = Math.floor(free.length * fraction);
    for (let i = 0; i < wanted; i++) {
      const other = i + random(free.length - i);
      [free[i], free[other]] = [free[other] as number, free[i] as number]; // both below free.length
    }
    const chosen = free.slice(0, wanted).sort((a, b) => a - b);
    return chosen.map((index) => {
      this.#lists.takeFrame(index);
      this.#occupy(index, 0);
      this.pin(this.#origin + index);
      return this.#origin + index;
    });
  }

  /**
   * Checks that every frame is in exactly one state, that the states add up to all frames, and that the free lists hold the free frames.
   * @throws Error when not: a defect of this class
   */
  check(): void {
    const counted = new Int32Array(FRAME_STATE_NAMES.length);
    for (let index = this.start - this.#origin; index < this.#state.length; index++) {
      const state = this.#state[index] as number;
      counted[state] = (counted[state] as number) + 1;
    }
    const { total, ...states } = this.counts();
    const sum = Object.values(states).reduce((a, b) => a + b, 0);
    const listed = this.freeBlocks().reduce((frames, blocks, order) => frames + blocks * 2 ** order, 0);
    if (sum !== total || counted.some((n, state) => n !== this.#counts[state]) || listed !== states.free)
      throw new Error(`The frame counts are inconsistent: ${sum} of ${total} frames are in a state, ${listed} are in the free lists, ${states.free} are counted free.`);
  }

  #occupy(index: number, order: number): void {
    for (let i = index; i < index + 2 ** order; i++) {
      this.#owners[i] = 1;
      this.#settle(i, FrameState.Used);
    }
    this.#allocated[index] = order + 1;
  }

  #derive(index: number): void {
    this.#settle(index, (this.#pins[index] as number) > 0 ? FrameState.Pinned : (this.#owners[index] as number) > 1 ? FrameState.Shared : FrameState.Used);
  }

  #settle(index: number, state: FrameState): void {
    const before = this.#state[index] as number; // index is a frame
    this.#counts[before] = (this.#counts[before] as number) - 1;
    this.#counts[state] = (this.#counts[state] as number) + 1;
    this.#state[index] = state;
  }

  #index(pfn: number): number {
    if (!Number.isInteger(pfn) || pfn < this.start || pfn >= this.start + this.count)
      throw new RangeError(`Page ${pfn < 0 ? pfn : hex(pfn)} is not of this allocator; it has pages ${hex(this.start)} to ${hex(this.start + this.count - 1)}.`);
    return pfn - this.#origin;
  }

  /** The index of a frame that is neither free nor ballooned. */
  #demand(pfn: number, done: string): number {
    const index = this.#index(pfn);
    const state = this.#state[index];
    if (state === FrameState.Free || state === FrameState.Ballooned) throw new RangeError(`Page ${hex(pfn)} cannot be ${done}: it is ${this.#name(index)}.`);
    return index;
  }

  #name(index: number): string {
    return FRAME_STATE_NAMES[this.#state[index] as FrameState];
  }
}
