import type { Access } from "../transaction.ts";

/** What a page is mapped to. */
export interface PlainMapping {
  readonly frame: number;
  readonly access: Access;
}

/** A domain as a plain map of pages, with what hardware may still remember of it. */
export class PlainMap {
  readonly pages = new Map<number, PlainMapping>();
  /** What pages were mapped to since the last flush and are no longer. */
  readonly stale = new Map<number, PlainMapping[]>();

  /** False, and nothing changes, where something is mapped. */
  map(page: number, frame: number, count: number, access: Access): boolean {
    for (let i = 0; i < count; i++) if (this.pages.has(page + i)) return false;
    for (let i = 0; i < count; i++) {
      this.pages.set(page + i, { frame: frame + i, access });
      this.stale.delete(page + i);
    }
    return true;
  }

  /** How many pages were mapped. */
  unmap(page: number, count: number): number {
    let mapped = 0;
    for (let at = page; at < page + count; at++) {
      const mapping = this.pages.get(at);
      if (mapping === undefined) continue;
      mapped++;
      this.pages.delete(at);
      this.stale.set(at, [...(this.stale.get(at) ?? []), mapping]);
    }
    return mapped;
  }

  flush(): void {
    this.stale.clear();
  }
}
