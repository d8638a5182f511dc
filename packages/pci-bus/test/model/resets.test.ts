import { Completion } from "@iommu-lab/pci-bus";
import { advancedFeatures, msi, powerManagement, resizableBar } from "@iommu-lab/pci-bus/capabilities";
import { Bridge, bridgeDescription, describeFunctions, Endpoint, enumerate, enumerateBelow } from "@iommu-lab/pci-bus/model";
import { describe, expect, test } from "vitest";
import { benchMachine, conventionalDescription, endpointDescription, type BenchMachine } from "./bench-machine.ts";

const behindSwitch = (): { machine: BenchMachine; endpoint: Endpoint; resets: string[]; root: Bridge } => {
  const machine = benchMachine();
  const resets: string[] = [];
  const root = new Bridge("root-port", bridgeDescription("root-port", { hotPlug: true }));
  const up = new Bridge("upstream-port");
  const down = new Bridge("downstream-port");
  const endpoint = new Endpoint(endpointDescription({ interruptPin: 1 }, [powerManagement()]), { reset: (kind) => resets.push(kind) });
  machine.host.bus.plug(root, 0x08);
  root.secondary.plug(up, 0);
  up.secondary.plug(down, 0);
  down.secondary.plug(endpoint, 0);
  enumerate(machine.complex);
  return { machine, endpoint, resets, root };
};

describe("function-level reset (PCIe §6.6.2)", () => {
  test("writing one to Initiate Function Level Reset clears BARs and command register of that function only", () => {
    const { machine, endpoint, resets } = behindSwitch();
    machine.poke(0x300, endpoint.config.capability(0x10) + 8, 2, 0x8000);
    expect(resets).toEqual(["function"]);
    expect([machine.peek(0x300, 4, 2), machine.peek(0x300, 0x10, 4)]).toEqual([0, 0]);
    expect(machine.peek(0x200, 4, 2) & 7).toBe(7);
  });

  test("the high byte alone starts it, and writing zero does not", () => {
    const { machine, endpoint, resets } = behindSwitch();
    const at = endpoint.config.capability(0x10) + 8;
    machine.poke(0x300, at, 2, 0x2000);
    expect(resets).toEqual([]);
    machine.poke(0x300, at + 1, 1, 0x80);
    expect(resets).toEqual(["function"]);
  });

  test("a pending INTx goes down", () => {
    const { machine, endpoint } = behindSwitch();
    endpoint.raise();
    machine.poke(0x300, endpoint.config.capability(0x10) + 8, 2, 0x8000);
    expect(machine.wires.map(({ asserted }) => asserted)).toEqual([true, false]);
  });
});

describe("Advanced Features reset", () => {
  test.each([
    ["with", 1, ["function"]],
    ["without", 0, []],
  ] as const)("a conventional function %s the FLR capability resets on Initiate FLR as it should", (_name, FunctionLevelReset, expected) => {
    const machine = benchMachine();
    const resets: string[] = [];
    const endpoint = new Endpoint(conventionalDescription({ capabilities: [advancedFeatures({ Capabilities: { FunctionLevelReset } })] }), { reset: (kind) => resets.push(kind) });
    machine.host.bus.plug(endpoint, 0x08);
    machine.poke(0x08, endpoint.config.capability(0x13) + 4, 1, 1);
    expect(resets).toEqual(expected);
  });
});

describe("secondary bus reset (PCIe §7.5.1.3.13)", () => {
  test("setting the bit resets everything below once; while it is set nothing below answers or sends", () => {
    const { machine, endpoint, resets } = behindSwitch();
    const control = machine.peek(0x08, 0x3e, 2);
    machine.poke(0x08, 0x3e, 2, control | 0x40);
    machine.poke(0x08, 0x3e, 2, control | 0x40);
    expect(resets).toEqual(["bus"]);
    expect(machine.peek(0x100, 0, 4)).toBe(0xffff_ffff);
    expect(endpoint.port.dmaWrite(0x1000, Uint8Array.of(1))).toBe(Completion.UnsupportedRequest);
    expect(describeFunctions(machine.complex).map(({ address }) => address.requester)).toEqual([0x08]);
    machine.poke(0x08, 0x3e, 2, control);
    expect(machine.peek(0x100, 0, 2)).toBe(0x1b36);
    // The bus numbers of the switch are gone with the reset.
    expect([machine.peek(0x100, 0x19, 1), machine.peek(0x300, 0, 4)]).toEqual([0, 0xffff_ffff]);
  });
});

describe("power states (PCIe §5.3.1.4)", () => {
  test("coming back from D3hot without No_Soft_Reset resets the function", () => {
    const { machine, endpoint, resets } = behindSwitch();
    const at = endpoint.config.capability(1) + 4;
    machine.poke(0x300, at, 2, 3);
    expect(resets).toEqual([]);
    machine.poke(0x300, at, 2, 0);
    expect(resets).toEqual(["function"]);
  });
});

describe("Link Disable (PCIe §7.5.3.7)", () => {
  test("takes the link down like a hot reset and shows in Link Active", () => {
    const { machine, root, resets } = behindSwitch();
    const express = root.config.capability(0x10);
    expect(machine.peek(0x08, express + 0x12, 2) & 0x2000).toBe(0x2000);
    machine.poke(0x08, express + 0x10, 2, 0x10);
    expect(resets).toEqual(["bus"]);
    expect([machine.peek(0x08, express + 0x12, 2) & 0x2000, machine.peek(0x100, 0, 4)]).toEqual([0, 0xffff_ffff]);
    machine.poke(0x08, express + 0x10, 2, 0);
    expect(machine.peek(0x08, express + 0x12, 2) & 0x2000).toBe(0x2000);
  });
});

describe("cold reset", () => {
  test("clears what software wrote and keeps presence in the slots", () => {
    const { machine, root } = behindSwitch();
    machine.complex.reset();
    const express = root.config.capability(0x10);
    expect(machine.peek(0x08, 0x19, 1)).toBe(0);
    expect(machine.peek(0x08, express + 0x1a, 2) & 0x40).toBe(0x40);
    expect(enumerate(machine.complex).functions).toHaveLength(4);
  });
});

describe("hot-plug (PCIe §6.7)", () => {
  const slot = (): { machine: BenchMachine; port: Bridge; status: () => number; express: number } => {
    const machine = benchMachine();
    const port = new Bridge("root-port", bridgeDescription("root-port", { hotPlug: true }));
    machine.host.bus.plug(port, 0x08);
    enumerate(machine.complex);
    const express = port.config.capability(0x10);
    return { machine, port, express, status: () => machine.peek(0x08, express + 0x1a, 2) };
  };

  test("adding and removing a function changes presence, its changed bit and the link state", () => {
    const { machine, port, status, express } = slot();
    expect(status() & 0x148).toBe(0);
    machine.complex.hotAdd(port.secondary, new Endpoint(endpointDescription()), 0);
    expect(status() & 0x148).toBe(0x148);
    expect(machine.peek(0x08, express + 0x12, 2) & 0x2000).toBe(0x2000);
    machine.poke(0x08, express + 0x1a, 2, 0x108);
    expect(status() & 0x148).toBe(0x40);
    machine.complex.hotRemove(port.secondary, 0);
    expect(status() & 0x148).toBe(0x108);
  });

  test("the port sends its MSI when hot-plug and presence interrupts are enabled", () => {
    const { machine, port, express } = slot();
    const at = port.config.capability(5);
    machine.poke(0x08, at + 4, 4, 0xfee0_0000);
    machine.poke(0x08, at + 0xc, 2, 0x66);
    machine.poke(0x08, at + 2, 2, 1);
    machine.complex.hotAdd(port.secondary, new Endpoint(endpointDescription()), 0);
    expect(machine.delivered).toEqual([]);
    machine.poke(0x08, express + 0x18, 2, 0x28);
    machine.complex.hotRemove(port.secondary, 0);
    expect(machine.delivered.map(({ vector }) => vector)).toEqual([0x66]);
  });

  test("what is plugged in is set up inside the port's windows and bus numbers, and nothing else changes", () => {
    const { machine, port } = slot();
    const before = port.config.bytes.slice(0x18, 0x30);
    const up = new Bridge("upstream-port");
    const down = new Bridge("downstream-port");
    const endpoint = new Endpoint(endpointDescription());
    up.secondary.plug(down, 0);
    down.secondary.plug(endpoint, 0);
    machine.complex.hotAdd(port.secondary, up, 0);
    const report = enumerateBelow(machine.complex, { domain: 0, requester: 0x08 });
    expect(report.shortages).toEqual([]);
    expect(report.functions.map(({ address }) => address.requester)).toEqual([0x100, 0x200, 0x300]);
    expect(port.config.bytes.slice(0x18, 0x30)).toEqual(before);
    machine.complex.memoryWrite(endpoint.config.bar(0).address ?? 0, Uint8Array.of(0x5a));
    expect(endpoint.bars[0]?.read(0, 1)).toBe(0x5a);
  });

  test("a BAR larger than the port's window is reported and left disabled", () => {
    const { machine, port } = slot();
    machine.complex.hotAdd(port.secondary, new Endpoint(endpointDescription({ bars: [{ index: 0, kind: "memory32", size: 0x40_0000 }] })), 0);
    expect(enumerateBelow(machine.complex, { domain: 0, requester: 0x08 }).shortages).toMatchObject([{ resource: { kind: "bar", index: 0 }, bridge: undefined, short: 0x20_0000 }]);
    expect(machine.peek(0x100, 4, 2) & 2).toBe(0);
  });

  test("a port without bus numbers cannot be set up alone", () => {
    const { machine } = slot();
    expect(() => enumerateBelow(machine.complex, { domain: 0, requester: 0x10 })).toThrow(RangeError);
  });

  test("a removed function reaches nobody", () => {
    const { machine, port } = slot();
    const endpoint = new Endpoint(endpointDescription({}, [msi()]));
    machine.complex.hotAdd(port.secondary, endpoint, 0);
    machine.poke(0x100, 4, 2, 4);
    expect(endpoint.port.dmaWrite(0x1000, Uint8Array.of(1))).toBe(Completion.Successful);
    machine.complex.hotRemove(port.secondary, 0);
    expect(endpoint.port.dmaWrite(0x1000, Uint8Array.of(1))).toBe(Completion.UnsupportedRequest);
    expect(machine.peek(0x100, 0, 4)).toBe(0xffff_ffff);
  });
});

describe("Resizable BAR (PCIe §7.8.6)", () => {
  test("after a new size is written the fabric decodes that much", () => {
    const machine = benchMachine();
    const endpoint = new Endpoint(endpointDescription({ bars: [{ index: 0, kind: "memory64", size: 0x10_0000, prefetchable: true }] }, [resizableBar([{ bar: 0, supported: [0, 1, 2, 3], size: 0 }])]));
    machine.host.bus.plug(endpoint, 0x08);
    enumerate(machine.complex);
    const at = endpoint.config.extendedCapability(0x15) + 8;
    machine.poke(0x08, 4, 2, 0);
    machine.poke(0x08, at, 4, (machine.peek(0x08, at, 4) & ~0x3f00) | (3 << 8));
    const report = enumerate(machine.complex);
    expect(report.placements).toMatchObject([{ size: 0x80_0000 }]);
    machine.complex.memoryWrite((report.placements[0]?.base ?? 0) + 0x7f_fff0, Uint8Array.of(0x33));
    expect(endpoint.bars[0]?.read(0x7f_fff0, 1)).toBe(0x33);
  });
});
