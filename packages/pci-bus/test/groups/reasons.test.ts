import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatAddress } from "../../src/index.ts";
import { computeIsolationGroups, withoutCause, type FunctionFacts, type IsolationGroups } from "../../src/groups/index.ts";
import { randomHost } from "./random-host.ts";

const POLICY = { ivrs: true } as const;

const groupOf = (result: IsolationGroups, address: string): number => result.groups.findIndex(({ members }) => members.some((member) => formatAddress(member) === address));

describe("reasons of merges", () => {
  test("every function is in exactly one group, or ungrouped, or unknown", () => {
    fc.assert(
      fc.property(randomHost, (facts) => {
        const result = computeIsolationGroups(facts, POLICY);
        const all = [...result.groups.flatMap(({ members }) => members), ...result.ungrouped, ...result.unknown.map(({ address }) => address)].map(formatAddress).sort();
        expect(all).toEqual(facts.map(({ address }) => formatAddress(address)).sort());
      }),
      { numRuns: 300 },
    );
  });

  test("following the reasons from any member of a group reaches every other", () => {
    fc.assert(
      fc.property(randomHost, (facts) => {
        for (const { members, reasons } of computeIsolationGroups(facts, POLICY).groups) {
          const reached = new Set([formatAddress(members[0] as (typeof members)[number])]);
          for (let grown = true; grown; ) {
            grown = false;
            for (const reason of reasons) {
              const [a, b] = reason.members.map(formatAddress) as [string, string];
              if (reached.has(a) !== reached.has(b)) {
                reached.add(a).add(b);
                grown = true;
              }
            }
          }
          expect([...reached].sort()).toEqual(members.map(formatAddress).sort());
        }
      }),
      { numRuns: 300 },
    );
  });

  test("with the causes of a pair's only chain taken away, the pair comes apart", () => {
    fc.assert(
      fc.property(randomHost, (facts) => {
        const before = computeIsolationGroups(facts, POLICY);
        for (const { members, reasons } of before.groups) {
          // With two members there is one chain; larger groups may hold a pair by several.
          if (members.length !== 2) continue;
          const repaired = reasons.reduce<FunctionFacts[]>((host, reason) => withoutCause(host, reason), [...facts]);
          const after = computeIsolationGroups(repaired, POLICY);
          const [a, b] = members.map(formatAddress) as [string, string];
          expect(groupOf(after, a)).not.toBe(groupOf(after, b));
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("a reason's evidence never names a bit that is set", () => {
    fc.assert(
      fc.property(randomHost, (facts) => {
        const byAddress = new Map(facts.map((f) => [formatAddress(f.address), f]));
        for (const reason of computeIsolationGroups(facts, POLICY).groups.flatMap(({ reasons }) => reasons)) {
          const f = byAddress.get(formatAddress(reason.at));
          if (reason.evidence.register === "ACS Control" && f && typeof f.acs !== "string") expect(reason.evidence.value).toBe(f.acs.control);
        }
      }),
      { numRuns: 200 },
    );
  });
});
