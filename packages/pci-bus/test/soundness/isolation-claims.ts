import { compareAddresses, type FunctionAddress } from "@iommu-lab/pci-bus";
import { computeIsolationGroups, factsOfModel, judgeAcs, type AcsVerdict, type GroupingPolicy, type IsolationGroup, type MergeReason } from "@iommu-lab/pci-bus/groups";
import type { Attachment } from "@iommu-lab/pci-bus/model";
import { pathUp, type PeerWrite } from "./peer-write.ts";
import type { RunningMachine } from "./planned-machine.ts";

/** What the group engine says of a running machine, by its functions. */
export interface IsolationClaims {
  readonly groupOf: (seat: Attachment) => IsolationGroup;
  /** The group of the function with this requester ID, if there is such a function. */
  readonly groupOfRequester: (requester: number) => IsolationGroup | undefined;
  /** Whether a function passes the kernel's ACS test. */
  readonly verdictOf: (seat: Attachment) => AcsVerdict["isolated"];
}

const POLICY: GroupingPolicy = { ivrs: false };

const names = (address: FunctionAddress, seats: readonly Attachment[]): boolean => seats.some((seat) => compareAddresses(seat.address, address) === 0);

/** Computes the groups of a machine as its registers stand now. */
export const claimsOf = ({ bench }: RunningMachine): IsolationClaims => {
  const facts = factsOfModel(bench.complex);
  const { groups } = computeIsolationGroups(facts, POLICY);
  const byRequester = new Map(groups.flatMap((group) => group.members.map(({ requester }) => [requester, group] as const)));
  const verdicts = new Map(facts.map((f) => [f.address.requester, judgeAcs(f, POLICY).isolated]));
  return {
    groupOf: ({ requester }) => byRequester.get(requester) as IsolationGroup,
    groupOfRequester: (requester) => byRequester.get(requester),
    verdictOf: ({ requester }) => verdicts.get(requester) ?? "unknown",
  };
};

/** Where the rules must have seen that a request can turn: the function that sent it sideways, its neighbour, or the bridge of a shared bus. */
export const reasonsAtTurn = ({ turn }: PeerWrite, { reasons }: IsolationGroup): MergeReason[] => {
  if (!turn) return [];
  const { at, to } = turn;
  const shared = at.bus.kind === "conventional" ? at.bus.bridge : undefined;
  // Of two functions in one slot either may be the one that a reason names; of two switch ports it is the sender's.
  const places = shared ? [shared] : at.bus.kind === "switch" ? [at] : [at, to];
  return reasons.filter((reason) => names(reason.at, places));
};

/** Reasons at a function on both ways up to the root. */
export const reasonsOnCommonPath = ({ from, to }: PeerWrite, { reasons }: IsolationGroup): MergeReason[] => {
  const above = pathUp(to);
  const common = pathUp(from).filter((seat) => above.includes(seat));
  return reasons.filter(({ at }) => names(at, common));
};
