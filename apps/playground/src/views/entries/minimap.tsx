import type { VNode } from "preact";
import type { Language } from "../../text/words.ts";
import { hex } from "./edits.ts";
import type { TableMap } from "./table-map.ts";
import { entryWords } from "./text.ts";
import "./entries.css";

/** Rows of a table are drawn so many a line. */
const COLUMNS = 32;

const cell = (row: number): string => `M${row % COLUMNS} ${Math.floor(row / COLUMNS)}h1v1h-1z`;

/** A table of 64 to 512 rows at a glance. */
export const Minimap = ({ map, language }: { readonly map: TableMap; readonly language: Language }): VNode => {
  const say = entryWords(language);
  const lines = Math.ceil(map.rows / COLUMNS);
  return (
    <svg class="drawing minimap" role="img" viewBox={`-0.5 -0.5 ${COLUMNS + 1} ${lines + 1}`} width={COLUMNS * 6} height={lines * 6}>
      <title>{`${say("map", { table: hex(map.table), count: map.rows, row: map.row })}; ${say("filled", { filled: map.used.length })}`}</title>
      <rect class="page" x={0} y={0} width={COLUMNS} height={lines} stroke-width={0.2} />
      <path class="used" d={map.used.map(cell).join("")} />
      <path class="here" d={cell(map.row)} />
    </svg>
  );
};
