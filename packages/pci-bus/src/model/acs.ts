import { AddressType } from "../transaction.ts";
import type { Attachment } from "./fabric.ts";

/** Bits of the ACS Control register. PCIe §7.7.11.3 "ACS Control Register". */
export const Acs = {
  SourceValidation: 0x01,
  TranslationBlocking: 0x02,
  RequestRedirect: 0x04,
  CompletionRedirect: 0x08,
  UpstreamForwarding: 0x10,
  EgressControl: 0x20,
  DirectTranslated: 0x40,
} as const;

/** The control bits of a function or port as set now; 0 without an ACS capability. */
export const acsControl = ({ fn, places }: Attachment): number => (places.acs ? fn.config.read(places.acs + 6, 2) : 0);

/** What a port or multifunction device does with a request for a peer. */
export interface PeerVerdict {
  readonly decision: "direct" | "redirected" | "blocked";
  readonly rule: string;
}

const DIRECT: PeerVerdict = { decision: "direct", rule: "PCIe §6.12.1: no ACS control stands against a peer-to-peer request, so it goes straight to its peer" };
const TRANSLATED: PeerVerdict = { decision: "direct", rule: "PCIe §6.12.3: Direct Translated P2P lets a translated request go straight to its peer" };
const REDIRECT: PeerVerdict = { decision: "redirected", rule: "PCIe §6.12.3: P2P Request Redirect sends a peer-to-peer request upstream" };
const EGRESS_DIRECT: PeerVerdict = { decision: "direct", rule: "PCIe §6.12.3: P2P Egress Control, and the egress control vector's bit for the peer is clear: straight to the peer" };
const EGRESS_REDIRECT: PeerVerdict = { decision: "redirected", rule: "PCIe §6.12.3: P2P Egress Control with P2P Request Redirect, and the vector's bit for the peer is set: upstream" };
const EGRESS_BLOCK: PeerVerdict = { decision: "blocked", rule: "PCIe §6.12.3: P2P Egress Control, and the vector's bit for the peer is set: ACS violation" };

const NO_PEER_CONTROL: PeerVerdict = { decision: "redirected", rule: "PCIe §6.12.1: an ACS capability without any control of peer-to-peer requests belongs to a port or function that sends none to its peers: upstream" };
const SRIOV_WITHOUT_ACS: PeerVerdict = { decision: "redirected", rule: "PCIe §7.7.11: an SR-IOV device that moves requests between its functions has ACS; this one has none, so the request goes upstream" };

const LINK_CAPABILITIES = 0x0c;
/** Capability bits that a root port or function must have when it sends requests to its peers. PCIe §6.12.1.1, §6.12.1.2. */
const PEER_CONTROLS = Acs.RequestRedirect | Acs.EgressControl | Acs.DirectTranslated;

/** The peer's bit in an egress control vector: its port number, or its function number inside a multifunction device. PCIe §7.7.11.4. */
const egressIndex = (peer: Attachment): number => {
  const kind = peer.fn.bridgeKind;
  const isPort = (kind === "root-port" || kind === "downstream-port") && peer.places.express !== 0;
  if (isPort) return peer.fn.config.read(peer.places.express + LINK_CAPABILITIES, 4) >>> 24;
  return peer.bus.kind === "link" ? peer.devfn : peer.devfn & 7;
};

const egressBit = ({ fn, places }: Attachment, index: number): boolean => {
  const size = fn.config.read(places.acs + 5, 1) || 256;
  if (index >= size) return false;
  return ((fn.config.read(places.acs + 8 + 4 * (index >> 5), 4) >>> (index & 31)) & 1) === 1;
};

/** An SR-IOV device outside the root complex; single functions count, for their virtual functions are their peers. */
const isVirtualizedDevice = ({ bus }: Attachment): boolean => bus.kind === "link" && bus.functions().some(({ places }) => places.sriov !== 0);

/** What is known of the function or port where a peer-to-peer request enters. */
export interface PeerIngress {
  /** A switch's downstream port: it forwards between its ports by nature and must have all the controls. */
  readonly switchPort: boolean;
  /** A function of an SR-IOV device outside the root complex. */
  readonly virtualized: boolean;
  /** ACS Capability and ACS Control registers, 16 bits each; undefined without the capability. */
  readonly acs: { readonly capability: number; readonly control: number } | undefined;
}

/**
 * Decides on a peer-to-peer request where it enters: a downstream port, root port, or function of a multifunction device.
 * "vector" where the egress control vector's bit for the peer decides. PCIe §6.12.3 "ACS Peer-to-Peer Control Interactions".
 * Model: functions of a multifunction device without ACS reach each other, which the specification leaves to the device and operating systems assume.
 */
export const judgePeer = ({ switchPort, virtualized, acs }: PeerIngress, translated: boolean): PeerVerdict | "vector" => {
  if (!acs) return virtualized ? SRIOV_WITHOUT_ACS : DIRECT;
  if (!switchPort && (acs.capability & PEER_CONTROLS) === 0) return NO_PEER_CONTROL;
  if (acs.control & Acs.DirectTranslated && translated) return TRANSLATED;
  if (acs.control & Acs.EgressControl) return "vector";
  return acs.control & Acs.RequestRedirect ? REDIRECT : DIRECT;
};

/** The same of a running machine, where the vector can be read. */
export const peerVerdict = (ingress: Attachment, peer: Attachment, addressType: AddressType): PeerVerdict => {
  const { fn, places } = ingress;
  const switchPort = fn.bridgeKind === "downstream-port";
  const control = acsControl(ingress);
  const acs = places.acs === 0 ? undefined : { capability: fn.config.read(places.acs + 4, 2), control };
  const verdict = judgePeer({ switchPort, virtualized: !switchPort && acs === undefined && isVirtualizedDevice(ingress), acs }, addressType === AddressType.Translated);
  if (verdict !== "vector") return verdict;
  if (!egressBit(ingress, egressIndex(peer))) return EGRESS_DIRECT;
  return control & Acs.RequestRedirect ? EGRESS_REDIRECT : EGRESS_BLOCK;
};
