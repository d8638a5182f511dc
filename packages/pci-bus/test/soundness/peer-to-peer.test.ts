import { formatRequester } from "@iommu-lab/pci-bus";
import { accessControlServices, alternativeRoutingId, singleRootIov } from "@iommu-lab/pci-bus/capabilities";
import { computeIsolationGroups, factsOfModel } from "@iommu-lab/pci-bus/groups";
import { Acs, Bridge, bridgeDescription, Endpoint, enumerate, type Attachment, type ForgedDmaOptions } from "@iommu-lab/pci-bus/model";
import { beforeEach, describe, expect, test } from "vitest";
import { benchMachine, conventionalDescription, endpointDescription, TableIommu, type BenchMachine } from "../model/bench-machine.ts";

const ALL_FOUR = Acs.SourceValidation | Acs.RequestRedirect | Acs.CompletionRedirect | Acs.UpstreamForwarding;

let machine: BenchMachine;
/** Maps nothing: whatever it is asked, it refuses. */
let iommu: TableIommu;

beforeEach(() => {
  machine = benchMachine();
  iommu = new TableIommu();
  machine.complex.addIommu(iommu);
});

const port = (kind: "root-port" | "downstream-port"): Bridge => new Bridge(kind, bridgeDescription(kind, { acs: true, multifunction: kind === "root-port" }));
const card = (): Endpoint => new Endpoint(endpointDescription());

const seatOf = (fn: Endpoint): Attachment => machine.complex.find({ domain: 0, requester: fn.port.requester }) as Attachment;

const setAcs = (control: number, ...ports: Attachment[]): void => {
  for (const { requester, places } of ports) machine.poke(requester, places.acs + 6, 2, control);
};

/** Writes to the other function's BAR; what came of it, and whom the IOMMU heard. */
const write = (from: Endpoint, to: Endpoint): string => {
  iommu.requests.length = 0;
  const bar = seatOf(to).decoded()[0];
  from.port.dmaWrite(bar?.base ?? 0, Uint8Array.of(0x5a));
  const arrived = bar?.handler?.read(0, 1) === 0x5a;
  bar?.handler?.write(0, 1, 0);
  return `${arrived ? "arrived" : "stopped"}, IOMMU ${iommu.requests.length > 0 ? `asked for ${iommu.requests.map(({ requester }) => formatRequester(requester)).join()}` : "not asked"}`;
};

/** The groups of the machine as it stands. */
const groups = (): string[] => computeIsolationGroups(factsOfModel(machine.complex), { ivrs: false }).groups.map(({ members }) => members.map(({ requester }) => formatRequester(requester)).join(" "));
const reasons = (): string[] => computeIsolationGroups(factsOfModel(machine.complex), { ivrs: false }).groups.flatMap((group) => group.reasons.map(({ text }) => text));

interface SwitchScene {
  readonly root: Attachment;
  readonly down: readonly [Attachment, Attachment];
  readonly a: Endpoint;
  readonly b: Endpoint;
}

/** Root port 00:01.0, a switch with ports 02:00.0 and 02:01.0, and behind them the cards 03:00.0 and 04:00.0. */
const switchWithTwoCards = (): SwitchScene => {
  const root = port("root-port");
  const up = new Bridge("upstream-port");
  const [left, right, a, b] = [port("downstream-port"), port("downstream-port"), card(), card()];
  const rootSeat = machine.host.bus.plug(root, 0x08);
  root.secondary.plug(up, 0);
  const down = [up.secondary.plug(left, 0x00), up.secondary.plug(right, 0x08)] as const;
  left.secondary.plug(a, 0);
  right.secondary.plug(b, 0);
  enumerate(machine.complex);
  return { root: rootSeat, down, a, b };
};

describe("two cards below one switch (PCIe §6.12)", () => {
  test("with ACS off a card writes into its neighbour's registers, the IOMMU is never asked, and all of it is one group", () => {
    const { a, b } = switchWithTwoCards();
    expect(write(a, b)).toBe("arrived, IOMMU not asked");
    expect(groups()).toEqual(["00:01.0 01:00.0 02:00.0 02:01.0 03:00.0 04:00.0"]);
    expect(reasons()).toContain("Requests of 0000:03:00.0 can turn round at 0000:02:00.0 without passing the IOMMU: ACS bits are not enabled: SrcValid, ReqRedir, CmpltRedir and UpstreamFwd missing from ACS Control (0x00 at offset 0x106).");
  });

  test("with the four bits on in every port the switch sends the write up to the IOMMU, which refuses it, and every function is a group", () => {
    const { root, down, a, b } = switchWithTwoCards();
    setAcs(ALL_FOUR, root, ...down);
    expect(write(a, b)).toBe("stopped, IOMMU asked for 03:00.0");
    expect(groups()).toEqual(["00:01.0", "01:00.0", "02:00.0", "02:01.0", "03:00.0", "04:00.0"]);
    expect(reasons()).toEqual([]);
  });

  test.each([
    ["P2P Request Redirect", Acs.RequestRedirect, "arrived, IOMMU not asked", "ReqRedir"],
    ["P2P Completion Redirect", Acs.CompletionRedirect, "stopped, IOMMU asked for 03:00.0", "CmpltRedir"],
    ["Upstream Forwarding", Acs.UpstreamForwarding, "stopped, IOMMU asked for 03:00.0", "UpstreamFwd"],
    ["Source Validation", Acs.SourceValidation, "stopped, IOMMU asked for 03:00.0", "SrcValid"],
  ] as const)("without %s in the switch's and the root port there is one group again, and the reasons say which bit is missing", (_, bit, outcome, name) => {
    const { root, down, a, b } = switchWithTwoCards();
    setAcs(ALL_FOUR & ~bit, ...down);
    setAcs(ALL_FOUR, root);
    expect(write(a, b)).toBe(outcome);
    // With the root port as it should be, the kernel's rules would keep the switch's ports apart: see kernel-gaps.test.ts.
    setAcs(ALL_FOUR & ~bit, root);
    expect(groups()).toHaveLength(1);
    const control = `0x${(ALL_FOUR & ~bit).toString(16).padStart(2, "0")}`;
    expect(reasons()).toContain(`Requests of 0000:03:00.0 can turn round at 0000:02:00.0 without passing the IOMMU: ACS bits are not enabled: ${name} missing from ACS Control (${control} at offset 0x106).`);
  });

  test("a card that lies about its requester ID is believed while Source Validation is off, and stopped at its own port when it is on", () => {
    const { down, a, b } = switchWithTwoCards();
    setAcs(Acs.RequestRedirect, ...down);
    const forged: ForgedDmaOptions = { requester: b.port.requester };
    iommu.requests.length = 0;
    a.port.dmaWrite(0x1000, Uint8Array.of(1), forged);
    expect(iommu.requests.map(({ requester }) => formatRequester(requester))).toEqual(["04:00.0"]);
    setAcs(Acs.RequestRedirect | Acs.SourceValidation, ...down);
    iommu.requests.length = 0;
    a.port.dmaWrite(0x1000, Uint8Array.of(1), forged);
    expect(iommu.requests).toEqual([]);
    expect(machine.hops.at(-1)).toMatchObject({ at: down[0].requester, decision: "blocked" });
  });
});

describe("conventional cards behind a PCIe-to-PCI bridge", () => {
  test("share the bridge's requester ID, so the IOMMU cannot tell them apart, and no ACS helps against the shared bus", () => {
    const root = port("root-port");
    const bridge = new Bridge("pcie-to-pci");
    const cards = [new Endpoint(conventionalDescription()), new Endpoint(conventionalDescription())] as const;
    const rootSeat = machine.host.bus.plug(root, 0x08);
    root.secondary.plug(bridge, 0);
    bridge.secondary.plug(cards[0], 0x20);
    bridge.secondary.plug(cards[1], 0x28);
    enumerate(machine.complex);
    setAcs(ALL_FOUR, rootSeat);
    for (const each of cards) each.port.dmaWrite(0x1000, Uint8Array.of(1));
    expect(iommu.requests.map(({ requester }) => formatRequester(requester))).toEqual(["02:00.0", "02:00.0"]);
    expect(write(...cards)).toBe("arrived, IOMMU not asked");
    expect(groups()).toEqual(["00:01.0", "01:00.0 02:04.0 02:05.0"]);
    expect(reasons()).toContain("0000:02:04.0 is behind 0000:01:00.0, which puts its own requester ID on what it forwards; the IOMMU cannot tell 0000:02:04.0 from 0000:01:00.0.");
  });
});

describe("functions of one card", () => {
  const twoFunctions = (): readonly [Endpoint, Endpoint] => {
    const acs = accessControlServices({ Capability: { P2PRequestRedirect: 1, P2PCompletionRedirect: 1 } });
    const functions = [new Endpoint(endpointDescription({ multifunction: true }, [acs])), new Endpoint(endpointDescription({ multifunction: true }, [acs]))] as const;
    const root = port("root-port");
    const rootSeat = machine.host.bus.plug(root, 0x08);
    for (const [i, fn] of functions.entries()) root.secondary.plug(fn, i);
    enumerate(machine.complex);
    setAcs(ALL_FOUR, rootSeat);
    return functions;
  };

  test("reach each other inside the card until their own ACS sends the request out to the IOMMU", () => {
    const functions = twoFunctions();
    expect(write(...functions)).toBe("arrived, IOMMU not asked");
    expect(groups()).toEqual(["00:01.0", "01:00.0 01:00.1"]);
    expect(reasons()).toEqual(["0000:01:00.1 and 0000:01:00.0 are functions of one slot and may talk to each other inside the device: ACS bits are not enabled: ReqRedir and CmpltRedir missing from ACS Control (0x00 at offset 0x106)."]);
    setAcs(Acs.RequestRedirect | Acs.CompletionRedirect, ...functions.map(seatOf));
    expect(write(...functions)).toBe("stopped, IOMMU asked for 01:00.0");
    expect(groups()).toEqual(["00:01.0", "01:00.0", "01:00.1"]);
  });

  test("that are virtual have a requester ID and a group each, and reach neither each other nor their physical function", () => {
    const root = new Bridge("root-port", bridgeDescription("root-port", { acs: true, ari: true }));
    const physical = new Endpoint(endpointDescription({}, [alternativeRoutingId(), singleRootIov({ totalVfs: 2, firstVfOffset: 1, vfStride: 1, vfDevice: 0x4321, vfBars: [{ index: 0, kind: "memory32", size: 0x1000 }] })]));
    const rootSeat = machine.host.bus.plug(root, 0x08);
    root.secondary.plug(physical, 0);
    enumerate(machine.complex);
    setAcs(ALL_FOUR, rootSeat);
    const { sriov } = seatOf(physical).places;
    machine.poke(0x100, sriov + 0x10, 2, 2);
    machine.poke(0x100, sriov + 8, 2, machine.peek(0x100, sriov + 8, 2) | 9);
    const [first, second] = seatOf(physical).virtual.map(({ fn }) => fn);
    if (!(first instanceof Endpoint && second instanceof Endpoint)) throw new TypeError("VF Enable brought up no virtual functions.");
    for (const requester of [0x101, 0x102]) machine.poke(requester, 4, 2, 4);
    expect(write(first, second)).toBe("stopped, IOMMU asked for 01:00.1");
    expect(write(second, physical)).toBe("stopped, IOMMU asked for 01:00.2");
    expect(groups()).toEqual(["00:01.0", "01:00.0", "01:00.1", "01:00.2"]);
  });
});

describe("cards behind two root ports", () => {
  test.each([
    ["of one slot reach each other while those ports have ACS off", 0x09, "arrived, IOMMU not asked", ["00:01.0 00:01.1 01:00.0 02:00.0"]],
    ["of two slots do not, for the root complex sends everything between slots through the IOMMU", 0x10, "stopped, IOMMU asked for 01:00.0", ["00:01.0 01:00.0", "00:02.0 02:00.0"]],
  ] as const)("%s", (_, secondDevfn, outcome, expected) => {
    const [a, b] = [card(), card()];
    for (const [devfn, fn] of [[0x08, a], [secondDevfn, b]] as const) {
      const root = port("root-port");
      machine.host.bus.plug(root, devfn);
      root.secondary.plug(fn, 0);
    }
    enumerate(machine.complex);
    expect(write(a, b)).toBe(outcome);
    expect(groups()).toEqual(expected);
  });
});
