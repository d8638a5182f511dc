import { formatRequester } from "@iommu-lab/pci-bus";
import { Acs } from "@iommu-lab/pci-bus/model";
import { describe, expect, test } from "vitest";
import { claimsOf } from "./isolation-claims.ts";
import { everyPair, writeToPeer } from "./peer-write.ts";
import { run } from "./planned-machine.ts";
import type { AcsChoice, Below, MachinePlan, Port } from "./random-machine.ts";

const FOUR = Acs.SourceValidation | Acs.RequestRedirect | Acs.CompletionRedirect | Acs.UpstreamForwarding;
const isolating = (below: Below): Port => ({ acs: { capability: 0x7f, control: FOUR, vector: 0 }, below });
const withoutControls: AcsChoice = { capability: 0, control: 0, vector: 0 };
const device = (...functions: AcsChoice[]): Below => ({ kind: "device", functions });
const inRootPort = (below: Below): MachinePlan => [{ kind: "ports", ports: [isolating(below)] }];

/** Every function's writes to every other: whether any arrived, and whom the IOMMU heard. */
const allWrites = (plan: MachinePlan): { readonly arrived: boolean; readonly heard: readonly string[] } => {
  const machine = run(plan);
  const writes = everyPair(machine).map(([from, to]) => writeToPeer(machine, from, to));
  return { arrived: writes.some(({ arrived }) => arrived), heard: writes.flatMap(({ heard }) => heard.map(formatRequester)) };
};

describe("functions and ports that have no way to their peers (PCIe §6.12.1, §7.7.11)", () => {
  test("functions whose ACS capability has no control of peer-to-peer requests send them out of the device", () => {
    expect(allWrites(inRootPort(device(withoutControls, withoutControls)))).toEqual({ arrived: false, heard: ["01:00.0", "01:00.1"] });
  });

  test("root ports of one slot whose ACS capability has no P2P Request Redirect hand requests to the root complex", () => {
    const port: Port = { acs: { capability: Acs.SourceValidation, control: Acs.SourceValidation, vector: 0 }, below: device(undefined) };
    expect(allWrites([{ kind: "ports", ports: [port, port] }])).toEqual({ arrived: false, heard: ["01:00.0", "02:00.0"] });
  });

  test("the functions of an SR-IOV device without ACS send requests out of the device", () => {
    expect(allWrites(inRootPort({ kind: "virtualized", physical: undefined, virtual: undefined, count: 1, firstOffset: 1 }))).toEqual({ arrived: false, heard: ["01:00.0", "01:00.1"] });
  });

  test("functions of another multifunction device without ACS reach each other, and are one group", () => {
    const plan = inRootPort(device(undefined, undefined));
    expect(allWrites(plan)).toEqual({ arrived: true, heard: [] });
    const machine = run(plan);
    expect(new Set(machine.endpoints.map(claimsOf(machine).groupOf)).size).toBe(1);
  });
});

describe("a request that a port has sent upstream (PCIe §6.12.1.1)", () => {
  test("passes the upstream ports of all switches above on its way to the IOMMU", () => {
    const inner: Below = { kind: "switch", up: undefined, beside: [], ports: [isolating(device(undefined)), isolating(device(undefined))] };
    const outer: Below = { kind: "switch", up: undefined, beside: [], ports: [isolating(inner)] };
    expect(allWrites(inRootPort(outer))).toEqual({ arrived: false, heard: ["05:00.0", "06:00.0"] });
  });

  test("passes them as well when a function of a multifunction device below sent it upstream", () => {
    const redirecting: AcsChoice = { capability: Acs.RequestRedirect, control: Acs.RequestRedirect, vector: 0 };
    const below: Below = { kind: "switch", up: undefined, beside: [], ports: [isolating(device(redirecting, redirecting))] };
    expect(allWrites(inRootPort(below))).toEqual({ arrived: false, heard: ["03:00.0", "03:00.1"] });
  });
});
