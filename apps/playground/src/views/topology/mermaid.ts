import type { Language } from "../../text/words.ts";
import { flowchart } from "../../ui/mermaid.ts";
import { functionRows } from "./function-rows.ts";
import { topologyWords } from "./text.ts";
import type { Topology } from "./topology.ts";

/** The tree of functions, with a frame around each group of more than one. */
export const mermaidOf = (topology: Topology, language: Language): string => {
  const say = topologyWords(language);
  const rows = functionRows(topology, language);
  const idOf = new Map(rows.map(({ node }, i) => [node.name, `f${i}`]));
  const ids = (names: readonly string[]): string[] => names.flatMap((name) => idOf.get(name) ?? []);
  return flowchart({
    direction: "LR",
    nodes: [...topology.roots.map(({ name }, i) => ({ id: `r${i}`, lines: [say("root", { name })] })), ...rows.map(({ node, what, acs, driver }) => ({ id: idOf.get(node.name) ?? "", lines: [node.name, what, acs, driver] }))],
    edges: [...topology.roots.flatMap(({ nodes }, i) => ids(nodes.map(({ name }) => name)).map((id) => [`r${i}`, id] as const)), ...rows.flatMap(({ node }) => ids(node.children.map(({ name }) => name)).map((id) => [idOf.get(node.name) ?? "", id] as const))],
    frames: topology.groups.filter(({ members }) => members.length > 1).map(({ label, members }, i) => ({ id: `g${i}`, title: say("group", { label }), members: ids(members) })),
  });
};
