import { Acs, acsControl, type Attachment } from "@iommu-lab/pci-bus/model";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { claimsOf, reasonsAtTurn, reasonsOnCommonPath, type IsolationClaims } from "./isolation-claims.ts";
import { gapAt, type KernelGap } from "./kernel-gaps.ts";
import { everyPair, pathUp, writeToPeer, type PeerWrite } from "./peer-write.ts";
import { run, type RunningMachine } from "./planned-machine.ts";
import { anyMachine, orderlyMachine, type Port } from "./random-machine.ts";

/** Arbitrary; the counts below belong to it. */
const SEED = 20_260_713;

interface Scene {
  readonly machine: RunningMachine;
  readonly claims: IsolationClaims;
}

const each = (machine: RunningMachine, look: (write: PeerWrite, scene: Scene) => void): void => {
  const scene = { machine, claims: claimsOf(machine) };
  for (const [from, to] of everyPair(machine)) look(writeToPeer(machine, from, to), scene);
};

const areTogether = (claims: IsolationClaims, a: Attachment, b: Attachment): boolean => claims.groupOf(a) === claims.groupOf(b);

/** The ports above send on what leads below themselves: nothing that comes from here is dropped half way. */
const forwardsUpstream = (seat: Attachment): boolean =>
  pathUp(seat)
    .slice(1)
    .every((bridge) => (bridge.fn.bridgeKind === "root-port" || bridge.fn.bridgeKind === "downstream-port" ? (acsControl(bridge) & Acs.UpstreamForwarding) !== 0 : true));

describe("isolation groups on orderly machines", () => {
  test("a write to the BAR of a function in another group does not arrive, and where the ports forward upstream the IOMMU has refused it", () => {
    let refused = 0;
    fc.assert(
      fc.property(orderlyMachine, (plan) => {
        each(run(plan), ({ from, to, arrived, heard }, { claims }) => {
          if (areTogether(claims, from, to)) return;
          expect(arrived).toBe(false);
          if (forwardsUpstream(from)) expect(heard).toHaveLength(1);
          refused += heard.length;
        });
      }),
      { seed: SEED, numRuns: 150 },
    );
    expect(refused).toBeGreaterThan(1000);
  });

  test("below a switch without any ACS every function writes to every other past the IOMMU, and the group names the port that lets it", () => {
    let bypasses = 0;
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 2, maxLength: 4 }), (devices) => {
        const ports = devices.map((count): Port => ({ acs: undefined, below: { kind: "device", functions: Array.from({ length: count }, () => undefined) } }));
        each(run([{ kind: "ports", ports: [{ acs: undefined, below: { kind: "switch", up: undefined, beside: [], ports } }] }]), (write, { claims }) => {
          const group = claims.groupOf(write.from);
          expect(claims.groupOf(write.to)).toBe(group);
          expect([write.arrived, write.heard]).toEqual([true, []]);
          if (write.turn?.at.isBridge) expect(reasonsAtTurn(write, group).map(({ rule }) => rule)).toContain("acs-path");
          bypasses++;
        });
      }),
      { seed: SEED, numRuns: 20 },
    );
    expect(bypasses).toBeGreaterThan(0);
  });
});

describe("isolation groups on any machine", () => {
  test("the IOMMU hears of a function only under requester IDs of the function's group, and no two groups share one", () => {
    fc.assert(
      fc.property(anyMachine, (plan) => {
        const owners = new Map<number, unknown>();
        each(run(plan), ({ from, heard }, { claims }) => {
          const group = claims.groupOf(from);
          for (const requester of heard) {
            expect(claims.groupOfRequester(requester) ?? group).toBe(group);
            expect(owners.get(requester) ?? group).toBe(group);
            owners.set(requester, group);
          }
        });
      }),
      { seed: SEED, numRuns: 100 },
    );
  });

  test("a write between groups passes the IOMMU by only through the known gaps of the kernel's rules, and each of them is one", () => {
    const seen: Record<KernelGap, number> = { "switch-ports": 0, "one-sided": 0, "virtual-functions": 0, "egress-control": 0 };
    fc.assert(
      fc.property(anyMachine, (plan) => {
        each(run(plan), ({ from, to, arrived, heard, turn }, { claims }) => {
          if (!arrived || areTogether(claims, from, to)) return;
          expect(heard).toEqual([]);
          const gap = turn && gapAt(turn.at, turn.to, claims.verdictOf);
          expect(gap).toBeDefined();
          if (gap) seen[gap]++;
        });
      }),
      { seed: SEED, numRuns: 300 },
    );
    expect(Object.values(seen).every((count) => count > 0)).toBe(true);
  });

  test("a write that passes the IOMMU by inside a group turns where a reason says; functions of one device may have it from a port above that merges them first", () => {
    const turned = { "acs-path": 0, multifunction: 0, "dma-alias": 0, quirk: 0 };
    fc.assert(
      fc.property(anyMachine, (plan) => {
        each(run(plan), (write, { claims }) => {
          const { from, to, arrived, turn } = write;
          if (!arrived || !areTogether(claims, from, to) || !turn) return;
          const group = claims.groupOf(from);
          const mergedAbove = pathUp(turn.at).slice(1).some((bridge) => claims.verdictOf(bridge) !== true);
          const elsewhere = (mergedAbove && !turn.at.isBridge) || gapAt(turn.at, turn.to, claims.verdictOf) !== undefined;
          const atTurn = reasonsAtTurn(write, group);
          const reasons = atTurn.length > 0 || !elsewhere ? atTurn : reasonsOnCommonPath(write, group);
          expect(reasons).not.toEqual([]);
          // A shared bus has one requester ID for all, which says more than that it knows no ACS.
          if (turn.at.bus.kind === "conventional") expect(reasons.map(({ rule }) => rule)).toContain("dma-alias");
          for (const rule of new Set(reasons.map((reason) => reason.rule))) turned[rule]++;
        });
      }),
      { seed: SEED, numRuns: 200 },
    );
    expect(turned["acs-path"]).toBeGreaterThan(0);
    expect(turned.multifunction).toBeGreaterThan(0);
    expect(turned["dma-alias"]).toBeGreaterThan(0);
  });

  // Source Validation knows bus numbers only: the functions of one device, and what hangs below one of them, are not told apart by the port above.
  test("below ports that pass the kernel's ACS test no function can speak under the requester ID of another device", () => {
    const spoofed = { guarded: 0, unguarded: 0 };
    fc.assert(
      fc.property(anyMachine, (plan) => {
        const machine = run(plan);
        const claims = claimsOf(machine);
        for (const [from, victim] of everyPair(machine).filter(([a, b]) => a.bus.kind !== "root" && !pathUp(b).some(({ bus }) => bus === a.bus))) {
          const guarded = pathUp(from).slice(1).every((bridge) => claims.verdictOf(bridge) === true);
          const { heard } = writeToPeer(machine, from, victim, { requester: victim.requester });
          if (guarded) expect(heard).not.toContain(victim.requester);
          spoofed[guarded ? "guarded" : "unguarded"] += Number(heard.includes(victim.requester));
        }
      }),
      { seed: SEED, numRuns: 100 },
    );
    expect(spoofed.guarded).toBe(0);
    expect(spoofed.unguarded).toBeGreaterThan(0);
  });
});
