import { busOf, devfnOf, type FunctionAddress } from "../requester-id.ts";
import type { FunctionFacts } from "./facts.ts";
import { aliasesOf } from "./dma-aliases.ts";

/** A domain and requester ID in one exact number, for maps. */
const addressKey = ({ domain, requester }: FunctionAddress): number => domain * 0x1_0000 + requester;
const busKey = ({ domain, requester }: FunctionAddress): number => domain * 0x100 + busOf(requester);

/** The functions of a host indexed for the rules: by number in creation order, parents resolved. */
export interface Topology {
  readonly functions: readonly FunctionFacts[];
  /** Index of the bridge above, -1 on a root bus. */
  readonly parent: readonly number[];
  /** Index of the function whose DMA this one's is (VMD), or its own. */
  readonly dmaFunction: readonly number[];
  /** Indexes of the functions on the same bus, in creation order. */
  readonly sameBus: readonly (readonly number[])[];
  /** Device and function numbers of the same bus that may stand for the function's requests. */
  readonly aliases: readonly ReadonlySet<number>[];
  readonly index: ReadonlyMap<number, number>;
}

/**
 * Creation order: per root bus, all functions of a bus by device and function, then each bridge's secondary bus.
 * Group membership is decided in this order, so it is part of the rule.
 */
const creationOrder = (functions: readonly FunctionFacts[], index: ReadonlyMap<number, number>): number[] => {
  const children = new Map<number, number[]>();
  for (const [i, f] of functions.entries()) {
    const parent = f.parent ? (index.get(addressKey(f.parent)) ?? -1) : -1;
    children.set(parent, [...(children.get(parent) ?? []), i]);
  }
  const byAddress = (a: number, b: number): number => addressKey((functions[a] as FunctionFacts).address) - addressKey((functions[b] as FunctionFacts).address);
  const order: number[] = [];
  const seen = new Set<number>();
  const visitBus = (members: readonly number[]): void => {
    const fresh = members.filter((i) => !seen.has(i)).sort(byAddress);
    for (const i of fresh) {
      seen.add(i);
      order.push(i);
    }
    for (const i of fresh) visitBus(children.get(i) ?? []);
  };
  const roots = children.get(-1) ?? [];
  for (const bus of new Set(roots.map((i) => busKey((functions[i] as FunctionFacts).address)).sort((a, b) => a - b))) visitBus(roots.filter((i) => busKey((functions[i] as FunctionFacts).address) === bus));
  // A text may name parents in a circle; those functions come last, as if on a root bus.
  for (const i of functions.keys()) if (!seen.has(i)) visitBus([i]);
  return order;
};

/** Indexes a host. Of two functions with one address the first counts. */
export const indexTopology = (facts: readonly FunctionFacts[]): Topology => {
  const unique = new Map<number, FunctionFacts>();
  for (const f of facts) if (!unique.has(addressKey(f.address))) unique.set(addressKey(f.address), f);
  const given = [...unique.values()];
  const order = creationOrder(given, new Map(given.map((f, i) => [addressKey(f.address), i])));
  const functions = order.map((i) => given[i] as FunctionFacts);
  const index = new Map(functions.map((f, i) => [addressKey(f.address), i]));
  const lookup = (address: FunctionAddress | undefined): number => (address ? (index.get(addressKey(address)) ?? -1) : -1);
  const parent = functions.map((f) => lookup(f.parent));
  for (const i of parent.keys()) if (isCircle(parent, i)) parent[i] = -1;
  const buses = new Map<number, number[]>();
  for (const [i, f] of functions.entries()) {
    const bus = buses.get(busKey(f.address));
    if (bus) bus.push(i);
    else buses.set(busKey(f.address), [i]);
  }
  return {
    functions,
    parent,
    dmaFunction: functions.map((f, i) => (f.dmaFunction ? Math.max(lookup(f.dmaFunction), -1) : i)).map((d, i) => (d < 0 ? i : d)),
    sameBus: functions.map((f) => buses.get(busKey(f.address)) ?? []),
    aliases: functions.map(aliasesOf),
    index,
  };
};

const isCircle = (parent: readonly number[], start: number): boolean => {
  let steps = 0;
  for (let i = start; i >= 0; i = parent[i] ?? -1) if (steps++ > 256) return true;
  return false;
};

/** Whether the function is PCI Express; undefined when it cannot be seen. */
export const isExpress = (f: FunctionFacts): boolean | undefined => (f.portType === "unknown" ? undefined : f.portType !== "none");

/** Whether the requests of `a` may carry the requester ID of `b`, a function of the same bus. */
export const claimsAlias = (t: Topology, a: number, b: number): boolean => (t.aliases[a] as ReadonlySet<number>).has(devfnOf((t.functions[b] as FunctionFacts).address.requester)) || t.dmaFunction[a] === b;

/** Whether two functions of one bus may use each other's requester ID. */
export const areAliases = (t: Topology, a: number, b: number): boolean => claimsAlias(t, a, b) || claimsAlias(t, b, a);
