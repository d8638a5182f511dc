import { functionName, idsOf } from "../../host/function-name.ts";
import { className } from "../../host/class-names.ts";
import type { Language } from "../../text/words.ts";
import { badgeText } from "./acs-badges.ts";
import { topologyWords } from "./text.ts";
import { flatten, type Topology, type TopologyNode } from "./topology.ts";

/** A line of the table of functions. */
export interface FunctionRow {
  readonly node: TopologyNode;
  readonly what: string;
  readonly group: string;
  readonly acs: string;
  readonly driver: string;
  readonly unit: string;
  readonly marks: readonly string[];
}

const marksOf = ({ fn, was, name }: TopologyNode, topology: Topology, language: Language): string[] => {
  const say = topologyWords(language);
  return [
    ...(was === undefined ? [] : [say("was", { address: was })]),
    ...(topology.edited.added.has(name) ? [say("added")] : []),
    ...(fn?.bootVga ? [say("bootVga")] : []),
    ...(fn?.resetMethods === undefined ? [] : [fn.resetMethods.length > 0 ? say("reset", { methods: fn.resetMethods.join(" ") }) : say("noReset")]),
    ...(topology.firmware.reserved.get(was ?? name) ?? []),
  ];
};

/** Every function in the order of the tree. */
export const functionRows = (topology: Topology, language: Language): FunctionRow[] => {
  const say = topologyWords(language);
  return flatten(topology.roots.flatMap(({ nodes }) => nodes)).map((node) => {
    const group = topology.groupOf.get(node.name);
    return {
      node,
      what: node.fn ? functionName(node.fn, language) : `${className(node.facts.classCode, language)} [${idsOf(node.facts)}]`,
      group: group?.label ?? (topology.ungrouped.has(node.name) ? say("noGroup") : say("unknownGroup")),
      acs: badgeText(node.facts),
      driver: node.fn?.driver ?? "",
      unit: topology.firmware.unitOf.get(node.was ?? node.name) ?? "",
      marks: marksOf(node, topology, language),
    };
  });
};
