import { bit, bits, layout } from "@iommu-lab/memory/layout";
import { present, register, type RegisterMap } from "../config/register.ts";
import type { CapabilityDefinition, FieldValues } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type CapabilityShape, type Placement } from "./image.ts";

/** ACS Capability register. PCIe §7.7.11.2. */
export const ACS_CAPABILITY = layout("ACS Capability", 16, "PCIe §7.7.11.2", {
  SourceValidation: bit(0, "Can check that requester IDs belong below the port"),
  TranslationBlocking: bit(1, "Can block requests with translated addresses"),
  P2PRequestRedirect: bit(2, "Can send peer-to-peer requests upstream"),
  P2PCompletionRedirect: bit(3, "Can send peer-to-peer completions upstream"),
  UpstreamForwarding: bit(4, "Can send what came from below and leads below upstream"),
  P2PEgressControl: bit(5, "Has a bit vector of forbidden peers"),
  DirectTranslatedP2P: bit(6, "Can let translated requests go directly to peers"),
  EnhancedCapability: bit(7, "Has the controls from bit 7 of the control register on"),
  EgressControlVectorSize: bits(15, 8, "Bits of the vector; 0 stands for 256"),
});

/** ACS Control register. PCIe §7.7.11.3. */
export const ACS_CONTROL = layout("ACS Control", 16, "PCIe §7.7.11.3", {
  SourceValidationEnable: bit(0, "Checks that requester IDs belong below the port"),
  TranslationBlockingEnable: bit(1, "Blocks requests with translated addresses"),
  P2PRequestRedirectEnable: bit(2, "Sends peer-to-peer requests upstream"),
  P2PCompletionRedirectEnable: bit(3, "Sends peer-to-peer completions upstream"),
  UpstreamForwardingEnable: bit(4, "Sends what came from below and leads below upstream"),
  P2PEgressControlEnable: bit(5, "Obeys the egress control vector"),
  DirectTranslatedP2PEnable: bit(6, "Lets translated requests go directly to peers"),
  IORequestBlockingEnable: bit(7, "Blocks I/O requests from below"),
  DSPMemoryTargetAccessControl: bits(9, 8, "Requests to the port's own BARs", { 0: "direct", 1: "blocked", 2: "redirected", 3: "reserved" }),
  USPMemoryTargetAccessControl: bits(11, 10, "Requests to the upstream port's BARs", { 0: "direct", 1: "blocked", 2: "redirected", 3: "reserved" }),
  UnclaimedRequestRedirectControl: bit(12, "Sends requests that no port claims upstream"),
});

/** 32 bits of the egress control vector. PCIe §7.7.11.4. */
export const ACS_EGRESS_VECTOR = layout("ACS Egress Control Vector", 32, "PCIe §7.7.11.4", { Peers: bits(31, 0, "Peers 32 n to 32 n + 31 that may not be reached") });

const shapeOf = (capability: FieldValues<typeof ACS_CAPABILITY>): CapabilityShape => {
  const enhanced = capability.EnhancedCapability ?? 0;
  const writable = present({
    SourceValidationEnable: capability.SourceValidation,
    TranslationBlockingEnable: capability.TranslationBlocking,
    P2PRequestRedirectEnable: capability.P2PRequestRedirect,
    P2PCompletionRedirectEnable: capability.P2PCompletionRedirect,
    UpstreamForwardingEnable: capability.UpstreamForwarding,
    P2PEgressControlEnable: capability.P2PEgressControl,
    DirectTranslatedP2PEnable: capability.DirectTranslatedP2P,
    IORequestBlockingEnable: enhanced,
    DSPMemoryTargetAccessControl: enhanced,
    USPMemoryTargetAccessControl: enhanced,
    UnclaimedRequestRedirectControl: enhanced,
  });
  const registers: Record<string, RegisterMap[string]> = { Capability: register(4, ACS_CAPABILITY), Control: register(6, ACS_CONTROL, { writable }) };
  const vectors = capability.P2PEgressControl ? Math.ceil((capability.EgressControlVectorSize ?? 0 ? (capability.EgressControlVectorSize ?? 0) : 256) / 32) : 0;
  for (let i = 0; i < vectors; i++) registers[`EgressVector${i}`] = register(8 + 4 * i, ACS_EGRESS_VECTOR, { writable: "all" });
  return { id: 0x0d, extended: true, version: 1, length: 8 + 4 * vectors, registers };
};

/** Access Control Services (extended id 0x0d). Control bits are writable where the capability is there. PCIe §7.7.11. */
export const accessControlServices = (values: { readonly Capability?: FieldValues<typeof ACS_CAPABILITY>; readonly Control?: FieldValues<typeof ACS_CONTROL>; readonly egressVector?: readonly number[] } = {}, placement?: Placement): CapabilityImage => {
  const vectors = (values.egressVector ?? []).map((Peers, i): [string, Record<string, number>] => [`EgressVector${i}`, { Peers }]);
  return capabilityImage(shapeOf(values.Capability ?? {}), { ...Object.fromEntries(vectors), Capability: { ...values.Capability }, Control: { ...values.Control } }, placement);
};

/** How to read an ACS capability. */
export const ACCESS_CONTROL_SERVICES: CapabilityDefinition = { id: 0x0d, extended: true, shape: (view) => shapeOf(ACS_CAPABILITY.decode(Uint32Array.of(view.word(4)))) };
