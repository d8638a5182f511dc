import type { RootBus, ShownGroup, TopologyNode } from "./topology.ts";

export const BOX = { width: 196, height: 58 } as const;
export const GAP = { x: 40, y: 24 } as const;
const MARGIN = 16;
const HEAD = 30;

export interface PlacedNode {
  readonly node: TopologyNode;
  readonly x: number;
  readonly y: number;
}
interface PlacedRoot {
  readonly name: string;
  readonly x: number;
  readonly y: number;
  /** Down to its last function. */
  readonly last: number;
}
interface Edge {
  readonly from: string;
  readonly to: string;
  readonly d: string;
}
/** A group's shape: boxes around its members, and lines that join them. */
export interface Hull {
  readonly group: ShownGroup;
  readonly boxes: readonly { readonly x: number; readonly y: number }[];
  readonly joints: readonly string[];
}
export interface Drawing {
  readonly width: number;
  readonly height: number;
  readonly roots: readonly PlacedRoot[];
  readonly nodes: readonly PlacedNode[];
  readonly edges: readonly Edge[];
  readonly hulls: readonly Hull[];
}

/** A tree from left to right: every leaf has a row of its own, a bridge stands in the row of its first function below. */
export const drawTree = (buses: readonly RootBus[], groups: readonly ShownGroup[]): Drawing => {
  const nodes: PlacedNode[] = [];
  const edges: Edge[] = [];
  const roots: PlacedRoot[] = [];
  let y = MARGIN;
  const place = (node: TopologyNode, from: string, fromX: number, fromY: number): void => {
    const at = { node, x: MARGIN + GAP.x / 2 + node.depth * (BOX.width + GAP.x), y };
    nodes.push(at);
    const middle = at.y + BOX.height / 2;
    const bend = at.x - GAP.x / 2;
    edges.push({ from, to: node.name, d: `M${fromX} ${fromY}H${bend}V${middle}H${at.x}` });
    node.children.forEach((child, i) => {
      if (i > 0) y += BOX.height + GAP.y;
      place(child, node.name, at.x + BOX.width, middle);
    });
  };
  for (const bus of buses) {
    const top = y;
    y += HEAD;
    for (const node of bus.nodes) {
      place(node, bus.name, MARGIN, y + BOX.height / 2);
      y += BOX.height + GAP.y;
    }
    roots.push({ name: bus.name, x: MARGIN, y: top, last: y - GAP.y - BOX.height / 2 });
    y += GAP.y;
  }
  const placed = new Map(nodes.map((each) => [each.node.name, each]));
  const centre = ({ x, y: top }: PlacedNode): string => `${x + BOX.width / 2} ${top + BOX.height / 2}`;
  const hulls = groups.map((group): Hull => {
    const members = group.members.flatMap((name) => placed.get(name) ?? []).toSorted((a, b) => a.y - b.y || a.x - b.x);
    const joints = members.slice(1).map((member, i) => {
      const above = members.find(({ node }) => node.children.includes(member.node));
      const other = above ?? members[i]!;
      return `M${centre(other)}H${member.x + BOX.width / 2}V${member.y + BOX.height / 2}`;
    });
    return { group, boxes: members.map(({ x, y: top }) => ({ x, y: top })), joints };
  });
  const deepest = nodes.reduce((most, { x }) => Math.max(most, x), 0);
  return { width: deepest + BOX.width + MARGIN, height: y, roots, nodes, edges, hulls };
};
