import type { Access } from "@iommu-lab/pci-bus";

/** Pages mapped to as many frames in a row. */
export interface MappedRange {
  readonly page: number;
  readonly count: number;
  readonly frame: number;
  readonly access: Access;
}

type Span = Pick<MappedRange, "page" | "count">;

const overlap = (a: Span, b: Span): boolean => a.page < b.page + b.count && b.page < a.page + a.count;

/** What of a range is inside a span, in `inside`, and what is beside it. */
const cut = (range: MappedRange, { page, count }: Span): { readonly inside: MappedRange; readonly beside: readonly MappedRange[] } => {
  const part = (from: number, to: number): MappedRange => ({ ...range, page: from, count: to - from, frame: range.frame + (from - range.page) });
  const end = range.page + range.count;
  const from = Math.max(range.page, page);
  const to = Math.min(end, page + count);
  return { inside: part(from, to), beside: [part(range.page, from), part(to, end)].filter((rest) => rest.count > 0) };
};

/** A domain as a list of ranges: what every driver over every hardware must come to. */
export class PlainRanges {
  mapped: MappedRange[] = [];
  /** Unmapped since the last flush: hardware may still know it, or not. */
  stale: MappedRange[] = [];

  /** False, and nothing changes, where something is mapped. */
  map(range: MappedRange): boolean {
    if (this.mapped.some((other) => overlap(other, range))) return false;
    this.mapped.push(range);
    // A driver that maps where something was unmapped flushes that first.
    this.stale = this.stale.flatMap((old) => (overlap(old, range) ? cut(old, range).beside : [old]));
    return true;
  }

  /** How many pages were mapped. */
  unmap(span: Span): number {
    const gone = this.mapped.filter((range) => overlap(range, span)).map((range) => cut(range, span).inside);
    this.mapped = this.mapped.flatMap((range) => (overlap(range, span) ? cut(range, span).beside : [range]));
    this.stale.push(...gone);
    return gone.reduce((sum, { count }) => sum + count, 0);
  }

  flush(): void {
    this.stale = [];
  }

  at(page: number): MappedRange | undefined {
    return this.mapped.find((range) => overlap(range, { page, count: 1 }));
  }

  staleAt(page: number): readonly MappedRange[] {
    return this.stale.filter((range) => overlap(range, { page, count: 1 }));
  }
}
