import { busOf, devfnOf } from "../requester-id.ts";
import { AcsBit, isIntelSptRootPort, ISOLATION_BITS } from "./acs-rules.ts";
import type { AcsFacts, FunctionFacts } from "./facts.ts";
import type { AcsDeviceMatch, AcsParameter } from "./policy.ts";

/** Kernel options that change what Linux writes into ACS Control. */
export interface AcsPredictionOptions {
  /** `pci=noats`: translation blocking is switched on as well. */
  readonly noAts: boolean;
  /** `pci=disable_acs_redir=` and `pci=config_acs=`, in their order. */
  readonly parameters: readonly AcsParameter[];
}

const matches = (f: FunctionFacts, match: AcsDeviceMatch, byAddress: (domain: number, bus: number, devfn: number) => FunctionFacts | undefined): boolean => {
  if (match.kind === "id") {
    const one = (want: number, have: number | undefined): boolean => want === 0xffff || want === have;
    return one(match.vendor, f.vendor) && one(match.device, f.device) && one(match.subsystemVendor, f.subsystemVendor) && one(match.subsystemDevice, f.subsystemDevice);
  }
  // A path names the function by devfns from a root-side bus downwards; the last is the function itself.
  let at: FunctionFacts | undefined = f;
  for (let i = match.devfns.length - 1; i >= 0; i--) {
    if (!at || devfnOf(at.address.requester) !== match.devfns[i]) return false;
    if (i === 0) return busOf(at.address.requester) === match.bus && at.address.domain === match.domain;
    at = at.parent && byAddress(at.parent.domain, busOf(at.parent.requester), devfnOf(at.parent.requester));
  }
  return false;
};

/**
 * What Linux leaves in ACS Control when it starts with the IOMMU on: every capability bit that isolation wants,
 * nothing cleared that firmware had set, then the boot options. Linux `pci_std_enable_acs`, `pci_quirk_enable_intel_spt_pch_acs`.
 */
export const predictAcsControl = (facts: readonly FunctionFacts[], options: AcsPredictionOptions): FunctionFacts[] => {
  const byKey = new Map(facts.map((f) => [`${f.address.domain}:${f.address.requester}`, f]));
  const byAddress = (domain: number, bus: number, devfn: number): FunctionFacts | undefined => byKey.get(`${domain}:${(bus << 8) | devfn}`);
  const wanted = ISOLATION_BITS | (options.noAts ? AcsBit.TransBlk : 0);
  return facts.map((f) => {
    if (typeof f.acs === "string" || f.acs.capability === undefined) return f;
    const adjust = (capability: number, control: number): number =>
      options.parameters.reduce((value, parameter) => (matches(f, parameter.match, byAddress) ? (value & ~parameter.clear) | (parameter.set & capability) : value), control | (capability & wanted));
    const wide = isIntelSptRootPort(f.vendor, f.device, f.family) ? (f.acs.wide ?? { capability: f.acs.capability, control: 0 }) : undefined;
    const acs: AcsFacts = { ...f.acs, control: wide ? (f.acs.control ?? 0) : adjust(f.acs.capability, f.acs.control ?? 0), ...(wide ? { wide: { capability: wide.capability, control: adjust(wide.capability, wide.control) } } : {}) };
    return { ...f, acs };
  });
};
