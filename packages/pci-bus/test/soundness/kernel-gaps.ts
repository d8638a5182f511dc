import type { AcsVerdict } from "@iommu-lab/pci-bus/groups";
import { Acs, acsControl, type Attachment } from "@iommu-lab/pci-bus/model";

/**
 * Ways past the IOMMU that Linux's rules do not look at. The groups are the kernel's, so they have its gaps;
 * each is known from the discussion of those rules, or follows from a register that they do not read.
 */
export type KernelGap =
  /** A downstream port without ACS sends to its neighbours, but the rules ask about the path from the bridge above it: the ports of one switch get a group each. */
  | "switch-ports"
  /** ACS acts on what a function sends. A function without it reaches its siblings with ACS, and those are in a group of their own. */
  | "one-sided"
  /** Functions of an SR-IOV device, one of them virtual: the rules take both for single-function devices and do not read their ACS. */
  | "virtual-functions"
  /** P2P Egress Control goes before P2P Request Redirect where the vector's bit is clear (PCIe §6.12.3); the rules do not read it. */
  | "egress-control";

/** The gap that lets a request turn at `at` towards its neighbour `to`; undefined when the kernel's rules cover it. */
export const gapAt = (at: Attachment, to: Attachment, verdictOf: (seat: Attachment) => AcsVerdict["isolated"]): KernelGap | undefined => {
  if (at.virtualOf || to.virtualOf) return "virtual-functions";
  if (verdictOf(at) === true) return acsControl(at) & Acs.EgressControl ? "egress-control" : undefined;
  if (at.bus.kind === "switch") return "switch-ports";
  return at.bus.kind !== "conventional" && verdictOf(to) === true ? "one-sided" : undefined;
};
