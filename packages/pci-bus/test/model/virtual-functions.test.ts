import { formatRequester } from "@iommu-lab/pci-bus";
import { alternativeRoutingId, singleRootIov } from "@iommu-lab/pci-bus/capabilities";
import { Bridge, bridgeDescription, describeFunctions, Endpoint, enumerate } from "@iommu-lab/pci-bus/model";
import { describe, expect, test } from "vitest";
import { benchMachine, endpointDescription, TableIommu, type BenchMachine } from "./bench-machine.ts";

interface Layout {
  readonly totalVfs: number;
  readonly firstVfOffset: number;
  readonly vfStride: number;
}

const physicalFunction = ({ totalVfs, firstVfOffset, vfStride }: Layout): Endpoint =>
  new Endpoint(
    endpointDescription({}, [alternativeRoutingId(), singleRootIov({ totalVfs, firstVfOffset, vfStride, vfDevice: 0x4321, vfBars: [{ index: 0, kind: "memory64", size: 0x4000, prefetchable: true }] })]),
  );

const withVirtual = (layout: Layout, ari = true): { machine: BenchMachine; pf: Endpoint; setVfs: (count: number) => void } => {
  const machine = benchMachine();
  const port = new Bridge("root-port", bridgeDescription("root-port", { ari }));
  machine.host.bus.plug(port, 0x08);
  const pf = physicalFunction(layout);
  port.secondary.plug(pf, 0);
  enumerate(machine.complex);
  const at = pf.config.extendedCapability(0x10);
  const setVfs = (count: number): void => {
    machine.poke(0x100, at + 8, 2, machine.peek(0x100, at + 8, 2) & ~9);
    machine.poke(0x100, at + 0x10, 2, count);
    machine.poke(0x100, at + 8, 2, machine.peek(0x100, at + 8, 2) | (count > 0 ? 9 : 0));
  };
  return { machine, pf, setVfs };
};

const virtualRids = ({ complex }: BenchMachine): string[] => describeFunctions(complex).filter(({ physicalFunction }) => physicalFunction).map(({ address }) => formatRequester(address.requester));

describe("SR-IOV virtual functions (PCIe §9.2, §9.3)", () => {
  test.each([
    [{ totalVfs: 4, firstVfOffset: 1, vfStride: 1 }, 3, ["01:00.1", "01:00.2", "01:00.3"]],
    [{ totalVfs: 4, firstVfOffset: 0x80, vfStride: 2 }, 2, ["01:10.0", "01:10.2"]],
    [{ totalVfs: 4, firstVfOffset: 0x100, vfStride: 0x100 }, 2, ["02:00.0", "03:00.0"]],
    [{ totalVfs: 4, firstVfOffset: 0xfe, vfStride: 1 }, 3, ["01:1f.6", "01:1f.7", "02:00.0"]],
  ])("with offset and stride %o, NumVFs %i gives the requester IDs %o", (layout, count, expected) => {
    const { machine, setVfs } = withVirtual(layout);
    setVfs(count);
    expect(virtualRids(machine)).toEqual(expected);
  });

  test("a virtual function answers configuration accesses with vendor FFFFh, no BARs and no multifunction bit", () => {
    const { machine, setVfs } = withVirtual({ totalVfs: 4, firstVfOffset: 0x100, vfStride: 1 });
    setVfs(2);
    expect(machine.peek(0x201, 0, 4)).toBe(0xffff_ffff);
    expect(machine.peek(0x201, 0x0e, 1)).toBe(0);
    expect(machine.peek(0x201, 0x08, 4) >>> 8).toBe(0x02_0000);
    machine.poke(0x201, 0x10, 4, 0xffff_ffff);
    expect(machine.peek(0x201, 0x10, 4)).toBe(0);
    machine.poke(0x201, 0x04, 2, 7);
    expect(machine.peek(0x201, 0x04, 2)).toBe(4);
  });

  test("enumeration keeps the bus numbers that all virtual functions need", () => {
    const { machine } = withVirtual({ totalVfs: 4, firstVfOffset: 0x100, vfStride: 0x100 });
    expect(machine.peek(0x08, 0x1a, 1)).toBe(5);
  });

  test("virtual function i stands at the VF BAR plus i times its size", () => {
    const { machine, pf, setVfs } = withVirtual({ totalVfs: 4, firstVfOffset: 1, vfStride: 1 });
    setVfs(2);
    const sriov = pf.config.extendedCapability(0x10);
    const base = (pf.config.read(sriov + 0x24, 4) & ~0xf) + pf.config.read(sriov + 0x28, 4) * 2 ** 32;
    expect(base).toBeGreaterThanOrEqual(2 ** 32);
    machine.complex.memoryWrite(base + 0x4000 + 8, Uint8Array.of(0x77));
    expect(machine.complex.find({ domain: 0, requester: 0x102 })?.fn.bars[0]?.read(8, 1)).toBe(0x77);
  });

  test("DMA of a virtual function carries its own requester ID", () => {
    const { machine, setVfs } = withVirtual({ totalVfs: 4, firstVfOffset: 0x100, vfStride: 1 });
    const iommu = new TableIommu();
    machine.complex.addIommu(iommu);
    setVfs(2);
    const vf = machine.complex.find({ domain: 0, requester: 0x201 })?.fn as Endpoint;
    vf.port.dmaWrite(0x1000, Uint8Array.of(1));
    expect(iommu.requests).toEqual([]);
    machine.poke(0x201, 4, 2, 4);
    vf.port.dmaWrite(0x1000, Uint8Array.of(1));
    expect(iommu.requests.map(({ requester }) => requester)).toEqual([0x201]);
  });

  test("clearing VF Enable takes them away, and so does a function-level reset of the physical function", () => {
    const { machine, pf, setVfs } = withVirtual({ totalVfs: 4, firstVfOffset: 1, vfStride: 1 });
    setVfs(2);
    setVfs(0);
    expect(virtualRids(machine)).toEqual([]);
    setVfs(2);
    machine.poke(0x100, pf.config.capability(0x10) + 8, 2, 0x8000);
    expect(virtualRids(machine)).toEqual([]);
    expect(machine.peek(0x101, 0, 4)).toBe(0xffff_ffff);
  });

  test("NumVFs above TotalVFs brings up no more than TotalVFs", () => {
    const { machine, setVfs } = withVirtual({ totalVfs: 2, firstVfOffset: 1, vfStride: 1 });
    setVfs(9);
    expect(virtualRids(machine)).toHaveLength(2);
  });
});

describe("ARI (PCIe §6.13)", () => {
  const ariDevice = (ari: boolean): BenchMachine => {
    const machine = benchMachine();
    const port = new Bridge("root-port", bridgeDescription("root-port", { ari }));
    machine.host.bus.plug(port, 0x08);
    const chain = [0, 5, 9, 0x42];
    for (const [i, devfn] of chain.entries()) port.secondary.plug(new Endpoint(endpointDescription({}, [alternativeRoutingId({ Capability: { NextFunctionNumber: chain[i + 1] ?? 0 } })])), devfn);
    return machine;
  };

  test("enumeration follows the next function numbers past 7 and enables forwarding in the port", () => {
    const report = enumerate(ariDevice(true).complex);
    expect(report.functions.map(({ address }) => formatRequester(address.requester))).toEqual(["00:01.0", "01:00.0", "01:00.5", "01:01.1", "01:08.2"]);
  });

  test("a list of next functions that turns back ends there", () => {
    const machine = benchMachine();
    const port = new Bridge("root-port", bridgeDescription("root-port", { ari: true }));
    machine.host.bus.plug(port, 0x08);
    for (const [devfn, NextFunctionNumber] of [[0, 9], [9, 4], [4, 9]] as const) port.secondary.plug(new Endpoint(endpointDescription({}, [alternativeRoutingId({ Capability: { NextFunctionNumber } })])), devfn);
    expect(enumerate(machine.complex).functions.map(({ address }) => address.requester)).toEqual([0x08, 0x100, 0x109]);
  });

  test("without forwarding function numbers past 7 answer with all ones", () => {
    const machine = ariDevice(false);
    enumerate(machine.complex);
    expect(machine.peek(0x109, 0, 4)).toBe(0xffff_ffff);
    expect(machine.peek(0x105, 0, 2)).toBe(0x1af4);
  });
});
