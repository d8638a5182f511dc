import { describe, expect, test } from "vitest";
import { formatAddress } from "../../src/index.ts";
import { computeIsolationGroups, PcieType, type FunctionFacts, type GroupingPolicy } from "../../src/groups/index.ts";
import { acs, address, endpoint, fn, port, rootPort } from "./hosts.ts";

const POLICY: GroupingPolicy = { ivrs: false };
const groups = (facts: readonly FunctionFacts[], policy: GroupingPolicy = POLICY): string[] => computeIsolationGroups(facts, policy).groups.map(({ members }) => members.map((member) => formatAddress(member).slice(5)).join(" "));

describe("a path to the root", () => {
  test("a function below a root port with every ACS bit is alone", () => {
    expect(groups([rootPort("00:01.0", { acs: acs() }), endpoint("01:00.0", "00:01.0")])).toEqual(["00:01.0", "01:00.0"]);
  });
  test("a function below a root port without ACS shares the port's group", () => {
    expect(groups([rootPort("00:01.0"), endpoint("01:00.0", "00:01.0")])).toEqual(["00:01.0 01:00.0"]);
  });
  test("an ACS capability that is not enabled does not isolate", () => {
    expect(groups([rootPort("00:01.0", { acs: acs(0x1d, 0) }), endpoint("01:00.0", "00:01.0")])).toEqual(["00:01.0 01:00.0"]);
  });
  test("a bit that the capability lacks counts as satisfied", () => {
    expect(groups([rootPort("00:01.0", { acs: acs(0x01, 0x01) }), endpoint("01:00.0", "00:01.0")])).toEqual(["00:01.0", "01:00.0"]);
  });
  test("one downstream port without ACS joins everything below the switch's upstream port", () => {
    const facts = [
      rootPort("00:01.0", { acs: acs() }),
      port("01:00.0", PcieType.UpstreamPort, { parent: "00:01.0" }),
      port("02:00.0", PcieType.DownstreamPort, { parent: "01:00.0", acs: acs() }),
      port("02:01.0", PcieType.DownstreamPort, { parent: "01:00.0" }),
      endpoint("03:00.0", "02:00.0"),
      endpoint("04:00.0", "02:01.0"),
    ];
    expect(groups(facts)).toEqual(["00:01.0", "01:00.0", "02:00.0", "02:01.0 04:00.0", "03:00.0"]);
  });
  test("a switch below a root port without ACS is one group with it", () => {
    const facts = [rootPort("00:01.0"), port("01:00.0", PcieType.UpstreamPort, { parent: "00:01.0" }), port("02:00.0", PcieType.DownstreamPort, { parent: "01:00.0", acs: acs() }), endpoint("03:00.0", "02:00.0")];
    expect(groups(facts)).toEqual(["00:01.0 01:00.0 02:00.0 03:00.0"]);
  });
  test("a virtual function joins by the path above its physical function", () => {
    const facts = [rootPort("00:01.0", { acs: acs() }), endpoint("01:00.0", "00:01.0"), endpoint("02:10.0", "00:01.0", { physicalFunction: address("01:00.0"), multifunction: false })];
    expect(groups(facts)).toEqual(["00:01.0", "01:00.0", "02:10.0"]);
  });
});

describe("functions of one slot", () => {
  test("conventional functions of one slot are together", () => {
    expect(groups([fn("00:1f.0", { multifunction: true }), fn("00:1f.2")])).toEqual(["00:1f.0 00:1f.2"]);
  });
  test("a conventional single function on a root bus is alone", () => {
    expect(groups([fn("00:1a.0"), fn("00:1b.0")])).toEqual(["00:1a.0", "00:1b.0"]);
  });
  test("a function with full ACS stays apart while its siblings without it are together", () => {
    expect(groups([rootPort("00:01.0", { acs: acs() }), endpoint("01:00.0", "00:01.0", { multifunction: true, acs: acs(0, 0) }), endpoint("01:00.1", "00:01.0"), endpoint("01:00.2", "00:01.0")])).toEqual(["00:01.0", "01:00.0", "01:00.1 01:00.2"]);
  });
  test("root ports of one slot without ACS join, and what is below them follows", () => {
    const facts = [rootPort("00:01.0", { multifunction: true }), rootPort("00:01.1"), endpoint("01:00.0", "00:01.0"), endpoint("02:00.0", "00:01.1")];
    expect(groups(facts)).toEqual(["00:01.0 00:01.1 01:00.0 02:00.0"]);
  });
});

describe("DMA aliases", () => {
  test("everything behind a PCIe-to-PCI bridge is in the bridge's group", () => {
    const facts = [rootPort("00:01.0", { acs: acs() }), port("01:00.0", PcieType.PcieToPciBridge, { parent: "00:01.0" }), fn("02:04.0", { parent: "01:00.0" }), fn("02:05.0", { parent: "01:00.0" })];
    expect(groups(facts)).toEqual(["00:01.0", "01:00.0 02:04.0 02:05.0"]);
  });
  test("the BMC bridge that passes requester IDs on still joins by its missing ACS since 7.2", () => {
    const facts = [rootPort("00:01.0", { acs: acs() }), port("01:00.0", PcieType.PcieToPciBridge, { parent: "00:01.0", vendor: 0x1a03, device: 0x1150 }), fn("02:00.0", { parent: "01:00.0" })];
    const result = computeIsolationGroups(facts, { ivrs: false, kernel: 7002 });
    expect(result.groups[1]?.reasons.map(({ rule }) => rule)).toEqual(["acs-path"]);
    expect(computeIsolationGroups(facts, { ivrs: false, kernel: 6001 }).groups[1]?.reasons.map(({ rule }) => rule)).toEqual(["dma-alias", "acs-path"]);
  });
  test("a Marvell controller's functions alias function 1", () => {
    const marvell = { vendor: 0x1b4b, device: 0x9230, acs: acs(0, 0) };
    const facts = [rootPort("00:01.0", { acs: acs() }), endpoint("01:00.0", "00:01.0", { ...marvell, multifunction: true }), endpoint("01:00.1", "00:01.0", marvell)];
    expect(groups(facts)).toEqual(["00:01.0", "01:00.0 01:00.1"]);
  });
  test("a non-transparent bridge that aliases the whole bus joins functions that have no group yet", () => {
    const facts = [rootPort("00:01.0", { acs: acs() }), endpoint("01:00.0", "00:01.0", { acs: acs(0, 0), multifunction: true }), endpoint("01:00.1", "00:01.0", { vendor: 0x10b5, device: 0x87b0, acs: acs(0, 0) }), endpoint("01:00.2", "00:01.0", { acs: acs(0, 0) })];
    expect(groups(facts)).toEqual(["00:01.0", "01:00.0 01:00.1 01:00.2"]);
  });
  test("an IVRS alias entry on the same bus joins both functions", () => {
    expect(groups([fn("00:14.4", { aliases: [0xa5] }), fn("00:14.5", { multifunction: false })])).toEqual(["00:14.4 00:14.5"]);
  });
  test("functions of a VMD domain are in the VMD endpoint's group", () => {
    const vmd = endpoint("00:0e.0", undefined, { portType: PcieType.RootComplexIntegratedEndpoint });
    const facts = [vmd, rootPort("10000:e0:06.0", { acs: acs(), dmaFunction: address("00:0e.0") }), endpoint("10000:e1:00.0", "10000:e0:06.0", { dmaFunction: address("00:0e.0") })];
    expect(computeIsolationGroups(facts, POLICY).groups).toHaveLength(1);
  });
});

describe("device-specific rules", () => {
  test("an Intel root-complex integrated endpoint is apart from its conventional siblings", () => {
    const facts = [fn("00:14.0", { vendor: 0x8086, multifunction: true }), fn("00:14.2", { vendor: 0x8086 }), fn("00:14.3", { vendor: 0x8086, portType: PcieType.RootComplexIntegratedEndpoint })];
    expect(groups(facts)).toEqual(["00:14.0 00:14.2", "00:14.3"]);
  });
  test("an Intel PCH root port isolates when the kernel's quirk works, and does not when it failed", () => {
    const host = (pchQuirk: "enabled" | "failed"): FunctionFacts[] => [rootPort("00:1c.0", { vendor: 0x8086, device: 0x1e10, pchQuirk }), endpoint("01:00.0", "00:1c.0")];
    expect(groups(host("enabled"))).toEqual(["00:1c.0", "01:00.0"]);
    expect(groups(host("failed"))).toEqual(["00:1c.0 01:00.0"]);
    expect(computeIsolationGroups(host("failed"), POLICY).groups[0]?.reasons[0]).toMatchObject({ rule: "quirk", quirk: "intel-pch", evidence: { register: "RCBA" } });
  });
  test("a Sunrise Point root port is judged by its 32-bit registers", () => {
    const spt = (control: number): FunctionFacts[] => [rootPort("00:1c.0", { vendor: 0x8086, device: 0xa110, acs: { offset: 0x140, capability: 0x0f, control: 0, wide: { capability: 0x0f, control } } }), endpoint("01:00.0", "00:1c.0")];
    expect(groups(spt(0x0d))).toEqual(["00:1c.0", "01:00.0"]);
    expect(groups(spt(0x01))).toEqual(["00:1c.0 01:00.0"]);
  });
  test("an AMD southbridge's functions are apart only with an IVRS table", () => {
    const southbridge = [fn("00:14.0", { vendor: 0x1002, device: 0x4385, multifunction: true }), fn("00:14.3", { vendor: 0x1002, device: 0x439d })];
    expect(groups(southbridge, { ivrs: true })).toEqual(["00:14.0", "00:14.3"]);
    expect(groups(southbridge)).toEqual(["00:14.0 00:14.3"]);
  });
  test("the IDT switch's source validation is not counted since 7.0", () => {
    const facts = [rootPort("00:01.0", { vendor: 0x111d, device: 0x80b5, acs: acs(0x1d, 0x1c) }), endpoint("01:00.0", "00:01.0")];
    expect(groups(facts, { ivrs: false, kernel: 7002 })).toEqual(["00:01.0", "01:00.0"]);
    expect(groups(facts, { ivrs: false, kernel: 6012 })).toEqual(["00:01.0 01:00.0"]);
  });
  test("a Switchtec non-transparent bridge's group is unknown: its aliases are not in any dump", () => {
    const result = computeIsolationGroups([rootPort("00:01.0", { acs: acs() }), endpoint("01:00.0", "00:01.0", { vendor: 0x11f8, device: 0x8531, classCode: 0x068000 })], POLICY);
    expect(result.unknown).toHaveLength(1);
  });
});

describe("pcie_acs_override", () => {
  const host = [rootPort("00:01.0"), endpoint("01:00.0", "00:01.0", { multifunction: true }), endpoint("01:00.1", "00:01.0")];
  test("it splits what the hardware does not, and the result is marked unsafe", () => {
    const result = computeIsolationGroups(host, { ivrs: false, override: { downstream: true, multifunction: true, ids: [] } });
    expect(result.groups).toHaveLength(3);
    expect(result.unsafe).toBe(true);
  });
  test("downstream alone leaves the functions of a slot together", () => {
    expect(groups(host, { ivrs: false, override: { downstream: true, multifunction: false, ids: [] } })).toEqual(["00:01.0", "01:00.0 01:00.1"]);
  });
  test("it never overrides a function that has an ACS capability", () => {
    expect(groups([rootPort("00:01.0", { acs: acs(0x1d, 0) }), endpoint("01:00.0", "00:01.0")], { ivrs: false, override: { downstream: true, multifunction: true, ids: [] } })).toEqual(["00:01.0 01:00.0"]);
  });
});

describe("what cannot be seen", () => {
  test("a function below a port whose capabilities are hidden is unknown, with the port named", () => {
    const result = computeIsolationGroups([port("00:01.0", 0, { portType: "unknown", acs: "unknown" }), endpoint("01:00.0", "00:01.0")], POLICY);
    expect(result.groups.map(({ members }) => members)).toEqual([]);
    expect(result.unknown.map(({ text }) => text)).toEqual([expect.stringContaining("0000:00:01.0"), expect.stringContaining("0000:00:01.0")]);
  });
  test("a single function on a root bus has its own group whatever is hidden", () => {
    expect(groups([fn("00:02.0", { portType: "unknown", acs: "unknown" }), fn("00:03.0", { portType: "unknown", acs: "unknown" })])).toEqual(["00:02.0", "00:03.0"]);
  });
  test("functions that no IOMMU translates are in no group, but still count on the path", () => {
    const result = computeIsolationGroups([rootPort("00:01.0", { translated: false }), endpoint("01:00.0", "00:01.0"), endpoint("01:00.1", "00:01.0", { multifunction: true })], POLICY);
    expect(result.ungrouped.map(formatAddress)).toEqual(["0000:00:01.0"]);
    expect(result.groups).toHaveLength(2);
  });
});
