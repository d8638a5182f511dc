import { hex, pageOf, type Pfn } from "../address.ts";
import { PageBitmap } from "./page-bitmap.ts";

/** One consumer's record of the pages written since it last collected them, as KVM's and VFIO's dirty logs keep it: one bit per 4 KiB page. */
export interface DirtyTracker {
  /** Whether page `pfn` was written since this tracker was opened or last collected. */
  isDirty(pfn: Pfn<"HPA">): boolean;
  /** The dirty pages in ascending order; clears them in this tracker only. */
  collect(): Pfn<"HPA">[];
  /**
   * Stops tracking. When no tracker is open, writes pay nothing.
   * @throws TypeError from `isDirty` and `collect` afterwards; closing twice does nothing
   */
  close(): void;
}

/** RAM that tells who wrote what: each consumer (migration, a dirty-tracking domain, a view) opens a tracker of its own. */
export interface DirtyTracking {
  /** Opens a tracker with nothing dirty. */
  trackDirty(): DirtyTracker;
  /** Marks a page written by other means than the write methods: through `page()` or `words`. */
  markDirty(pfn: Pfn<"HPA">): void;
}

/** The open trackers of one memory. Exists only while one is open, so that an untracked write tests one field. */
export class DirtyLog {
  #bitmaps: PageBitmap[] = [];
  /** The page marked last is marked in every tracker, until one collects or opens: a run of writes to it stops here. Callers may ask it first. */
  lastPage = -1;
  readonly #onEmpty: () => void;

  /** @param onEmpty called when the last tracker closes */
  constructor(onEmpty: () => void) {
    this.#onEmpty = onEmpty;
  }

  /** Marks page number `page` in every tracker. */
  mark(page: number): void {
    if (page === this.lastPage) return;
    for (const bitmap of this.#bitmaps) bitmap.set(page);
    this.lastPage = page;
  }

  /** Marks the pages that `length` bytes from `at` touch. */
  markRange(at: number, length: number): void {
    if (length <= 0) return;
    const last = pageOf(at + length - 1);
    for (let page = pageOf(at); page <= last; page++) this.mark(page);
  }

  /** Opens one more tracker. */
  open(): DirtyTracker {
    const bitmap = new PageBitmap();
    this.#bitmaps.push(bitmap);
    this.lastPage = -1;
    let open = true;
    const demandOpen = (what: string): void => {
      if (!open) throw new TypeError(`${what} on a closed dirty tracker; open another with trackDirty().`);
    };
    return {
      isDirty: (pfn) => {
        demandOpen(`isDirty(${hex(pfn)})`);
        return bitmap.has(pfn);
      },
      collect: () => {
        demandOpen("collect()");
        this.lastPage = -1;
        return bitmap.take();
      },
      close: () => {
        if (!open) return;
        open = false;
        this.#bitmaps = this.#bitmaps.filter((other) => other !== bitmap);
        if (this.#bitmaps.length === 0) this.#onEmpty();
      },
    };
  }
}
