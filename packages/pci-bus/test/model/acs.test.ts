import { AddressType, Completion, requesterId } from "@iommu-lab/pci-bus";
import { accessControlServices, pciExpress, PcieType } from "@iommu-lab/pci-bus/capabilities";
import { Acs, Bridge, bridgeDescription, describeFunctions, Endpoint, enumerate, type Attachment, type ForgedDmaOptions } from "@iommu-lab/pci-bus/model";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { benchMachine, endpointDescription, TableIommu, type BenchMachine } from "./bench-machine.ts";
import { forest, plant } from "./random-tree.ts";

/** Where four bytes that a function wrote to its peer's BAR address came to rest. */
type Outcome = "peer" | "iommu" | "blocked";

const RAM_PAGE = 0x1234;
const BYTES = Uint8Array.of(1, 2, 3, 4);

interface Scene {
  readonly machine: BenchMachine;
  readonly iommu: TableIommu;
  readonly from: Endpoint;
  readonly target: Endpoint;
  /** The port where the request enters. */
  readonly ingress: Attachment;
  readonly targetAddress: number;
}

const control = ({ machine }: Pick<Scene, "machine">, seat: Attachment, value: number): void => {
  machine.poke(seat.requester, seat.places.acs + 6, 2, value);
};

const finish = (machine: BenchMachine, from: Endpoint, target: Endpoint, ingress: Attachment): Scene => {
  const iommu = new TableIommu();
  machine.complex.addIommu(iommu);
  enumerate(machine.complex);
  const targetAddress = target.config.bar(0).address ?? 0;
  iommu.pages.set(targetAddress / 4096, RAM_PAGE);
  return { machine, iommu, from, target, ingress, targetAddress };
};

/** Root port with Upstream Forwarding, a switch, and an endpoint below each of its two downstream ports. */
const belowOneSwitch = (): Scene => {
  const machine = benchMachine();
  const root = new Bridge("root-port", bridgeDescription("root-port", { acs: true, errorReporting: true }));
  const up = new Bridge("upstream-port");
  const ports = [1, 2].map((portNumber) => new Bridge("downstream-port", bridgeDescription("downstream-port", { acs: true, portNumber, errorReporting: true })));
  const [a, b] = [new Endpoint(endpointDescription()), new Endpoint(endpointDescription())];
  const rootSeat = machine.host.bus.plug(root, 0x08);
  root.secondary.plug(up, 0);
  const [ingress] = ports.map((port, i) => up.secondary.plug(port, i << 3));
  ports[0]?.secondary.plug(a, 0);
  ports[1]?.secondary.plug(b, 0);
  const scene = finish(machine, a, b, ingress as Attachment);
  control(scene, rootSeat, Acs.UpstreamForwarding);
  return scene;
};

/** Two root ports in one multifunction slot with an endpoint each. */
const betweenRootPorts = (secondDevfn = 0x09): Scene => {
  const machine = benchMachine();
  const ports = [1, 2].map((portNumber) => new Bridge("root-port", bridgeDescription("root-port", { acs: true, portNumber, multifunction: true, errorReporting: true })));
  const [a, b] = [new Endpoint(endpointDescription()), new Endpoint(endpointDescription())];
  const [ingress] = ports.map((port, i) => machine.host.bus.plug(port, i === 0 ? 0x08 : secondDevfn));
  ports[0]?.secondary.plug(a, 0);
  ports[1]?.secondary.plug(b, 0);
  return finish(machine, a, b, ingress as Attachment);
};

const outcomeOf = (scene: Scene, options: ForgedDmaOptions = {}): Outcome => {
  scene.machine.hops.length = 0;
  scene.from.port.dmaWrite(scene.targetAddress + 0x10, BYTES, options);
  const word = Uint8Array.from([0, 1, 2, 3], (i) => scene.target.bars[0]?.read(0x10 + i, 1) ?? 0);
  const seen = scene.machine.hops.some(({ kind }) => kind === "iommu");
  if (word[0] === 1) return seen ? "iommu" : "peer";
  return seen && scene.machine.ram.read32(RAM_PAGE * 4096 + 0x10) === 0x0403_0201 ? "iommu" : "blocked";
};

const VECTOR_BIT = "vector bit of the peer set";

const MATRIX: readonly (readonly [name: string, bits: number, vector: boolean, untranslated: Outcome, translated: Outcome])[] = [
  ["no control", 0, false, "peer", "peer"],
  ["Source Validation", Acs.SourceValidation, false, "peer", "peer"],
  ["Translation Blocking", Acs.TranslationBlocking, false, "peer", "blocked"],
  ["P2P Request Redirect", Acs.RequestRedirect, false, "iommu", "iommu"],
  ["P2P Completion Redirect", Acs.CompletionRedirect, false, "peer", "peer"],
  ["Upstream Forwarding", Acs.UpstreamForwarding, false, "peer", "peer"],
  ["P2P Egress Control, vector clear", Acs.EgressControl, false, "peer", "peer"],
  [`P2P Egress Control, ${VECTOR_BIT}`, Acs.EgressControl, true, "blocked", "blocked"],
  ["P2P Egress Control and Request Redirect, vector clear", Acs.EgressControl | Acs.RequestRedirect, false, "peer", "peer"],
  [`P2P Egress Control and Request Redirect, ${VECTOR_BIT}`, Acs.EgressControl | Acs.RequestRedirect, true, "iommu", "iommu"],
  ["Direct Translated P2P", Acs.DirectTranslated, false, "peer", "peer"],
  ["Direct Translated P2P and Request Redirect", Acs.DirectTranslated | Acs.RequestRedirect, false, "iommu", "peer"],
];

describe.each([
  ["below one switch", belowOneSwitch],
  ["behind two root ports of one device", (): Scene => betweenRootPorts()],
])("ACS between peers %s (PCIe §6.12.3)", (_, build) => {
  test.each(MATRIX)("with %s an untranslated and a translated write go where the table says", (_name, bits, vector, untranslated, translated) => {
    const first = build();
    const second = build();
    for (const scene of [first, second]) {
      control(scene, scene.ingress, bits);
      // The peer's port has number 2.
      scene.machine.poke(scene.ingress.requester, scene.ingress.places.acs + 8, 4, vector ? 1 << 2 : 0);
    }
    expect(outcomeOf(first)).toBe(untranslated);
    expect(outcomeOf(second, { addressType: AddressType.Translated })).toBe(translated);
  });

  test.each(MATRIX)("with %s a write to memory goes through the IOMMU", (_name, bits) => {
    const scene = build();
    control(scene, scene.ingress, bits);
    scene.iommu.pages.set(0x77, 0x88);
    expect(scene.from.port.dmaWrite(0x77_000, BYTES)).toBe(Completion.Successful);
    expect(scene.machine.ram.read32(0x88_000)).toBe(0x0403_0201);
  });

  test("Translation Blocking stops a translated write to memory", () => {
    const scene = build();
    control(scene, scene.ingress, Acs.TranslationBlocking);
    expect(scene.from.port.dmaWrite(0x77_000, BYTES, { addressType: AddressType.Translated })).toBe(Completion.CompleterAbort);
    expect(scene.iommu.requests).toEqual([]);
  });

  test("Source Validation blocks a forged requester ID, records an ACS violation, and answers a read with Completer Abort", () => {
    const scene = build();
    control(scene, scene.ingress, Acs.SourceValidation);
    const forged: ForgedDmaOptions = { requester: requesterId(0x42, 0, 0) };
    expect(scene.from.port.dmaRead(0x77_000, new Uint8Array(4), forged)).toBe(Completion.CompleterAbort);
    const { fn, places } = scene.ingress;
    expect(fn.config.read(places.errors + 4, 4) & (1 << 21)).not.toBe(0);
    expect(fn.config.read(0x1e, 2) & (1 << 11)).not.toBe(0);
    expect(scene.from.config.read(0x06, 2) & (1 << 12)).not.toBe(0);
  });

  test("Source Validation blocks requester IDs below the secondary bus number as well", () => {
    const scene = build();
    control(scene, scene.ingress, Acs.SourceValidation);
    const forged: ForgedDmaOptions = { requester: requesterId(0, 0x1f, 0) };
    scene.from.port.dmaWrite(0x77_000, BYTES, forged);
    expect(scene.iommu.requests).toEqual([]);
  });

  test("without Source Validation the IOMMU sees the forged requester ID", () => {
    const scene = build();
    const forged: ForgedDmaOptions = { requester: requesterId(0x42, 0, 0) };
    scene.from.port.dmaWrite(0x77_000, BYTES, forged);
    expect(scene.iommu.requests.map(({ requester }) => requester)).toEqual([requesterId(0x42, 0, 0)]);
  });
});

describe("ACS Upstream Forwarding (PCIe §6.12.1.1)", () => {
  test("a redirected request whose target is below the same root port is refused there while Upstream Forwarding is off", () => {
    const scene = belowOneSwitch();
    control(scene, scene.ingress, Acs.RequestRedirect);
    const root = scene.machine.host.bus.at(0x08) as Attachment;
    control(scene, root, 0);
    expect(outcomeOf(scene)).toBe("blocked");
    expect(scene.machine.hops.at(-1)).toMatchObject({ at: root.requester, decision: "blocked" });
  });
});

describe("an address of a switch that no port claims", () => {
  test("is refused at the upstream port, whatever the root port would forward", () => {
    const scene = belowOneSwitch();
    // The two memory windows of the switch end at 2 MiB; this moves the second port's window away.
    const second = scene.ingress.requester + 8;
    scene.machine.poke(second, 0x20, 4, 0x0000_fff0);
    expect(outcomeOf(scene)).toBe("blocked");
    expect(scene.machine.hops.at(-1)).toMatchObject({ kind: "upstream-port", decision: "blocked" });
  });
});

describe("ACS P2P Completion Redirect (PCIe §6.12.1.1)", () => {
  test("the completer's port sends the completion of a peer's read upstream", () => {
    const scene = belowOneSwitch();
    const egress = scene.machine.complex.find({ domain: 0, requester: scene.ingress.requester + 8 }) as Attachment;
    control(scene, egress, Acs.CompletionRedirect);
    expect(scene.from.port.dmaRead(scene.targetAddress, new Uint8Array(4))).toBe(Completion.Successful);
    expect(scene.machine.hops.at(-1)).toMatchObject({ at: egress.requester, decision: "redirected" });
  });
});

describe("peers on the root bus", () => {
  test("root ports of different devices reach each other only through the IOMMU", () => {
    expect(outcomeOf(betweenRootPorts(0x10))).toBe("iommu");
  });

  test.each([
    ["no ACS capability", undefined, "peer"],
    ["Request Redirect set, and Upstream Forwarding above", Acs.RequestRedirect, "iommu"],
  ] as const)("functions of one multifunction device with %s", (_name, bits, expected) => {
    const machine = benchMachine();
    const port = new Bridge("root-port", bridgeDescription("root-port", { acs: true }));
    const capabilities = [pciExpress({ type: PcieType.Endpoint }), ...(bits === undefined ? [] : [accessControlServices({ Capability: { P2PRequestRedirect: 1 } })])];
    const [a, b] = [0, 1].map(() => new Endpoint(endpointDescription({ multifunction: true, capabilities })));
    const portSeat = machine.host.bus.plug(port, 0x08);
    const seat = port.secondary.plug(a as Endpoint, 0);
    port.secondary.plug(b as Endpoint, 1);
    const scene = finish(machine, a as Endpoint, b as Endpoint, seat);
    control(scene, portSeat, Acs.UpstreamForwarding);
    if (bits !== undefined) control(scene, seat, bits);
    expect(outcomeOf(scene)).toBe(expected);
  });
});

describe("P2P Egress Control inside a multifunction device (PCIe §7.7.11.4)", () => {
  test.each([
    [1, "blocked"],
    [2, "peer"],
  ] as const)("the vector's bit %i means function number, and a write to function 1 ends as %s", (bit, expected) => {
    const machine = benchMachine();
    const capability = accessControlServices({ Capability: { P2PEgressControl: 1, EgressControlVectorSize: 8 } });
    const [a, b] = [new Endpoint(endpointDescription({ multifunction: true }, [capability])), new Endpoint(endpointDescription())];
    const seat = machine.host.bus.plug(a, 0x08);
    machine.host.bus.plug(b, 0x09);
    const scene = finish(machine, a, b, seat);
    control(scene, seat, Acs.EgressControl);
    machine.poke(0x08, seat.places.acs + 8, 4, 1 << bit);
    expect(outcomeOf(scene)).toBe(expected);
  });
});

describe("isolation as a whole", () => {
  const ISOLATED = Acs.SourceValidation | Acs.RequestRedirect | Acs.CompletionRedirect | Acs.UpstreamForwarding;

  /** All pairs of an endpoint and another one's memory BAR. */
  const attempts = (machine: BenchMachine): { readonly from: Endpoint; readonly address: number; readonly target: Endpoint; readonly index: number }[] => {
    const endpoints = describeFunctions(machine.complex).map(({ address }) => machine.complex.find(address)?.fn).filter((fn) => fn instanceof Endpoint);
    return endpoints.flatMap((from) =>
      endpoints.flatMap((target) =>
        (target.description.bars ?? []).flatMap(({ index, kind }) => {
          const { address } = target.config.bar(index);
          return target === from || kind === "io" || address === undefined ? [] : [{ from, address, target, index }];
        }),
      ),
    );
  };

  test("with Source Validation, both redirects and Upstream Forwarding in every port, no write reaches a peer past the IOMMU", () => {
    fc.assert(
      fc.property(forest, (trees) => {
        const machine = benchMachine();
        for (const [i, each] of trees.entries()) plant(machine.host.bus, each, (i + 1) << 3, { acs: true });
        enumerate(machine.complex);
        machine.complex.addIommu(new TableIommu());
        for (const { address } of describeFunctions(machine.complex)) {
          const seat = machine.complex.find(address);
          if (seat?.places.acs) machine.poke(address.requester, seat.places.acs + 6, 2, ISOLATED);
        }
        for (const { from, address, target, index } of attempts(machine)) {
          expect(from.port.dmaWrite(address, Uint8Array.of(0x5a))).toBe(Completion.UnsupportedRequest);
          expect(target.bars[index]?.read(0, 1)).toBe(0);
        }
      }),
      { numRuns: 40 },
    );
  });

  test("with no control set every write to an address below the same root port reaches the peer, and none the IOMMU", () => {
    fc.assert(
      fc.property(forest, (trees) => {
        const machine = benchMachine();
        for (const [i, each] of trees.entries()) plant(machine.host.bus, each, (i + 1) << 3, { acs: true });
        enumerate(machine.complex);
        const iommu = new TableIommu();
        machine.complex.addIommu(iommu);
        const slotOf = (endpoint: Endpoint): Attachment => {
          let at = machine.complex.find({ domain: 0, requester: endpoint.port.requester }) as Attachment;
          while (at.bus.bridge) at = at.bus.bridge;
          return at;
        };
        for (const { from, address, target, index } of attempts(machine).filter(({ from, target }) => slotOf(from) === slotOf(target))) {
          expect(from.port.dmaWrite(address, Uint8Array.of(0x5a))).toBe(Completion.Successful);
          expect(target.bars[index]?.read(0, 1)).toBe(0x5a);
        }
        expect(iommu.requests).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });
});
