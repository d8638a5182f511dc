import type { VNode } from "preact";
import type { Language } from "../../text/words.ts";
import type { FunctionRow } from "./function-rows.ts";
import { topologyWords } from "./text.ts";
import type { Topology, TopologyNode } from "./topology.ts";

interface TreeProps {
  readonly rows: ReadonlyMap<string, FunctionRow>;
  readonly language: Language;
  readonly selected: string | undefined;
  readonly lit: ReadonlySet<string>;
  readonly onSelect: (name: string) => void;
}

const Branch = ({ node, ...props }: TreeProps & { readonly node: TopologyNode }): VNode => {
  const say = topologyWords(props.language);
  const row = props.rows.get(node.name);
  return (
    <li class={props.lit.has(node.name) ? "lit" : undefined}>
      <button type="button" class="link mono" aria-pressed={node.name === props.selected} onClick={() => { props.onSelect(node.name); }}>{node.name}</button> {row?.what} <small>{row && say("group", { label: row.group })}</small>
      {node.children.length > 0 && <details open><summary>{say("below", { count: node.children.length })}</summary><Branches nodes={node.children} {...props} /></details>}
    </li>
  );
};

const Branches = ({ nodes, ...props }: TreeProps & { readonly nodes: readonly TopologyNode[] }): VNode => <ul>{nodes.map((node) => <Branch key={node.name} node={node} {...props} />)}</ul>;

/** The drawing where there is no room for one: functions below functions, each to be folded away. */
export const TopologyTree = ({ topology, ...props }: TreeProps & { readonly topology: Topology }): VNode => {
  const say = topologyWords(props.language);
  return (
    <div class="tree" role="group" aria-label={say("drawing")}>
      {topology.roots.map(({ name, nodes }) => <details key={name} open><summary>{say("root", { name })}</summary><Branches nodes={nodes} {...props} /></details>)}
    </div>
  );
};
