import { devfnOf, type FunctionAddress } from "../requester-id.ts";
import { judgeAcs, type AcsVerdict } from "./acs-rules.ts";
import { aliasQuirkOf } from "./dma-aliases.ts";
import { PcieType } from "../pcie-type.ts";
import type { FunctionFacts } from "./facts.ts";
import type { GroupingPolicy } from "./policy.ts";
import { idKey, PASSES_REQUESTER_IDS, TRANSLATION_ROOTS } from "./quirk-table.ts";
import type { MergeReason, MergeRule } from "./reason.ts";
import { areAliases, claimsAlias, isExpress, type Topology } from "./topology.ts";
import { joinText } from "./wording.ts";

/** How functions whose facts are not visible count in one run: isolated, or not. */
export type Assumption = "isolated" | "not-isolated";

/** One run's outcome: the group number of every function (-1: none) and why it was joined. */
export interface Grouping {
  readonly groupOf: readonly number[];
  /** Each with the number of the group it belongs to. */
  readonly reasons: readonly { readonly group: number; readonly reason: MergeReason }[];
}

/** One step from a function to another it is inseparable from. */
interface Link {
  readonly from: number;
  readonly to: number;
  readonly causes: readonly { readonly rule: MergeRule; readonly at: number; readonly verdict: AcsVerdict | undefined }[];
}

/** The ACS verdicts of all functions; they depend on nothing but the function and the policy. */
export const judgeAll = (t: Topology, policy: GroupingPolicy): AcsVerdict[] => t.functions.map((f) => judgeAcs(f, policy));

/**
 * Linux's partition of functions into IOMMU groups (drivers/iommu `pci_device_group`, unchanged from 6.1 to 7.3),
 * in creation order, keeping the links that joined each function to its group.
 */
export class GroupingRun {
  readonly #t: Topology;
  readonly #verdicts: readonly AcsVerdict[];
  readonly #assume: Assumption;
  readonly #policy: GroupingPolicy;
  readonly #group: number[];
  readonly #reasons: { group: number; reason: MergeReason }[] = [];

  constructor(topology: Topology, verdicts: readonly AcsVerdict[], policy: GroupingPolicy, assume: Assumption) {
    this.#t = topology;
    this.#verdicts = verdicts;
    this.#assume = assume;
    this.#policy = policy;
    this.#group = topology.functions.map(() => -1);
  }

  run(): Grouping {
    let next = 0;
    for (const [i, f] of this.#t.functions.entries()) {
      if (f.translated === false) continue;
      const links = this.#findGroup(i);
      const target = links?.at(-1)?.to;
      if (links && target !== undefined) {
        this.#group[i] = this.#group[target] as number;
        for (const link of links) this.#explain(link, this.#group[i]);
      } else this.#group[i] = next++;
    }
    return { groupOf: this.#group, reasons: this.#reasons };
  }

  /** The chain of links that ends at a function with a group; undefined: a new group. */
  #findGroup(d: number): Link[] | undefined {
    const chain: Link[] = [];
    let r = d;
    // A. Everything that may stand for the function's requests, on the way up.
    for (const t of this.#aliasWalk(d)) {
      // The requests of a VMD domain are the endpoint's by the function's own nature; elsewhere the bridge changes them.
      const vmd = r === d && this.#t.dmaFunction[d] === t;
      if (t !== r) chain.push({ from: r, to: t, causes: [{ rule: "dma-alias", at: vmd ? d : t, verdict: undefined }, ...(vmd ? [] : this.#pathCauses(this.#t.parent[r] as number))] });
      r = t;
      if (this.#hasGroup(t)) return chain;
    }
    // B. Every bridge above from which a request can turn round.
    for (let b = this.#t.parent[r] as number; b >= 0; b = this.#t.parent[b] as number) {
      const causes = this.#pathCauses(b);
      if (causes.length === 0) break;
      chain.push({ from: r, to: b, causes });
      r = b;
      if (this.#hasGroup(b)) return chain;
    }
    // C, D. Siblings on the bus: aliases, then functions of the slot.
    const seen = new Set<number>();
    const rest = this.#aliasGroup(r, seen) ?? this.#functionGroup(r, seen);
    return rest && [...chain, ...rest];
  }

  #hasGroup(i: number): boolean {
    return (this.#group[i] as number) >= 0;
  }

  #isolated(i: number): boolean {
    const verdict = this.#verdicts[i] as AcsVerdict;
    return verdict.isolated === "unknown" ? this.#assume === "isolated" : verdict.isolated;
  }

  /** The functions from bridge `b` to the root bus that let requests turn round; none: the path isolates. */
  #pathCauses(b: number): Link["causes"] {
    const causes: { rule: MergeRule; at: number; verdict: AcsVerdict }[] = [];
    for (let i = b; i >= 0; i = this.#t.parent[i] as number) {
      const verdict = this.#verdicts[i] as AcsVerdict;
      if (!this.#isolated(i)) causes.push({ rule: verdict.isolated === false && verdict.quirk !== undefined ? "quirk" : "acs-path", at: i, verdict });
    }
    return causes;
  }

  /** The functions whose requester IDs the requests of `d` may carry when the IOMMU sees them. */
  #aliasWalk(d: number): number[] {
    const start = this.#t.dmaFunction[d] as number;
    const visited = start === d ? [d] : [start];
    for (let i = this.#t.parent[start] as number; i >= 0; i = this.#t.parent[i] as number) {
      const bridge = this.#t.functions[i] as FunctionFacts;
      const id = bridge.vendor === undefined || bridge.device === undefined ? -1 : idKey(bridge.vendor, bridge.device);
      if (TRANSLATION_ROOTS.has(id)) break;
      if (this.#takesOverRequests(bridge, id)) visited.push(i);
    }
    return visited;
  }

  #takesOverRequests(bridge: FunctionFacts, id: number): boolean {
    const express = isExpress(bridge);
    if (express === undefined) return this.#assume === "not-isolated";
    if (!express) return true;
    if (bridge.portType === PcieType.PciToPcieBridge) return true;
    return bridge.portType === PcieType.PcieToPciBridge && !(PASSES_REQUESTER_IDS.has(id) && (this.#policy.kernel ?? Infinity) >= 7002);
  }

  #aliasGroup(x: number, seen: Set<number>): Link[] | undefined {
    const devfn = devfnOf((this.#t.functions[x] as FunctionFacts).address.requester);
    if (seen.has(devfn)) return undefined;
    seen.add(devfn);
    if (this.#hasGroup(x)) return [];
    for (const y of this.#t.sameBus[x] ?? []) {
      if (y === x || !areAliases(this.#t, x, y)) continue;
      const rest = this.#aliasGroup(y, seen) ?? this.#functionGroup(y, seen);
      if (rest) return [{ from: x, to: y, causes: this.#siblingCauses(x, y) }, ...rest];
    }
    return undefined;
  }

  #functionGroup(x: number, seen: Set<number>): Link[] | undefined {
    if (!this.#mayTalkInside(x)) return undefined;
    for (const y of this.#t.sameBus[x] ?? []) {
      if (!this.#isSibling(x, y) || this.#isolated(y)) continue;
      const rest = this.#aliasGroup(y, seen);
      if (rest) return [{ from: x, to: y, causes: this.#siblingCauses(x, y) }, ...rest];
    }
    return undefined;
  }

  #mayTalkInside(x: number): boolean {
    return (this.#t.functions[x] as FunctionFacts).multifunction && !this.#isolated(x);
  }

  #isSibling(x: number, y: number): boolean {
    return x !== y && ((this.#t.functions[x] as FunctionFacts).address.requester & ~7) === ((this.#t.functions[y] as FunctionFacts).address.requester & ~7);
  }

  /** Everything that makes two functions of one bus inseparable: either may use the other's ID, or both lack ACS in one slot. */
  #siblingCauses(x: number, y: number): Link["causes"] {
    const causes: { rule: MergeRule; at: number; verdict: AcsVerdict | undefined }[] = [];
    if (claimsAlias(this.#t, x, y)) causes.push({ rule: "dma-alias", at: x, verdict: undefined });
    if (claimsAlias(this.#t, y, x)) causes.push({ rule: "dma-alias", at: y, verdict: undefined });
    if (this.#isSibling(x, y) && this.#mayTalkInside(x) && !this.#isolated(y)) {
      const verdict = this.#verdicts[x] as AcsVerdict;
      causes.push({ rule: verdict.isolated === false && verdict.quirk !== undefined ? "quirk" : "multifunction", at: x, verdict });
    }
    return causes;
  }

  #explain(link: Link, group: number): void {
    const address = (i: number): FunctionAddress => (this.#t.functions[i] as FunctionFacts).address;
    for (const { rule, at, verdict } of link.causes) {
      const f = this.#t.functions[at] as FunctionFacts;
      const evidence = verdict?.isolated === false ? verdict.evidence : aliasEvidence(f);
      const quirk = verdict?.isolated === false ? verdict.quirk : aliasQuirkOf(f);
      const members = [address(link.from), address(link.to)] as const;
      this.#reasons.push({ group, reason: { rule, members, at: f.address, evidence, ...(quirk === undefined ? {} : { quirk }), text: joinText(rule, members[0], members[1], f, verdict) } });
    }
  }
}

/** What shows that a function takes over, or shares, requester IDs. */
const aliasEvidence = (f: FunctionFacts): MergeReason["evidence"] => {
  if (f.dmaFunction) return { register: "PCI domain", offset: null, value: f.address.domain, missing: ["requester ID of its own"] };
  if (f.bridge && f.portType === "none") return { register: "Header Type", offset: 0x0e, value: 1, missing: ["requester ID of the originating function"] };
  if (f.bridge) return { register: "PCI Express Device/Port Type", offset: f.expressOffset === undefined ? null : f.expressOffset + 2, value: f.portType === "unknown" || f.portType === "none" ? null : f.portType, missing: ["requester ID of the originating function"] };
  return { register: "Device ID", offset: 2, value: f.device ?? null, missing: ["requester ID of its own"] };
};
