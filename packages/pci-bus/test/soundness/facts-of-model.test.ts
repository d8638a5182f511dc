import { formatRequester } from "@iommu-lab/pci-bus";
import { alternativeRoutingId, singleRootIov } from "@iommu-lab/pci-bus/capabilities";
import { computeIsolationGroups, factsFromConfig, factsOfModel, PcieType, type FunctionFacts } from "@iommu-lab/pci-bus/groups";
import { Bridge, bridgeDescription, describeFunctions, Endpoint, enumerate } from "@iommu-lab/pci-bus/model";
import { describe, expect, test } from "vitest";
import { benchMachine, conventionalDescription, endpointDescription, type BenchMachine } from "../model/bench-machine.ts";

/** A conventional function 00:01.0, and behind root port 00:02.0 an ARI device with functions 0 and 8 and one virtual function. */
const sample = (): BenchMachine => {
  const machine = benchMachine();
  const root = new Bridge("root-port", bridgeDescription("root-port", { ari: true, acs: true }));
  machine.host.bus.plug(new Endpoint(conventionalDescription()), 0x08);
  machine.host.bus.plug(root, 0x10);
  const sriov = singleRootIov({ totalVfs: 1, firstVfOffset: 0x20, vfStride: 1, vfDevice: 0x4321, vfBars: [{ index: 0, kind: "memory32", size: 0x1000 }] });
  root.secondary.plug(new Endpoint(endpointDescription({ subsystemVendor: 0x1af4, subsystemDevice: 0x77 }, [alternativeRoutingId({ Capability: { NextFunctionNumber: 8 } }), sriov])), 0);
  root.secondary.plug(new Endpoint(endpointDescription({}, [alternativeRoutingId()])), 8);
  enumerate(machine.complex);
  const at = machine.complex.find({ domain: 0, requester: 0x100 })?.places.sriov ?? 0;
  machine.poke(0x100, at + 0x10, 2, 1);
  machine.poke(0x100, at + 8, 2, machine.peek(0x100, at + 8, 2) | 9);
  return machine;
};

const named = (facts: readonly FunctionFacts[], name: string): FunctionFacts | undefined => facts.find(({ address }) => formatRequester(address.requester) === name);

describe("factsOfModel", () => {
  test("reads port type, ACS, class and parents from configuration space", () => {
    const facts = factsOfModel(sample().complex);
    expect(named(facts, "00:01.0")).toMatchObject({ portType: "none", acs: "none", bridge: false, classCode: 0x02_0000, parent: undefined });
    expect(named(facts, "00:02.0")).toMatchObject({ portType: PcieType.RootPort, bridge: true, classCode: 0x06_0400, acs: { capability: 0x7f, control: 0 } });
    expect(named(facts, "01:00.0")).toMatchObject({ portType: PcieType.Endpoint, subsystemVendor: 0x1af4, subsystemDevice: 0x77, multifunction: false, parent: { domain: 0, requester: 0x10 } });
  });

  test("a virtual function has its physical function's vendor, the device of the SR-IOV capability, and is never multifunction", () => {
    expect(named(factsOfModel(sample().complex), "01:04.0")).toMatchObject({ vendor: 0x1af4, device: 0x4321, multifunction: false, physicalFunction: { domain: 0, requester: 0x100 } });
  });

  test("an ARI function past 7 counts as a function above 0, whatever its last three bits", () => {
    expect(named(factsOfModel(sample().complex), "01:01.0")?.multifunction).toBe(true);
  });

  test("takes what describeFunctions gave as well, and a function that no IOMMU translates gets no group", () => {
    const machine = sample();
    const facts = factsOfModel(describeFunctions(machine.complex), ({ requester }) => requester !== 0x08);
    expect(computeIsolationGroups(facts, { ivrs: false }).ungrouped).toEqual([{ domain: 0, requester: 0x08 }]);
  });
});

describe("factsFromConfig", () => {
  const config = (): Uint8Array => describeFunctions(sample().complex)[1]?.config ?? new Uint8Array();

  test.each([
    [4096, { portType: PcieType.RootPort, acs: { capability: 0x7f } }],
    [256, { portType: PcieType.RootPort, acs: "unknown" }],
    [64, { portType: "unknown", acs: "unknown" }],
    [0, { portType: "none", acs: "none" }],
  ])("of the first %i bytes says only what they show", (length, expected) => {
    expect(factsFromConfig(config().subarray(0, length))).toMatchObject(expected);
  });

  test("a short header whose Status denies a capability list is conventional", () => {
    const bytes = config().slice(0, 64);
    bytes[6] = 0;
    expect(factsFromConfig(bytes)).toEqual({ portType: "none", acs: "none" });
  });
});
