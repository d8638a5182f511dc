import type { FunctionAddress } from "@iommu-lab/pci-bus";
import { peerPath, PcieType, type AcsFacts, type FunctionFacts, type GroupingPolicy } from "@iommu-lab/pci-bus/groups";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

const at = (requester: number): FunctionAddress => ({ domain: 0, requester });
const acs = (capability: number | undefined, control: number | undefined): AcsFacts => ({ offset: 0x100, capability, control });
const port = (requester: number, changes: Partial<FunctionFacts> = {}): FunctionFacts => ({ address: at(requester), parent: undefined, vendor: 0x1af4, device: 1, multifunction: true, bridge: true, portType: PcieType.RootPort, acs: "none", translated: true, ...changes });
const card = (requester: number, parent: number): FunctionFacts => ({ address: at(requester), parent: at(parent), vendor: 0x1af4, device: 2, multifunction: false, bridge: false, portType: PcieType.Endpoint, acs: "none", translated: true });

/** Two root ports of one device, a card behind each; how the first port's facts end a write from card to card. */
const end = (changes: Partial<FunctionFacts>, policy: GroupingPolicy = { ivrs: false }): string | undefined => {
  const path = peerPath([port(8, changes), port(9), card(0x100, 8), card(0x200, 9)], at(0x100), at(0x200), policy);
  return path && `${path.end}: ${path.hops.at(-1)?.rule ?? ""}`;
};

describe("the way of a write between two cards, by what is known of the port (PCIe §6.12)", () => {
  test.each([
    ["no ACS", {}, /^peer: PCIe §6\.12\.1/],
    ["Request Redirect", { acs: acs(0x1f, 0x1d) }, /^root: PCIe §6\.12\.3: P2P Request Redirect/],
    ["no control of peer requests", { acs: acs(0x03, 0x01) }, /^root: PCIe §6\.12\.1: an ACS capability without/],
    ["Egress Control", { acs: acs(0x3f, 0x21) }, /^unknown: P2P Egress Control is on/],
    ["ACS that nobody saw", { acs: "unknown" }, /^unknown: ACS cannot be seen/],
    ["ACS without its bits", { acs: acs(undefined, undefined) }, /^unknown: ACS cannot be seen/],
    ["Intel's chipset port with the kernel's quirk", { vendor: 0x8086, device: 0x1c10, pchQuirk: "enabled" }, /^root: Intel PCH root port/],
    ["Intel's chipset port, quirk unseen", { vendor: 0x8086, device: 0x1c10 }, /^unknown: whether the chipset's/],
    ["Sunrise Point, whose registers are 32 bits wide", { vendor: 0x8086, device: 0xa110, acs: { ...acs(0x1f, 0), wide: { capability: 0x1f, control: 0x1d } } }, /^root: PCIe §6\.12\.3/],
    ["the same registers of another port", { acs: { ...acs(0x1f, 0), wide: { capability: 0x1f, control: 0x1d } } }, /^peer: /],
  ] as const)("%s", (_, changes, expected) => {
    expect(end(changes)).toMatch(expected);
  });
  test("pcie_acs_override= redirects no packet", () => {
    expect(end({}, { ivrs: false, override: { downstream: true, multifunction: true, ids: [] } })).toMatch(/^peer: /);
  });
  test("an address below the port that it came from needs Upstream Forwarding", () => {
    const two = (control: number): string | undefined => peerPath([port(8, { acs: acs(0x1f, control) }), { ...card(0x100, 8), multifunction: true, acs: acs(0x0c, 0x0c) }, { ...card(0x101, 8), multifunction: true }], at(0x100), at(0x101), { ivrs: false })?.end;
    expect([two(0x1d), two(0x0d)]).toEqual(["root", "blocked"]);
  });
  test("a bridge that is named but not there, or of no known kind, leaves the way unknown", () => {
    const all = [port(8, { acs: acs(0x1f, 0x1d) }), port(9), card(0x100, 8), card(0x200, 9)];
    const way = (facts: readonly FunctionFacts[]): string | undefined => peerPath(facts, at(0x100), at(0x200), { ivrs: false })?.end;
    expect([way(all), way(all.slice(1)), way(all.filter(({ address }) => address.requester !== 9))]).toEqual(["root", "unknown", "unknown"]);
    const two = (portType: FunctionFacts["portType"]): string | undefined => peerPath([port(8, { portType }), { ...card(0x100, 8), multifunction: true, acs: acs(0x0c, 0x0c) }, card(0x101, 8)], at(0x100), at(0x101), { ivrs: false })?.end;
    expect([two(PcieType.RootPort), two("unknown"), two("none")]).toEqual(["blocked", "unknown", "peer"]);
  });
  test("whatever the facts are, the way ends", () => {
    const someAddress = fc.record({ domain: fc.nat(1), requester: fc.constantFrom(0, 8, 9, 0x100, 0x101, 0x200) });
    const facts = fc.array(fc.record({ address: someAddress, parent: fc.option(someAddress, { nil: undefined }), vendor: fc.constant(0x1af4), device: fc.constant(1), multifunction: fc.boolean(), bridge: fc.boolean(), portType: fc.constantFrom<FunctionFacts["portType"]>("none", "unknown", 0, 4, 5, 6, 7, 8, 9), acs: fc.constantFrom<FunctionFacts["acs"]>("none", "unknown", acs(0x7f, 0x1d), acs(0x7f, 0)), translated: fc.boolean() }), { maxLength: 8 });
    fc.assert(fc.property(facts, someAddress, someAddress, (all, from, to) => {
      const path = peerPath(all, from, to, { ivrs: false });
      if (path) expect(path.down.length > 0).toBe(path.end === "peer");
    }));
  });
});
