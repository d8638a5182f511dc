import type { FunctionFacts } from "@iommu-lab/pci-bus/groups";

/** Bits of the ACS registers in the order that people say them. PCIe §7.7.11. */
export const ACS_BADGES = [
  { short: "SV", bit: 0x01, name: "Source Validation" },
  { short: "RR", bit: 0x04, name: "P2P Request Redirect" },
  { short: "CR", bit: 0x08, name: "P2P Completion Redirect" },
  { short: "UF", bit: 0x10, name: "Upstream Forwarding" },
  { short: "EC", bit: 0x20, name: "P2P Egress Control" },
  { short: "DT", bit: 0x40, name: "Direct Translated P2P" },
] as const;

/** on: enabled; off: the function could; none: it cannot; unseen: not in the source. */
export type BadgeState = "on" | "off" | "none" | "unseen";

/** A sign for each state, so that colour is never alone. */
export const BADGE_SIGNS: Readonly<Record<BadgeState, string>> = { on: "+", off: "−", none: "·", unseen: "?" };

/** What a function's ACS registers say, bit by bit; undefined when it has no ACS. */
export const badgesOf = ({ acs }: FunctionFacts): readonly { readonly short: string; readonly bit: number; readonly name: string; readonly state: BadgeState }[] | undefined => {
  if (acs === "none" || acs === "unknown") return undefined;
  const [capability, control] = acs.wide && acs.capability === undefined ? [acs.wide.capability, acs.wide.control] : [acs.capability, acs.control];
  return ACS_BADGES.map(({ short, bit, name }) => ({ short, bit, name, state: capability === undefined || control === undefined ? "unseen" : control & bit ? "on" : capability & bit ? "off" : "none" }));
};

/** "SV+ RR+ CR+ UF+ EC· DT·" as lspci would. */
export const badgeText = (facts: FunctionFacts): string => badgesOf(facts)?.map(({ short, state }) => `${short}${BADGE_SIGNS[state]}`).join(" ") ?? "";
