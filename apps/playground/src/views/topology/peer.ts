import { formatAddress, parseAddress } from "@iommu-lab/pci-bus";
import { peerPath, type PeerPath } from "@iommu-lab/pci-bus/groups";
import { BOX, GAP, type Drawing, type PlacedNode } from "./layout.ts";
import type { Topology } from "./topology.ts";

/** The way of a write from one function to another's memory, in the machine as it is with its edits. */
export const peerOf = ({ edited, policy }: Topology, from: string | undefined, to: string): PeerPath | undefined => {
  const [sender, target] = [from, to].map((name) => (name === undefined ? undefined : parseAddress(name)));
  return sender && target && peerPath(edited.facts, sender, target, policy);
};

const middle = ({ y }: PlacedNode): number => y + BOX.height / 2;
const centre = ({ x }: PlacedNode): number => x + BOX.width / 2;

/** That way along the edges of the tree, as a path of SVG; "" when its functions are not drawn. */
export const peerLine = ({ nodes, roots }: Drawing, { hops, down, end }: PeerPath): string => {
  const placed = new Map(nodes.map((each) => [each.node.name, each]));
  const at = (names: readonly string[]): PlacedNode[] => names.flatMap((name) => placed.get(name) ?? []);
  const [up, below] = [at([...new Set(hops.map((hop) => formatAddress(hop.at)))]), at(down.map(formatAddress))];
  const [first] = up;
  if (!first) return "";
  // Between a bridge and what is below it, and between neighbours, lines bend in front of the lower ones.
  let d = `M${centre(first)} ${middle(first)}`;
  let last = first;
  const go = (next: PlacedNode, bend: PlacedNode): void => {
    d += `H${bend.x - GAP.x / 2}V${middle(next)}H${centre(next)}`;
    last = next;
  };
  for (const next of up.slice(1)) go(next, last);
  for (const [i, next] of below.entries()) go(next, i === 0 ? last : next);
  const root = roots.findLast(({ y }) => y <= last.y);
  return end === "root" && root ? `${d}H${root.x}V${root.y + 20}` : d;
};
