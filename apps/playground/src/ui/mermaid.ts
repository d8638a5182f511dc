/** Graphs as Mermaid's text, for documents that draw it. https://mermaid.js.org/syntax/flowchart.html */

/** A box: its lines. */
interface MermaidNode {
  readonly id: string;
  readonly lines: readonly string[];
  /** Where something ends badly. */
  readonly fails?: boolean;
}

interface MermaidGraph {
  readonly direction: "LR" | "TD";
  readonly nodes: readonly MermaidNode[];
  readonly edges: readonly (readonly [from: string, to: string])[];
  /** Frames around nodes; a node is in one at most. */
  readonly frames?: readonly { readonly id: string; readonly title: string; readonly members: readonly string[] }[];
}

/** Text between quotes. What Mermaid or HTML would take for theirs is told by its number; lines that a paste may hold become one. */
const quoted = (text: string): string => text.replace(/\s+/g, " ").replace(/[^\p{L}\p{M}\p{N} .,:()[\]/=+*?!'_-]/gu, (character) => `#${character.codePointAt(0) ?? 0};`);

const FAILS = "classDef fails stroke:#a3161f,stroke-width:3px";

/** A flowchart's text. Ids are letters and digits. */
export const flowchart = ({ direction, nodes, edges, frames = [] }: MermaidGraph): string => [
  `flowchart ${direction}`,
  ...nodes.map(({ id, lines, fails }) => `  ${id}["${lines.filter((line) => line !== "").map(quoted).join("<br/>")}"]${fails ? ":::fails" : ""}`),
  ...edges.map(([from, to]) => `  ${from} --> ${to}`),
  ...frames.flatMap(({ id, title, members }) => [`  subgraph ${id} ["${quoted(title)}"]`, ...members.map((member) => `    ${member}`), "  end"]),
  ...(nodes.some(({ fails }) => fails) ? [`  ${FAILS}`] : []),
  "",
].join("\n");
