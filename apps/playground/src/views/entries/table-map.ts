/** A table as cells: which rows hold something, and the one that is used. */
export interface TableMap {
  readonly table: number;
  readonly rows: number;
  readonly used: readonly number[];
  readonly row: number;
}
