import { busOf, compareAddresses } from "../requester-id.ts";
import { AcsBit, ISOLATION_BITS } from "./acs-rules.ts";
import { aliasQuirkOf } from "./dma-aliases.ts";
import { PcieType } from "../pcie-type.ts";
import type { AcsFacts, FunctionFacts } from "./facts.ts";
import type { MergeReason } from "./reason.ts";

const FULL_ACS: AcsFacts = { offset: 0x100, capability: ISOLATION_BITS, control: ISOLATION_BITS, wide: { capability: ISOLATION_BITS, control: ISOLATION_BITS } };
/** A vendor and device id that no rule knows. */
const NO_RULE = 0xfffe;

const bitsOf = (names: readonly string[]): number => names.reduce((bits, name) => bits | (name in AcsBit ? AcsBit[name as keyof typeof AcsBit] : 0), 0);

/** The function as PCI Express with everything isolation asks for. */
const isolated = (f: FunctionFacts): FunctionFacts => ({ ...f, portType: f.bridge ? PcieType.DownstreamPort : PcieType.Endpoint, acs: FULL_ACS, vendor: NO_RULE, device: NO_RULE, aliases: [], dmaFunction: undefined, family: "other" });

/** The id goes only when aliases hang on it: it may be what a rule declares isolated. */
const withoutAliases = (f: FunctionFacts): FunctionFacts => ({ ...f, ...(aliasQuirkOf(f) === undefined ? {} : { vendor: NO_RULE, device: NO_RULE }), aliases: [], dmaFunction: undefined });

/** A bridge takes over what comes from another bus; aliases are of one bus. */
const isTakeover = (f: FunctionFacts, { members }: MergeReason): boolean => f.bridge && busOf(members[0].requester) !== busOf(f.address.requester);

const repair = (f: FunctionFacts, reason: MergeReason): FunctionFacts => {
  const { rule, evidence } = reason;
  if (rule === "dma-alias") return isTakeover(f, reason) ? isolated(f) : withoutAliases(f);
  switch (evidence.register) {
    case "ACS Control":
      return typeof f.acs === "string" ? f : { ...f, acs: { ...f.acs, control: (f.acs.control ?? 0) | bitsOf(evidence.missing) } };
    case "ACS Control (32-bit)":
      return typeof f.acs === "string" || !f.acs.wide ? f : { ...f, acs: { ...f.acs, wide: { ...f.acs.wide, control: f.acs.wide.control | bitsOf(evidence.missing) } } };
    case "ACS Capability":
      return { ...f, acs: FULL_ACS };
    case "RCBA":
      return { ...f, pchQuirk: "enabled" };
    default:
      return isolated(f);
  }
};

/**
 * The same host without what a reason names: the missing ACS bits set, the capability there, the alias gone.
 * With every reason taken away that names a pair, the pair is in two groups.
 */
export const withoutCause = (facts: readonly FunctionFacts[], reason: MergeReason): FunctionFacts[] => facts.map((f) => (compareAddresses(f.address, reason.at) === 0 ? repair(f, reason) : f));
