import type { ComponentChild, VNode } from "preact";

/** A table with a caption; rows of cells. `current` rows are lit. */
export const Table = ({ caption, heads, rows, current, onRow }: { readonly caption: string; readonly heads: readonly string[]; readonly rows: readonly (readonly ComponentChild[])[]; readonly current?: ReadonlySet<number>; readonly onRow?: (index: number) => void }): VNode => (
  <div class="table" role="region" aria-label={caption} tabIndex={0}>
    <table>
      <caption>{caption}</caption>
      <thead><tr>{heads.map((head) => <th scope="col" key={head}>{head}</th>)}</tr></thead>
      <tbody>
        {rows.map((cells, i) => (
          <tr key={i} class={current?.has(i) ? "lit" : undefined} aria-current={current?.has(i) ? "true" : undefined}>
            {cells.map((cell, j) => <td key={j}>{j === 0 && onRow ? <button type="button" class="link" onClick={() => { onRow(i); }}>{cell}</button> : cell}</td>)}
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

/** The same as text: columns by tabs, as spreadsheets take it. */
export const tableText = (heads: readonly string[], rows: readonly (readonly (string | number)[])[]): string => [heads, ...rows].map((row) => row.join("\t")).join("\n");
