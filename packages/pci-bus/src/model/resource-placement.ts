import { hex } from "@iommu-lab/memory";
import { formatAddress } from "../requester-id.ts";
import type { ScannedFunction } from "./bus-numbering.ts";
import type { AddressPools } from "./address-pool.ts";
import type { ResourceName, Shortage } from "./firmware-report.ts";
import { byAlignment, measure, type Demand } from "./resource-demand.ts";

/** What can be done without goes first, then the largest. */
const RANK: Readonly<Record<ResourceName["kind"], number>> = { reserve: 0, "vf-bar": 1, rom: 2, bar: 3, window: 4 };

const leaves = (demand: Demand): Demand[] => {
  if (demand.dropped) return [];
  return demand.inside ? demand.inside.flatMap(leaves) : [demand];
};

const victim = (demand: Demand): Demand | undefined => leaves(demand).sort((a, b) => RANK[a.resource.kind] - RANK[b.resource.kind] || b.size - a.size)[0];

const NAMES: Readonly<Record<ResourceName["kind"], (index: number) => string>> = {
  bar: (index) => `BAR ${index}`,
  "vf-bar": (index) => `VF BAR ${index}`,
  rom: () => "the expansion ROM",
  window: (index) => `the ${["I/O", "memory", "prefetchable"][index] ?? ""} window`,
  reserve: (index) => `the hot-plug reserve of ${["I/O", "memory", "prefetchable memory"][index] ?? ""}`,
};

const shortage = (lost: Demand, failed: Demand, short: number): Shortage => {
  const bridge: ScannedFunction | undefined = failed.inside ? failed.owner : undefined;
  const what = `${NAMES[lost.resource.kind](lost.resource.index)} of ${formatAddress(lost.owner.address)} (${hex(lost.size)} bytes)`;
  const where = bridge ? `the ${failed.kind} window of ${formatAddress(bridge.address)} would need ${hex(failed.size)} bytes, ${hex(short)} more than are free` : `there are ${hex(short)} bytes too few of ${failed.kind} addresses`;
  return { address: lost.owner.address, resource: lost.resource, bridge: bridge?.address, size: lost.size, short, text: `No room for ${what}: ${where}.` };
};

/** Tries to place everything of one level; gives back the first that does not fit, with the missing bytes. */
const tryPlacing = (demands: readonly Demand[], poolsOf: AddressPools): { readonly failed: Demand; readonly short: number } | undefined => {
  for (const demand of demands) measure(demand);
  for (const demand of demands.filter(({ dropped, size }) => !dropped && size > 0).sort(byAlignment)) {
    const pools = poolsOf(demand.kind);
    demand.base = undefined;
    for (const pool of pools) demand.base ??= pool.take(demand.size, demand.align);
    if (demand.base === undefined) return { failed: demand, short: demand.size - Math.max(0, ...pools.map((pool) => pool.largest(demand.align))) };
  }
  return undefined;
};

const settle = (demand: Demand, base: number): void => {
  demand.base = base;
  for (const each of demand.inside ?? []) if (!each.dropped && each.size > 0) settle(each, base + each.offset);
};

/**
 * Gives every demand of a bus an address, largest alignment first. What finds no room is dropped, the least
 * important and largest first, until the rest fits; each drop is reported.
 * @param freshPools makes the free addresses, anew for every attempt
 */
export const placeDemands = (demands: readonly Demand[], freshPools: () => AddressPools): Shortage[] => {
  const shortages: Shortage[] = [];
  for (;;) {
    const failure = tryPlacing(demands, freshPools());
    if (!failure) break;
    const lost = victim(failure.failed);
    if (!lost) break;
    lost.dropped = true;
    shortages.push(shortage(lost, failure.failed, failure.short));
  }
  for (const demand of demands) if (!demand.dropped && demand.size > 0 && demand.base !== undefined) settle(demand, demand.base);
  return shortages;
};
