import { FlatMemory } from "@iommu-lab/memory";
import { formatAddress } from "@iommu-lab/pci-bus";
import { Bridge, enumerate, RootComplex } from "@iommu-lab/pci-bus/model";
import { describe, expect, test } from "vitest";
import { VgaArbiter, VgaCard, vgaDevicesOf, VgaResource } from "../../src/index.ts";

/** 00:01.0 port - 01:00.0 bridge - 02:01.0 card, 02:02.0 display of class 0380; 00:05.0 card. */
const machine = () => {
  const complex = new RootComplex({ memory: new FlatMemory(0x1000), clock: { now: 0, after: () => () => undefined } });
  const { bus } = complex.addHostBridge();
  const port = new Bridge("root-port");
  const below = new Bridge("pcie-to-pci");
  bus.plug(port, 1 << 3);
  port.secondary.plug(below, 0);
  const deep = new VgaCard({ videoMemory: 2 ** 20, conventional: true });
  below.secondary.plug(deep, 1 << 3);
  below.secondary.plug(new VgaCard({ videoMemory: 2 ** 20, classCode: 0x03_8000, conventional: true }), 2 << 3);
  bus.plug(new VgaCard({ videoMemory: 2 ** 20 }), 5 << 3);
  enumerate(complex, { vga: "first" });
  return { complex, deep, port, below };
};

describe("the functions of a machine for the arbiter", () => {
  test("those of a bus come before those below its bridges, and bridges are not among them", () => {
    expect(vgaDevicesOf(machine().complex).map(({ address }) => formatAddress(address))).toEqual(["0000:00:05.0", "0000:02:01.0", "0000:02:02.0"]);
  });
  test("each has its class, the bridges above from the nearest on, and its memory BARs", () => {
    const { complex, deep, port, below } = machine();
    const [onRoot, found, other] = vgaDevicesOf(complex);
    expect([onRoot?.classCode, other?.classCode, onRoot?.bridges]).toEqual([0x03_0000, 0x03_8000, []]);
    expect(found?.config).toBe(deep.config);
    expect(found?.bridges.map(({ config }) => config)).toEqual([below.config, port.config]);
    expect(found?.bridges.map(({ address }) => formatAddress(address))).toEqual(["0000:01:00.0", "0000:00:01.0"]);
    expect(found?.memoryBars?.map(({ size }) => size)).toEqual([2 ** 20, 0x1000]);
    expect(found?.memoryBars?.every(({ base }) => base >= 0xc000_0000)).toBe(true);
  });
  test("notes tell what the bus does not", () => {
    const found = vgaDevicesOf(machine().complex, ({ bus }) => (bus.kind === "root" ? { isIntegrated: true, driver: "i915" } : {}));
    expect(found.map(({ driver, isIntegrated }) => [driver, isIntegrated])).toEqual([["i915", true], [undefined, undefined], [undefined, undefined]]);
  });
  test("the arbiter routes real bridges", () => {
    const { complex, below, port } = machine();
    const arbiter = new VgaArbiter({ kernel: "7.2" });
    arbiter.scan(vgaDevicesOf(complex));
    const [a, b] = arbiter.states.map(({ device }) => device);
    if (!a || !b) throw new Error("two cards");
    arbiter.tryGet(a, VgaResource.LegacyMemory);
    expect([below, port].map(({ config }) => config.read(0x3e, 2) & 8)).toEqual([0, 0]);
    arbiter.put(a, VgaResource.LegacyMemory);
    arbiter.tryGet(b, VgaResource.LegacyMemory);
    expect([below, port].map(({ config }) => config.read(0x3e, 2) & 8)).toEqual([8, 8]);
  });
});
