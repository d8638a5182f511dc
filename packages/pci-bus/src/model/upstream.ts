import { HeaderOffset } from "../config/offsets.ts";
import { busOf } from "../requester-id.ts";
import { AddressType, Completion } from "../transaction.ts";
import { Acs, acsControl, peerVerdict } from "./acs.ts";
import { Command, forwardsDown } from "./bridge-windows.ts";
import { claimBy } from "./claim.ts";
import { comparable, type MemoryRequest } from "./memory-request.ts";
import { RoutingRule } from "./routing-rules.ts";
import { recordError, setSecondaryStatus, StatusBit, UncorrectableError } from "./status-bits.ts";
import type { Attachment, Claim, HostBridge } from "./fabric.ts";

/** Where a request that a function sent ends up. */
export type Route =
  /** At the root complex, for its IOMMU and memory. */
  | { readonly kind: "root"; readonly host: HostBridge }
  /** At a peer that no IOMMU stands before. */
  | { readonly kind: "peer"; readonly claim: Claim; readonly ingress: Attachment }
  | { readonly kind: "blocked"; readonly completion: Completion };

const UNSUPPORTED: Route = { kind: "blocked", completion: Completion.UnsupportedRequest };

const isDownstreamPort = (bridge: Attachment): boolean => bridge.fn.bridgeKind === "root-port" || bridge.fn.bridgeKind === "downstream-port";

const unsupported = (at: Attachment, rule: string): Route => {
  recordError(at, UncorrectableError.UnsupportedRequest);
  at.hop("blocked", rule);
  return UNSUPPORTED;
};

/** PCIe §6.12.4: the packet goes no further; a non-posted one is answered with Completer Abort. */
const violation = (port: Attachment, request: MemoryRequest, rule: string): Route => {
  recordError(port, UncorrectableError.AcsViolation);
  const posted = request.write && request.addressType !== AddressType.TranslationRequest;
  if (!posted && port.isBridge) setSecondaryStatus(port.fn.config, StatusBit.SignaledTargetAbort);
  port.hop("blocked", rule);
  return { kind: "blocked", completion: Completion.CompleterAbort };
};

/** Whether two functions of one bus can reach each other without going up. */
const areNeighbours = (from: Attachment, to: Attachment): boolean => {
  if (from === to) return false;
  if (from.bus.kind !== "root") return true;
  const rule = from.bus.host?.directPeers;
  return rule === "all" || (rule === "within-device" && from.devfn >> 3 === to.devfn >> 3);
};

/** The neighbour that decodes the address: inside a multifunction device, a switch, or on a shared bus. */
const claimBeside = (node: Attachment, address: number): Claim | undefined => {
  for (const other of node.bus.everything()) {
    if (!areNeighbours(node, other)) continue;
    const claim = claimBy(other, "memory", address);
    if (claim) return claim;
  }
  return undefined;
};

/** The neighbour through which a claim was found: the function itself or the bridge above it on the same bus. */
const neighbourOf = (claim: Claim, node: Attachment): Attachment => {
  let at = claim.seat;
  while (at.bus !== node.bus && at.bus.bridge) at = at.bus.bridge;
  return at;
};

/** Checks where a request from below enters a root port or downstream port; undefined lets it pass. PCIe §6.12.1.1. */
const checkIngress = (port: Attachment, request: MemoryRequest): Route | undefined => {
  const control = acsControl(port);
  if (control & Acs.SourceValidation) {
    const bus = busOf(request.requester);
    const { config } = port.fn;
    if (bus < config.read(HeaderOffset.SecondaryBus, 1) || bus > config.read(HeaderOffset.SubordinateBus, 1))
      return violation(port, request, "PCIe §6.12.1.1: Source Validation finds the requester's bus number outside secondary to subordinate: ACS violation");
  }
  if (control & Acs.TranslationBlocking && request.addressType !== AddressType.Untranslated)
    return violation(port, request, "PCIe §6.12.1.1: Translation Blocking stops requests whose AT field is not 00b: ACS violation");
  return undefined;
};

/**
 * An address that a bridge itself would send down again.
 * Model: without Upstream Forwarding a port that gets such a request from below refuses it, because a bridge takes no address
 * of its own windows upstream (PCI-to-PCI Bridge Architecture §4.1) and nobody else on the link can answer.
 */
const turnsBack = (bridge: Attachment, redirected: boolean): Route | undefined => {
  if (isDownstreamPort(bridge)) {
    if (!(acsControl(bridge) & Acs.UpstreamForwarding)) return unsupported(bridge, RoutingRule.NoUpstreamForwarding);
    bridge.hop("redirected", RoutingRule.UpstreamForwarding);
    return undefined;
  }
  if (bridge.fn.bridgeKind === "upstream-port" && redirected) return undefined;
  return unsupported(bridge, RoutingRule.OwnWindow);
};

/** Conventional PCI has no requester IDs: the bridge lends its own. PCI Express to PCI/PCI-X Bridge §2.3. */
const takeOwnership = (bridge: Attachment, request: MemoryRequest): void => {
  const kind = bridge.fn.bridgeKind;
  if (kind === "pcie-to-pci") request.requester = bridge.fn.config.read(HeaderOffset.SecondaryBus, 1) << 8;
  else if (kind === "pci-to-pci") request.requester = bridge.requester;
};

const passBridge = (bridge: Attachment, request: MemoryRequest, redirected: boolean): Route | undefined => {
  const refused = isDownstreamPort(bridge) ? checkIngress(bridge, request) : undefined;
  if (refused) return refused;
  const { config } = bridge.fn;
  if (!(config.read(HeaderOffset.Command, 2) & Command.BusMaster)) return unsupported(bridge, "PCIe §7.5.1.1.3: Bus Master Enable of the bridge is off, so it forwards no memory requests upstream");
  const turned = forwardsDown(config, "memory", comparable(request)) ? turnsBack(bridge, redirected) : undefined;
  if (turned) return turned;
  takeOwnership(bridge, request);
  bridge.hop("forwarded", RoutingRule.Upstream);
  return undefined;
};

const meetPeer = (node: Attachment, claim: Claim, request: MemoryRequest): Route | "redirected" => {
  if (node.bus.kind === "conventional") {
    node.hop("direct", RoutingRule.SharedBus);
    return { kind: "peer", claim, ingress: node };
  }
  const { decision, rule } = peerVerdict(node, neighbourOf(claim, node), request.addressType);
  if (decision === "blocked") return violation(node, request, rule);
  node.hop(decision, rule);
  return decision === "direct" ? { kind: "peer", claim, ingress: node } : "redirected";
};

/**
 * Takes a request from a function up through the fabric until a peer takes it, something blocks it, or it reaches
 * the root complex. `request.requester` changes on the way behind bridges to conventional PCI.
 */
export const routeUpstream = (origin: Attachment, request: MemoryRequest): Route => {
  if (!origin.present || origin.bus.held) return UNSUPPORTED;
  if (!(origin.fn.config.read(HeaderOffset.Command, 2) & Command.BusMaster)) {
    origin.hop("blocked", "PCIe §7.5.1.1.3: Bus Master Enable is off, so the function may send no memory requests");
    return UNSUPPORTED;
  }
  origin.hop("sent", RoutingRule.Sent);
  const address = comparable(request);
  // Once sent upstream away from its target, a request passes every upstream port above, whose windows hold that target too.
  let redirected = false;
  for (let node = origin; ; ) {
    const claim = claimBeside(node, address);
    const met = claim ? meetPeer(node, claim, request) : undefined;
    if (met && met !== "redirected") return met;
    redirected ||= met === "redirected";
    const { host, bridge, kind } = node.bus;
    if (kind === "root") return host ? { kind: "root", host } : UNSUPPORTED;
    if (!bridge) return UNSUPPORTED;
    const refused = passBridge(bridge, request, redirected);
    if (refused) return refused;
    node = bridge;
  }
};
