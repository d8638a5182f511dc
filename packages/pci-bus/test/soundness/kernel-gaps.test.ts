import { formatRequester } from "@iommu-lab/pci-bus";
import { Acs, type Attachment } from "@iommu-lab/pci-bus/model";
import { describe, expect, test } from "vitest";
import { claimsOf } from "./isolation-claims.ts";
import { gapAt, type KernelGap } from "./kernel-gaps.ts";
import { writeToPeer } from "./peer-write.ts";
import { run } from "./planned-machine.ts";
import type { AcsChoice, MachinePlan, Port } from "./random-machine.ts";

const FOUR = Acs.SourceValidation | Acs.RequestRedirect | Acs.CompletionRedirect | Acs.UpstreamForwarding;
const REDIRECTS = Acs.RequestRedirect | Acs.CompletionRedirect;

const port = (control: number, ...functions: AcsChoice[]): Port => ({ acs: { capability: 0x7f, control, vector: 0 }, below: functions.length > 0 ? { kind: "device", functions } : undefined });
const CAPABLE: AcsChoice = { capability: REDIRECTS, control: REDIRECTS, vector: 0 };

const belowRootPort = (below: Port["below"]): MachinePlan => [{ kind: "ports", ports: [{ ...port(FOUR), below }] }];
const onSwitch = (...controls: number[]): MachinePlan => belowRootPort({ kind: "switch", up: undefined, beside: [], ports: controls.map((control) => port(control, undefined)) });

/** Each with the writer and the function written to. */
const GAPS: readonly (readonly [gap: KernelGap, what: string, plan: MachinePlan, from: string, to: string])[] = [
  ["switch-ports", "two downstream ports without ACS below a root port with it", onSwitch(0, 0), "03:00.0", "04:00.0"],
  ["switch-ports", "a downstream port without ACS beside one with it", onSwitch(0, FOUR), "03:00.0", "04:00.0"],
  ["one-sided", "a function without ACS beside one with it", belowRootPort({ kind: "device", functions: [undefined, CAPABLE] }), "01:00.0", "01:00.1"],
  ["one-sided", "a root port without ACS beside one with it in its slot", [{ kind: "ports", ports: [port(0, undefined), port(FOUR, undefined)] }], "01:00.0", "02:00.0"],
  ["virtual-functions", "a virtual function whose P2P Request Redirect is off", belowRootPort({ kind: "virtualized", physical: CAPABLE, virtual: { capability: REDIRECTS, control: 0, vector: 0 }, count: 1, firstOffset: 1 }), "01:00.1", "01:00.0"],
  ["egress-control", "P2P Egress Control on, and the vector lets the peer through", onSwitch(FOUR | Acs.EgressControl, FOUR), "03:00.0", "04:00.0"],
];

// The groups are Linux's, gaps and all (unchanged from 6.1 to 7.3). When the kernel's rules learn to see one of these, its line goes.
describe("what Linux puts in two groups although hardware lets one write to the other past the IOMMU", () => {
  test.each(GAPS)("%s: %s", (gap, _, plan, from, to) => {
    const machine = run(plan);
    const claims = claimsOf(machine);
    const seat = (name: string): Attachment => machine.endpoints.find(({ requester }) => formatRequester(requester) === name) as Attachment;
    const { arrived, heard, turn } = writeToPeer(machine, seat(from), seat(to));
    expect(claims.groupOf(seat(from))).not.toBe(claims.groupOf(seat(to)));
    expect([arrived, heard]).toEqual([true, []]);
    expect(turn && gapAt(turn.at, turn.to, claims.verdictOf)).toBe(gap);
  });
});
