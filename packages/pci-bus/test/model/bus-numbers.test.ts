import { describe, expect, test } from "vitest";
import { FlatMemory } from "@iommu-lab/memory";
import { formatAddress } from "@iommu-lab/pci-bus";
import { Bridge, bridgeDescription, Endpoint, enumerate, RootComplex, type BusRange } from "../../src/model/index.ts";
import { endpointDescription } from "./bench-machine.ts";

const clock = { now: 0, after: () => () => undefined };

/** Root ports at devices 1, 2 and 3, each with an endpoint; the first with a switch in between. */
const machine = (lastBus = 0xff): RootComplex => {
  const complex = new RootComplex({ memory: new FlatMemory(0x1000), clock });
  const { bus } = complex.addHostBridge({ lastBus, memory: [{ base: 0x8000_0000, last: 0xfebf_ffff }] });
  for (const device of [1, 2, 3]) {
    const port = new Bridge("root-port", bridgeDescription("root-port", {}));
    bus.plug(port, device << 3);
    if (device > 1) port.secondary.plug(new Endpoint(endpointDescription()), 0);
    else {
      const up = new Bridge("upstream-port");
      port.secondary.plug(up, 0);
      const down = new Bridge("downstream-port");
      up.secondary.plug(down, 0);
      down.secondary.plug(new Endpoint(endpointDescription()), 0);
    }
  }
  return complex;
};

const numbered = (wishes: Readonly<Record<string, BusRange>>, lastBus?: number): string[] =>
  enumerate(machine(lastBus), { busNumbers: (bridge) => wishes[formatAddress(bridge).slice(5)] })
    .functions.filter(({ secondaryBus }) => secondaryBus !== undefined)
    .map(({ address, secondaryBus, subordinateBus }) => `${formatAddress(address).slice(5)} ${secondaryBus}-${subordinateBus}`);

describe("bus numbers that another firmware gave", () => {
  test("without wishes numbers follow each other, depth first", () => {
    expect(numbered({})).toEqual(["00:01.0 1-3", "01:00.0 2-3", "02:00.0 3-3", "00:02.0 4-4", "00:03.0 5-5"]);
  });

  test("wishes are kept, also inside a switch, and what follows comes after them", () => {
    expect(numbered({ "00:01.0": { secondary: 0x10, subordinate: 0x1f }, "10:00.0": { secondary: 0x12, subordinate: 0x18 }, "00:03.0": { secondary: 0x40, subordinate: 0x40 } })).toEqual(["00:01.0 16-31", "10:00.0 18-24", "12:00.0 19-19", "00:02.0 32-32", "00:03.0 64-64"]);
  });

  test.each<readonly [string, Readonly<Record<string, BusRange>>, readonly string[]]>([
    ["number taken already", { "00:02.0": { secondary: 2, subordinate: 2 } }, ["00:01.0 1-3", "01:00.0 2-3", "02:00.0 3-3", "00:02.0 4-4", "00:03.0 5-5"]],
    ["last number before the first", { "00:01.0": { secondary: 9, subordinate: 8 } }, ["00:01.0 1-3", "01:00.0 2-3", "02:00.0 3-3", "00:02.0 4-4", "00:03.0 5-5"]],
    ["last number past the host bridge's", { "00:03.0": { secondary: 5, subordinate: 0x100 } }, ["00:01.0 1-3", "01:00.0 2-3", "02:00.0 3-3", "00:02.0 4-4", "00:03.0 5-5"]],
    ["fewer numbers than what is below needs", { "00:01.0": { secondary: 1, subordinate: 1 } }, ["00:01.0 1-3", "01:00.0 2-3", "02:00.0 3-3", "00:02.0 4-4", "00:03.0 5-5"]],
  ])("a wish that cannot be kept gives the next free ones: %s", (_what, wishes, expected) => {
    expect(numbered(wishes)).toEqual(expected);
  });

  test("a later bridge may have the lower numbers; one that asks for none comes after the one before it", () => {
    expect(numbered({ "00:02.0": { secondary: 0x20, subordinate: 0x20 }, "00:01.0": { secondary: 0x30, subordinate: 0x3f } }).toSorted()).toEqual(["00:01.0 48-63", "00:02.0 32-32", "00:03.0 33-33", "30:00.0 49-50", "31:00.0 50-50"]);
  });

  test("the last bus may be asked for, and nothing is left after it", () => {
    const complex = machine(0x20);
    const { functions, shortages } = enumerate(complex, { busNumbers: (bridge) => (bridge.requester === 0x10 ? { secondary: 0x20, subordinate: 0x20 } : undefined) });
    expect(functions.find(({ address }) => address.requester === 0x10)).toMatchObject({ secondaryBus: 0x20, subordinateBus: 0x20 });
    expect(shortages.map(({ address }) => formatAddress(address))).toEqual(["0000:00:03.0"]);
  });
});
