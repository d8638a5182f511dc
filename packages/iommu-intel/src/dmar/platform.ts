import { busOf, requesterId, type RequesterId } from "@iommu-lab/pci-bus";
import type { Atsr, DmarScope, DmarTable, Drhd, Rmrr, Satc } from "./table.ts";

/** What following device scopes needs to know of a machine's PCI hierarchy. */
export interface DmarTopology {
  /** Secondary bus number of the bridge at a place; undefined where there is none. */
  secondaryBus(segment: number, bridge: RequesterId): number | undefined;
  /** Bridges between a function and its root bus, nearest first; the last is the root port. */
  bridgesAbove(segment: number, requester: RequesterId): readonly RequesterId[];
}

/** Whether software may turn a function's address translation cache on. VT-d §8.5, §8.8. */
export type DeviceTlbPolicy =
  /** The path supports ATS. */
  | "allowed"
  /** The function does not work without (SATC, ATC_REQUIRED). In legacy mode hardware turns it on by itself, and software must not. */
  | "required"
  /** No ATSR names the root port above. */
  | "refused";

const ScopeType = { Endpoint: 1, SubHierarchy: 2, IoApic: 3, Hpet: 4 } as const;

/** A scope resolved to a place. */
interface Place {
  readonly requester: RequesterId;
  readonly type: number;
  readonly flags: number;
}

/**
 * What a DMAR table says about the functions of one machine: which unit serves them, which memory they must be able to
 * reach, and whether they may cache translations. Scopes whose path leads nowhere name nothing. VT-d §8.
 */
export class DmarPlatform {
  readonly table: DmarTable;
  readonly #topology: DmarTopology;

  constructor(table: DmarTable, topology: DmarTopology) {
    this.table = table;
    this.#topology = topology;
  }

  /** The unit that serves a function: one that names it or a bridge above it, else the segment's INCLUDE_PCI_ALL unit. VT-d §8.3. */
  unitOf(segment: number, requester: RequesterId): Drhd | undefined {
    const units = this.#structures("DRHD").filter((unit) => unit.segment === segment);
    return units.find((unit) => this.#names(segment, unit.scopes, requester)) ?? units.find(({ includeAll }) => includeAll);
  }

  /** The unit an I/O APIC or HPET is named under, and the source-id its interrupts carry. VT-d §8.3.1. */
  sourceOf(kind: "io-apic" | "hpet", id: number): { readonly unit: Drhd; readonly requester: RequesterId } | undefined {
    const type = kind === "io-apic" ? ScopeType.IoApic : ScopeType.Hpet;
    for (const unit of this.#structures("DRHD"))
      for (const scope of unit.scopes) {
        if (scope.type !== type || scope.enumerationId !== id) continue;
        const requester = this.#resolve(unit.segment, scope);
        if (requester !== undefined) return { unit, requester };
      }
    return undefined;
  }

  /** Memory that a function must be able to reach at its own address before any driver asks for it. VT-d §8.4. */
  reservedRegionsOf(segment: number, requester: RequesterId): readonly Rmrr[] {
    return this.#structures("RMRR").filter((region) => region.segment === segment && this.#names(segment, region.scopes, requester));
  }

  /** Whether a function may use its device-TLB. VT-d §8.5 "ATSR", §8.8 "SATC". */
  deviceTlbOf(segment: number, requester: RequesterId): DeviceTlbPolicy {
    const satc = this.#structures("SATC").find((entry: Satc) => entry.segment === segment && this.#places(segment, entry.scopes).some((place) => place.requester === requester));
    if (satc !== undefined) return satc.atcRequired ? "required" : "allowed";
    const rootPort = this.#topology.bridgesAbove(segment, requester).at(-1);
    // Integrated endpoints have no port that could lack it.
    if (rootPort === undefined) return "allowed";
    const reports = this.#structures("ATSR").filter((entry: Atsr) => entry.segment === segment);
    return reports.some(({ allPorts, scopes }) => allPorts || this.#places(segment, scopes).some((place) => place.requester === rootPort)) ? "allowed" : "refused";
  }

  /** Property flags of an integrated function; 0 where no SIDP names it. VT-d §8.9. */
  propertiesOf(segment: number, requester: RequesterId): number {
    for (const entry of this.#structures("SIDP")) {
      const place = entry.segment === segment ? this.#places(segment, entry.scopes).find((each) => each.requester === requester) : undefined;
      if (place !== undefined) return place.flags;
    }
    return 0;
  }

  #structures<N extends "DRHD" | "RMRR" | "ATSR" | "SATC" | "SIDP">(name: N): Extract<DmarTable["structures"][number], { readonly name: N }>[] {
    return this.table.structures.filter((structure): structure is Extract<DmarTable["structures"][number], { readonly name: N }> => structure.name === name);
  }

  /** A scope names a function itself, or by a bridge everything below it. */
  #names(segment: number, scopes: readonly DmarScope[], requester: RequesterId): boolean {
    const places = this.#places(segment, scopes);
    if (places.some((place) => place.requester === requester && (place.type === ScopeType.Endpoint || place.type === ScopeType.SubHierarchy))) return true;
    const above = this.#topology.bridgesAbove(segment, requester);
    return places.some((place) => place.type === ScopeType.SubHierarchy && above.includes(place.requester));
  }

  #places(segment: number, scopes: readonly DmarScope[]): Place[] {
    return scopes.flatMap((scope) => {
      if (scope.type !== ScopeType.Endpoint && scope.type !== ScopeType.SubHierarchy) return [];
      const requester = this.#resolve(segment, scope);
      return requester === undefined ? [] : [{ requester, type: scope.type, flags: scope.flags }];
    });
  }

  /** Follows a path through the bridges' secondary buses. VT-d §8.3.1. */
  #resolve(segment: number, scope: DmarScope): RequesterId | undefined {
    let bus: number | undefined = scope.startBus;
    let at: RequesterId | undefined;
    for (const step of scope.path) {
      if (bus === undefined || step.device > 31 || step.function > 7) return undefined;
      at = requesterId(bus, step.device, step.function);
      bus = this.#topology.secondaryBus(segment, at);
    }
    return at;
  }
}

/** The requesters on a root complex's buses as `DmarPlatform` asks for them, from bridges given by their bus numbers. */
export const topologyOf = (bridges: readonly { readonly segment: number; readonly requester: RequesterId; readonly secondaryBus: number }[]): DmarTopology => {
  const above = (segment: number, bus: number): RequesterId[] => {
    const bridge = bridges.find((each) => each.segment === segment && each.secondaryBus === bus);
    return bridge === undefined || busOf(bridge.requester) === bus ? [] : [bridge.requester, ...above(segment, busOf(bridge.requester))];
  };
  return {
    secondaryBus: (segment, bridge) => bridges.find((each) => each.segment === segment && each.requester === bridge)?.secondaryBus,
    bridgesAbove: (segment, requester) => above(segment, busOf(requester)),
  };
};
