import { compareAddresses, formatAddress, type FunctionAddress } from "../requester-id.ts";
import { hasHiddenAliases } from "./dma-aliases.ts";
import { GroupingRun, judgeAll, type Grouping } from "./engine.ts";
import type { FunctionFacts } from "./facts.ts";
import type { GroupingPolicy } from "./policy.ts";
import type { MergeReason } from "./reason.ts";
import { indexTopology, type Topology } from "./topology.ts";

/** Functions the IOMMU cannot tell apart, or that can reach each other without it. */
export interface IsolationGroup {
  /** Sorted by address. */
  readonly members: readonly FunctionAddress[];
  /** A spanning set of joins: following them from any member reaches every other. Empty for a single function. */
  readonly reasons: readonly MergeReason[];
}

/** Why a function is in no group. */
export interface UnknownFunction {
  readonly address: FunctionAddress;
  readonly text: string;
}

/** The partition of a host's functions. A function is in exactly one group, or ungrouped, or unknown. */
export interface IsolationGroups {
  readonly groups: readonly IsolationGroup[];
  /** No IOMMU translates them. */
  readonly ungrouped: readonly FunctionAddress[];
  /** Their group depends on something the source does not show. */
  readonly unknown: readonly UnknownFunction[];
  /** The partition rests on an override that declares isolation the hardware does not give. */
  readonly unsafe: boolean;
}

const setsOf = (run: Grouping): Map<number, number[]> => {
  const sets = new Map<number, number[]>();
  for (const [i, g] of run.groupOf.entries()) if (g >= 0) sets.set(g, [...(sets.get(g) ?? []), i]);
  return sets;
};

const sameMembers = (a: readonly number[] | undefined, b: readonly number[] | undefined): boolean => a?.length === b?.length && (a ?? []).every((x, i) => x === b?.[i]);

/**
 * Computes IOMMU groups as Linux makes them.
 *
 * What the source does not show is taken once as isolated and once as not isolated; a group counts only
 * when both worlds agree on it, every other function is `unknown` with the reason.
 */
export const computeIsolationGroups = (facts: readonly FunctionFacts[], policy: GroupingPolicy): IsolationGroups => {
  const t = indexTopology(facts);
  const verdicts = judgeAll(t, policy);
  const strict = new GroupingRun(t, verdicts, policy, "not-isolated").run();
  const everythingSeen = verdicts.every((v) => v.isolated !== "unknown") && t.functions.every((f) => f.portType !== "unknown");
  const loose = everythingSeen ? strict : new GroupingRun(t, verdicts, policy, "isolated").run();
  const strictSets = setsOf(strict);
  const looseSets = setsOf(loose);
  const groups: IsolationGroup[] = [];
  const unknown: UnknownFunction[] = [];
  for (const [g, members] of strictSets) {
    const agreed = members.every((i) => sameMembers(looseSets.get(loose.groupOf[i] as number), members));
    if (agreed && !members.some((i) => isUncertain(t, i))) groups.push(toGroup(t, members, strict, g));
    else for (const i of members) unknown.push({ address: (t.functions[i] as FunctionFacts).address, text: whyUnknown(t, i, members, verdicts) });
  }
  return {
    groups: groups.sort((a, b) => compareAddresses(a.members[0] as FunctionAddress, b.members[0] as FunctionAddress)),
    ungrouped: t.functions.filter((f) => f.translated === false).map((f) => f.address),
    unknown: unknown.sort((a, b) => compareAddresses(a.address, b.address)),
    unsafe: verdicts.some((v) => v.isolated === true && v.unsafe === true),
  };
};

const isUncertain = (t: Topology, i: number): boolean => {
  const f = t.functions[i] as FunctionFacts;
  return f.translated === "unknown" || hasHiddenAliases(f);
};

const toGroup = (t: Topology, members: readonly number[], run: Grouping, group: number): IsolationGroup => ({
  members: members.map((i) => (t.functions[i] as FunctionFacts).address).sort(compareAddresses),
  reasons: run.reasons.filter((entry) => entry.group === group).map(({ reason }) => reason),
});

const whyUnknown = (t: Topology, i: number, members: readonly number[], verdicts: ReturnType<typeof judgeAll>): string => {
  const f = t.functions[i] as FunctionFacts;
  if (f.translated === "unknown") return "whether an IOMMU translates this function cannot be seen";
  if (hasHiddenAliases(f)) return "its DMA aliases stand in device registers that no dump shows";
  for (let p = i; p >= 0; p = t.parent[p] as number) {
    const verdict = verdicts[p];
    if (verdict?.isolated === "unknown") return `at ${formatAddress((t.functions[p] as FunctionFacts).address)}: ${verdict.rule}`;
  }
  const other = members.find((m) => verdicts[m]?.isolated === "unknown" || isUncertain(t, m));
  return other === undefined ? "the path to the root cannot be seen" : `it depends on ${formatAddress((t.functions[other] as FunctionFacts).address)}, which cannot be seen`;
};
