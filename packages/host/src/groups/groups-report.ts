import { compareAddresses, formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import { computeIsolationGroups, type IsolationGroups, type MergeReason } from "@iommu-lab/pci-bus/groups";
import type { HostSnapshot } from "../snapshot.ts";
import { hostFacts, type HostFactsOptions } from "./host-facts.ts";

/** One group of a report. */
export interface ReportedGroup {
  /** The kernel's number; null for a computed group. */
  readonly id: number | null;
  readonly devices: readonly FunctionAddress[];
  /** Members that are no PCI functions. */
  readonly others: readonly string[];
  readonly type?: string | undefined;
  readonly reasons: readonly MergeReason[];
}

/** Where the kernel's partition and the computed one part: the smallest set of functions closed under both. */
export interface GroupDifference {
  readonly recorded: readonly (readonly FunctionAddress[])[];
  readonly computed: readonly (readonly FunctionAddress[])[];
  /** Functions of the set that the computation leaves without a group. */
  readonly unknown: readonly FunctionAddress[];
}

/** A host's groups with the reasons. */
export interface GroupsReport {
  readonly mode: "recorded" | "computed" | "compare";
  readonly origin: string;
  readonly kernelRelease: string | undefined;
  readonly groups: readonly ReportedGroup[];
  readonly ungrouped: readonly FunctionAddress[];
  readonly unknown: readonly { readonly address: FunctionAddress; readonly text: string }[];
  /** Present in mode "compare". */
  readonly differences?: readonly GroupDifference[];
  readonly acs: "read" | "predicted";
  readonly predicted: readonly FunctionAddress[];
  readonly unsafe: boolean;
  readonly notes: readonly string[];
}

/** Which partition is asked for. "auto": the kernel's where the source has it, else the computed one. */
export type GroupsMode = "auto" | "recorded" | "computed" | "compare";

const key = formatAddress;

const computedGroups = (result: IsolationGroups): ReportedGroup[] => result.groups.map(({ members, reasons }) => ({ id: null, devices: members, others: [], reasons }));

/** The kernel's groups, explained by those computed reasons that join members of one group. */
const recordedGroups = (snapshot: HostSnapshot, result: IsolationGroups): ReportedGroup[] => {
  const reasons = result.groups.flatMap((group) => group.reasons);
  const groupOf = new Map(snapshot.functions.map((f) => [key(f.address), f.group]));
  return [...(snapshot.groups ?? new Map<number, never>()).values()]
    .map(({ id, type, others }) => ({
      id,
      type,
      others,
      devices: snapshot.functions.filter((f) => f.group === id).map((f) => f.address).sort(compareAddresses),
      reasons: reasons.filter(({ members }) => members.every((member) => groupOf.get(key(member)) === id)),
    }))
    .filter((group) => group.devices.length > 0 || group.others.length > 0)
    .sort((a, b) => a.id - b.id);
};

const same = (a: readonly FunctionAddress[], b: readonly FunctionAddress[]): boolean => a.length === b.length && a.every((x, i) => compareAddresses(x, b[i] as FunctionAddress) === 0);

/** Compares over the functions that the kernel gave a group. */
const findDifferences = (recorded: readonly ReportedGroup[], result: IsolationGroups): GroupDifference[] => {
  const known = new Set(recorded.flatMap((group) => group.devices.map(key)));
  const computed = result.groups.map(({ members }) => members.filter((member) => known.has(key(member)))).filter((members) => members.length > 0);
  const of = new Map(computed.flatMap((members) => members.map((member) => [key(member), members] as const)));
  const unknown = new Map(result.unknown.map(({ address }) => [key(address), address]));
  const left = new Set(recorded.filter(({ devices }) => devices.length > 0 && !same(devices, of.get(key(devices[0] as FunctionAddress)) ?? [])));
  const differences: GroupDifference[] = [];
  for (const start of left) {
    const set = new Set([start]);
    const counterparts = new Set<readonly FunctionAddress[]>();
    for (const group of set) {
      left.delete(group);
      for (const member of group.devices) {
        const counterpart = of.get(key(member));
        if (!counterpart || counterparts.has(counterpart)) continue;
        counterparts.add(counterpart);
        for (const other of recorded) if (other.devices.some((device) => counterpart.some((m) => compareAddresses(m, device) === 0))) set.add(other);
      }
    }
    differences.push({
      recorded: [...set].map((group) => group.devices),
      computed: [...counterparts],
      unknown: [...set].flatMap((group) => group.devices.filter((device) => unknown.has(key(device)))),
    });
  }
  return differences;
};

/**
 * Reports a host's IOMMU groups.
 * `mode` "recorded" and "compare" need a source that shows the kernel's groups: `snapshot.groups`.
 */
export const reportGroups = (snapshot: HostSnapshot, mode: GroupsMode = "auto", options: HostFactsOptions = {}): GroupsReport => {
  const { facts, policy, acs, predicted, notes } = hostFacts(snapshot, options);
  const result = computeIsolationGroups(facts, policy);
  const chosen = mode === "auto" ? (snapshot.groups ? "recorded" : "computed") : mode;
  const common = { mode: chosen, origin: snapshot.origin, kernelRelease: snapshot.kernelRelease, acs, predicted, unsafe: result.unsafe, notes };
  if (chosen === "computed") return { ...common, groups: computedGroups(result), ungrouped: result.ungrouped, unknown: result.unknown };
  const recorded = recordedGroups(snapshot, result);
  const base = { ...common, groups: recorded, ungrouped: snapshot.functions.filter((f) => f.group === undefined).map((f) => f.address), unknown: [] };
  return chosen === "compare" ? { ...base, differences: findDifferences(recorded, result) } : base;
};
