import type { Hpa, Pfn } from "@iommu-lab/memory";
import { indexAt, type AnyLayout, type Fields, type Tables } from "../bench/tables.ts";

/** Where a table stands, and by which page number the table above names it: a guest's tables have two. */
export interface TablePlace {
  readonly page: Pfn<"HPA">;
  readonly named: number;
}

/** How entries of one kind of table are written. */
export interface TableFormat {
  readonly layout: AnyLayout;
  /** An entry that leads to a table of a level. */
  readonly pointer: (level: number, page: number) => Fields;
  /** An entry of a level that maps a page. */
  readonly leaf: (level: number, page: number) => Fields;
  /** The layout of leaves, where it is another. */
  readonly leafLayout?: AnyLayout;
}

/** A mapping to be built. */
export interface Mapping {
  readonly format: TableFormat;
  readonly top: TablePlace;
  /** Levels visited, top first. */
  readonly visited: readonly number[];
  /** First page of what is mapped, and what it becomes. */
  readonly page: number;
  readonly target: number;
}

/** Pages beside the one asked for that are mapped too, so that tables have more than one row. */
const NEIGHBOURS = [1, 2, 5, 14] as const;

/** Maps one page; tables that are missing are made by `table`. */
export const mapPage = (tables: Tables, { format, top, visited, page, target }: Mapping, table: () => TablePlace, known: Map<string, TablePlace>): void => {
  let place = top;
  for (const [i, level] of visited.entries()) {
    const address: Hpa = place.page * 4096 + 8 * indexAt(page, level);
    const next = visited[i + 1];
    if (next === undefined) {
      tables.put(format.leafLayout ?? format.layout, address, format.leaf(level, target));
      return;
    }
    const key = `${place.page} ${indexAt(page, level)}`;
    let below = known.get(key);
    if (!below) {
      below = table();
      known.set(key, below);
      tables.put(format.layout, address, format.pointer(next, below.named));
    }
    place = below;
  }
};

/** Maps a page and some of its neighbours in the same table. */
export const mapAround = (tables: Tables, mapping: Mapping, table: () => TablePlace): void => {
  const leaf = mapping.visited.at(-1) ?? 1;
  const size = 2 ** (9 * (leaf - 1));
  const known = new Map<string, TablePlace>();
  mapPage(tables, mapping, table, known);
  for (const away of NEIGHBOURS) if (indexAt(mapping.page, leaf) + away < 512) mapPage(tables, { ...mapping, page: mapping.page + away * size, target: mapping.target + away * size }, table, known);
};
