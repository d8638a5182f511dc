import { factsOfModel, peerPath, type PeerPath } from "@iommu-lab/pci-bus/groups";
import fc from "fast-check";
import { expect, test } from "vitest";
import { everyPair, writeToPeer } from "./peer-write.ts";
import { run } from "./planned-machine.ts";
import { anyMachine } from "./random-machine.ts";

test("facts tell the way that the packet takes in the machine, hop by hop; where the egress vector decides they say that they do not know", () => {
  const ends: Record<PeerPath["end"], number> = { peer: 0, root: 0, blocked: 0, unknown: 0 };
  fc.assert(
    fc.property(anyMachine, (plan) => {
      const machine = run(plan);
      const facts = factsOfModel(machine.bench.complex);
      for (const [from, to] of everyPair(machine)) {
        const { arrived, heard, turn } = writeToPeer(machine, from, to);
        const path = peerPath(facts, from.address, to.address, { ivrs: false });
        expect(path).toBeDefined();
        if (!path) continue;
        ends[path.end]++;
        if (path.end === "unknown") continue;
        expect({ arrived, heard: heard.length > 0 }).toEqual({ arrived: path.end === "peer", heard: path.end === "root" });
        expect(path.down[0]?.requester).toBe(turn?.to.requester);
        expect(path.down.at(-1)?.requester).toBe(turn && to.requester);
        const told = path.hops.map(({ at, decision, rule }) => ({ at: at.requester, decision, rule }));
        expect(machine.bench.hops.slice(0, told.length).map(({ at, decision, rule }) => ({ at, decision, rule }))).toEqual(told);
      }
    }),
    { numRuns: 200 },
  );
  for (const count of Object.values(ends)) expect(count).toBeGreaterThan(0);
});
