import { Acs, judgePeer, type PeerVerdict } from "../model/acs.ts";
import { RoutingRule } from "../model/routing-rules.ts";
import { PcieType } from "../pcie-type.ts";
import { busOf, compareAddresses, devfnOf, type FunctionAddress } from "../requester-id.ts";
import { isIntelSptRootPort, isPort, judgeAcs } from "./acs-rules.ts";
import type { FunctionFacts } from "./facts.ts";
import type { GroupingPolicy } from "./policy.ts";

/** What one function or port does with a memory request on its way up. */
export interface PeerHop {
  readonly at: FunctionAddress;
  readonly decision: "sent" | "forwarded" | "direct" | "redirected" | "blocked" | "unknown";
  /** Why, with the section of the specification or what is not known. */
  readonly rule: string;
}

/** The way of a memory request from one function to the memory of another. */
export interface PeerPath {
  /** At the peer, past every IOMMU; at the root complex, where an IOMMU judges it; nowhere; or the source does not say. */
  readonly end: "peer" | "root" | "blocked" | "unknown";
  /** From the sender up to where it turns or ends. */
  readonly hops: readonly PeerHop[];
  /** Bridges that it goes down through, and the peer last; empty unless it ends there. */
  readonly down: readonly FunctionAddress[];
}

type Judgement = PeerVerdict | { readonly decision: "unknown"; readonly rule: string };

const UNSEEN: Judgement = { decision: "unknown", rule: "ACS cannot be seen" };
const UNKNOWN_BRIDGE: Judgement = { decision: "unknown", rule: "the PCI Express capability cannot be seen" };
const VECTOR: Judgement = { decision: "unknown", rule: "P2P Egress Control is on, and its vector cannot be seen" };

const same = (a: FunctionAddress, b: FunctionAddress): boolean => compareAddresses(a, b) === 0;

const registersOf = ({ acs, vendor, device, family, portType }: FunctionFacts): { readonly capability: number; readonly control: number } | "none" | "unknown" => {
  if (typeof acs === "string") return acs;
  const { capability, control } = (portType === PcieType.RootPort && isIntelSptRootPort(vendor, device, family) ? acs.wide : undefined) ?? acs;
  return capability === undefined || control === undefined ? "unknown" : { capability, control };
};

/** A function and the bridges above it, from below. */
const pathUp = (from: FunctionFacts, facts: readonly FunctionFacts[]): FunctionFacts[] => {
  const path = [from];
  for (let above = from.parent; above && path.length < 256; above = path.at(-1)?.parent) {
    const parent = above;
    const found = facts.find(({ address }) => same(address, parent));
    if (!found || path.includes(found)) break;
    path.push(found);
  }
  return path;
};

/** Whether two functions reach each other without going up: below one bridge, or of one device of a root bus. */
const areNeighbours = (a: FunctionFacts, b: FunctionFacts): boolean => {
  if (a === b || a.address.domain !== b.address.domain) return false;
  if (a.parent ?? b.parent) return a.parent !== undefined && b.parent !== undefined && same(a.parent, b.parent);
  return busOf(a.address.requester) === busOf(b.address.requester) && devfnOf(a.address.requester) >> 3 === devfnOf(b.address.requester) >> 3;
};

/** What the function does with a request for its neighbour; `above` is the bridge of their bus. */
const judge = (node: FunctionFacts, above: FunctionFacts | undefined, facts: readonly FunctionFacts[], policy: GroupingPolicy): Judgement => {
  if (above && (above.portType === "none" || above.portType === PcieType.PcieToPciBridge)) return { decision: "direct", rule: RoutingRule.SharedBus };
  if (above?.portType === "unknown") return UNKNOWN_BRIDGE;
  const registers = registersOf(node);
  if (registers === "unknown" || node.portType === "unknown") return UNSEEN;
  const switchPort = node.portType === PcieType.DownstreamPort;
  const virtualized = above !== undefined && !switchPort && facts.some((f) => f.physicalFunction !== undefined && (f === node || areNeighbours(f, node)));
  if (registers === "none" && !virtualized && (node.multifunction || isPort(node))) {
    // What a vendor states of functions without the capability, device by device; an override states nothing of the hardware.
    const stated = judgeAcs(node, policy);
    if (stated.isolated === "unknown") return { decision: "unknown", rule: stated.rule };
    if (stated.isolated && stated.unsafe !== true) return { decision: "redirected", rule: stated.rule };
  }
  const verdict = judgePeer({ switchPort, virtualized, acs: registers === "none" ? undefined : registers }, false);
  return verdict === "vector" ? VECTOR : verdict;
};

/** A bridge that a request enters from below though its target is below it too. PCIe §6.12.1.1, PCI-to-PCI Bridge Architecture §4.1. */
const turnBack = (bridge: FunctionFacts, redirected: boolean): Omit<PeerHop, "at"> | undefined => {
  if (isPort(bridge)) {
    const registers = registersOf(bridge);
    if (registers === "unknown") return UNSEEN;
    return registers !== "none" && registers.control & Acs.UpstreamForwarding ? { decision: "redirected", rule: RoutingRule.UpstreamForwarding } : { decision: "blocked", rule: RoutingRule.NoUpstreamForwarding };
  }
  if (bridge.portType === "unknown") return UNKNOWN_BRIDGE;
  return bridge.portType === PcieType.UpstreamPort && redirected ? undefined : { decision: "blocked", rule: RoutingRule.OwnWindow };
};

/**
 * Follows an untranslated memory request from one function to an address of another's BARs, by ACS as it is set.
 * It judges as `computeIsolationGroups` does not: that one asks what Linux asks, this one what the packet does.
 * Model: bus mastering and memory decoding are on; functions of different devices of a root bus meet in the root complex.
 * @param facts all functions of the host
 * @returns undefined when the two are one, or not both there
 */
export const peerPath = (facts: readonly FunctionFacts[], from: FunctionAddress, to: FunctionAddress, policy: GroupingPolicy): PeerPath | undefined => {
  const [sender, target] = [from, to].map((each) => facts.find(({ address }) => same(address, each)));
  if (!sender || !target || sender === target) return undefined;
  const ways = pathUp(target, facts);
  const nodes = pathUp(sender, facts);
  const hops: PeerHop[] = [{ at: sender.address, decision: "sent", rule: RoutingRule.Sent }];
  let redirected = false;
  for (const [i, node] of nodes.entries()) {
    const above = nodes[i + 1];
    const neighbour = ways.find((each) => areNeighbours(node, each));
    if (neighbour) {
      const verdict = judge(node, above, facts, policy);
      hops.push({ at: node.address, ...verdict });
      if (verdict.decision === "direct") return { end: "peer", hops, down: ways.slice(0, ways.indexOf(neighbour) + 1).map(({ address }) => address).toReversed() };
      if (verdict.decision !== "redirected") return { end: verdict.decision, hops, down: [] };
      redirected = true;
    }
    if (!above) break;
    const turned = ways.includes(above) ? turnBack(above, redirected) : undefined;
    if (turned) hops.push({ at: above.address, ...turned });
    if (turned?.decision === "blocked" || turned?.decision === "unknown") return { end: turned.decision, hops, down: [] };
    hops.push({ at: above.address, decision: "forwarded", rule: RoutingRule.Upstream });
  }
  // A bridge that is named but not there may be one that both are below.
  const known = [...nodes.slice(-1), ...ways.slice(-1)].every(({ parent }) => parent === undefined);
  return { end: known ? "root" : "unknown", hops, down: [] };
};
