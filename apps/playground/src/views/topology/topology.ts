import { hostFacts, reportGroups, type GroupDifference, type HostFunction, type HostSnapshot } from "@iommu-lab/host";
import { formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import { computeIsolationGroups, kernelVersion, type FunctionFacts, type GroupingPolicy, type IsolationGroups, type MergeReason } from "@iommu-lab/pci-bus/groups";
import type { TopologySettings } from "./settings.ts";
import { readFirmware, type Firmware } from "./units.ts";
import { applyEdits, type EditedFacts } from "./what-if.ts";

/** A group to be shown. */
export interface ShownGroup {
  /** The kernel's number where it has exactly these members, else a letter: "3", "A". */
  readonly label: string;
  readonly members: readonly string[];
  readonly reasons: readonly MergeReason[];
}

/** A function in the tree. */
export interface TopologyNode {
  readonly name: string;
  readonly facts: FunctionFacts;
  /** Absent for a bridge that was put in. */
  readonly fn: HostFunction | undefined;
  /** Its address before it moved. */
  readonly was: string | undefined;
  readonly depth: number;
  readonly children: readonly TopologyNode[];
}

/** A root bus with what is on it. */
export interface RootBus {
  readonly name: string;
  readonly nodes: readonly TopologyNode[];
}

/** Functions whose groups the what-if changed: how they were, how they are. */
export interface GroupChange {
  readonly before: readonly (readonly string[])[];
  readonly after: readonly (readonly string[])[];
}

export interface Topology {
  readonly roots: readonly RootBus[];
  readonly groups: readonly ShownGroup[];
  readonly groupOf: ReadonlyMap<string, ShownGroup>;
  readonly ungrouped: ReadonlySet<string>;
  readonly unknown: ReadonlyMap<string, string>;
  readonly unsafe: boolean;
  readonly edited: EditedFacts;
  /** The rules that the groups were made by. */
  readonly policy: GroupingPolicy;
  /** Without any change there is no what-if. */
  readonly changes: readonly GroupChange[] | undefined;
  /** Where the kernel's own groups differ from the computed ones; undefined when the source shows none. */
  readonly differences: readonly GroupDifference[] | undefined;
  readonly firmware: Firmware;
  readonly notes: readonly string[];
  readonly acs: "read" | "predicted";
}

const key = formatAddress;
const keys = (addresses: readonly FunctionAddress[]): string[] => addresses.map(key);

const busesBelow = (functions: readonly HostFunction[]): Map<string, number> => {
  const below = new Map<string, number>();
  for (const f of functions) {
    const bus = ((f.config?.[14] ?? 0) & 0x7f) === 1 ? f.config?.[0x19] : f.printed?.buses?.secondary;
    if (bus) below.set(key(f.address), bus);
  }
  for (const f of functions) if (f.parent && !below.has(key(f.parent)) && !f.physicalFunction) below.set(key(f.parent), f.address.requester >> 8);
  return below;
};

const KERNEL: Readonly<Record<string, number>> = { "6.1": kernelVersion(6, 1), "6.12": kernelVersion(6, 12), "7.0": kernelVersion(7, 0), "7.2": kernelVersion(7, 2) };

const policyOf = (own: GroupingPolicy, { kernel, downstream, multifunction }: TopologySettings): GroupingPolicy => ({
  ...own,
  ...(kernel === "own" ? {} : { kernel: KERNEL[kernel] ?? kernelVersion(6, 12) }),
  ...(downstream || multifunction ? { override: { downstream, multifunction, ids: own.override?.ids ?? [] } } : {}),
});

const rootsOf = ({ facts, was }: EditedFacts, functions: ReadonlyMap<string, HostFunction>): RootBus[] => {
  const byParent = new Map<string, FunctionFacts[]>();
  const there = new Set(facts.map(({ address }) => key(address)));
  for (const f of facts) {
    const parent = f.parent && there.has(key(f.parent)) ? key(f.parent) : `bus ${key(f.address).slice(0, 7)}`;
    byParent.set(parent, [...(byParent.get(parent) ?? []), f]);
  }
  const node = (f: FunctionFacts, depth: number): TopologyNode => {
    const [name, before] = [key(f.address), was.get(key(f.address))];
    return { name, facts: f, fn: functions.get(before ?? name), was: before, depth, children: depth > 64 ? [] : (byParent.get(name) ?? []).map((each) => node(each, depth + 1)) };
  };
  return [...byParent].filter(([parent]) => parent.startsWith("bus ")).map(([parent, nodes]) => ({ name: parent.slice("bus ".length), nodes: nodes.map((f) => node(f, 0)) }));
};

/** The kernel's number of a group with exactly these members. */
const numbersOf = (functions: readonly HostFunction[]): Map<string, number> => {
  const members = new Map<number, string[]>();
  for (const f of functions) if (f.group !== undefined) members.set(f.group, [...(members.get(f.group) ?? []), key(f.address)]);
  return new Map([...members].map(([id, list]) => [list.toSorted().join(), id]));
};

/** Labels of groups without a number: A, B, …, Z, AA. */
const letters = (i: number): string => (i < 26 ? String.fromCharCode(0x41 + i) : letters(Math.floor(i / 26) - 1) + letters(i % 26));

const shownGroups = ({ groups }: IsolationGroups, functions: readonly HostFunction[], was: ReadonlyMap<string, string>): ShownGroup[] => {
  const numbers = numbersOf(functions);
  let unnumbered = 0;
  return groups.map(({ members, reasons }) => {
    const number = numbers.get(keys(members).map((name) => was.get(name) ?? name).toSorted().join());
    return { label: number === undefined ? letters(unnumbered++) : String(number), members: keys(members), reasons };
  });
};

/** Where two partitions part: smallest sets of functions closed under both. */
export const compareGroups = (before: readonly (readonly string[])[], after: readonly (readonly string[])[]): GroupChange[] => {
  const same = new Set(before.map((members) => members.toSorted().join()));
  const left = new Set(after.filter((members) => !same.has(members.toSorted().join())));
  const changes: GroupChange[] = [];
  for (const start of left) {
    const [old, now, all] = [new Set<readonly string[]>(), new Set([start]), new Set(start)];
    const grow = (partition: readonly (readonly string[])[], into: Set<readonly string[]>): void => {
      for (const members of partition) {
        if (!members.some((name) => all.has(name))) continue;
        into.add(members);
        for (const name of members) all.add(name);
      }
    };
    for (let size = -1; size !== all.size; ) {
      size = all.size;
      grow(before, old);
      grow(after, now);
    }
    for (const members of now) left.delete(members);
    changes.push({ before: [...old], after: [...now] });
  }
  return changes;
};

/** Everything the view shows of a host. Never throws. */
export const buildTopology = (snapshot: HostSnapshot, settings: TopologySettings): Topology => {
  const { facts, policy, acs, notes } = hostFacts(snapshot);
  const edited = applyEdits(facts, busesBelow(snapshot.functions), settings.edits);
  const asked = policyOf(policy, settings);
  const after = computeIsolationGroups(edited.facts, asked);
  const isChanged = settings.edits.length > 0 || settings.downstream || settings.multifunction || settings.kernel !== "own";
  const before = isChanged ? computeIsolationGroups(facts, policy) : after;
  const groups = shownGroups(after, snapshot.functions, edited.was);
  const plain = (result: IsolationGroups, was: ReadonlyMap<string, string>): string[][] => result.groups.map(({ members }) => keys(members).map((name) => was.get(name) ?? name));
  return {
    roots: rootsOf(edited, new Map(snapshot.functions.map((f) => [key(f.address), f]))),
    groups,
    groupOf: new Map(groups.flatMap((group) => group.members.map((name) => [name, group] as const))),
    ungrouped: new Set(keys(after.ungrouped)),
    unknown: new Map(after.unknown.map(({ address, text }) => [key(address), text])),
    unsafe: after.unsafe,
    edited,
    policy: asked,
    changes: isChanged ? compareGroups(plain(before, new Map()), plain(after, edited.was)) : undefined,
    differences: snapshot.groups ? reportGroups(snapshot, "compare").differences : undefined,
    firmware: readFirmware(snapshot),
    notes,
    acs,
  };
};

/** All functions of the tree, in the order it is read. */
export const flatten = (nodes: readonly TopologyNode[]): TopologyNode[] => nodes.flatMap((node) => [node, ...flatten(node.children)]);

/** From a function up to its root bus, itself first. */
export const pathOf = (topology: Topology, name: string): string[] => {
  const parents = new Map(topology.edited.facts.map((f) => [key(f.address), f.parent && key(f.parent)]));
  const path: string[] = [];
  for (let at: string | undefined = parents.has(name) ? name : undefined; at !== undefined && path.length < 256; at = parents.get(at)) path.push(at);
  return path;
};
