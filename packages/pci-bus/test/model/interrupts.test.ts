import { Completion, requesterId } from "@iommu-lab/pci-bus";
import { msi, msix } from "@iommu-lab/pci-bus/capabilities";
import { Bridge, bridgeDescription, Endpoint, enumerate, swizzle } from "@iommu-lab/pci-bus/model";
import { describe, expect, test } from "vitest";
import { benchMachine, conventionalDescription, endpointDescription, TableIommu, type BenchMachine } from "./bench-machine.ts";

const onRootBus = (endpoint: Endpoint): BenchMachine => {
  const machine = benchMachine();
  machine.host.bus.plug(endpoint, 0x08);
  enumerate(machine.complex);
  return machine;
};

describe("messages without an IOMMU (Intel SDM vol. 3 §11.11)", () => {
  test("address and data are decoded in compatibility format", () => {
    const endpoint = new Endpoint(endpointDescription());
    const machine = onRootBus(endpoint);
    expect(endpoint.port.message(0xfee0_500c, 0x8441)).toBe(Completion.Successful);
    expect(machine.delivered).toEqual([{ vector: 0x41, deliveryMode: 4, destination: 5, destinationMode: "logical", trigger: "level", redirectionHint: true }]);
  });

  test("a DMA write of a doubleword to 0xfeex_xxxx is a message, whoever meant it", () => {
    const endpoint = new Endpoint(endpointDescription());
    const machine = onRootBus(endpoint);
    endpoint.port.dmaWrite(0xfee0_1000, Uint8Array.of(0x30, 0, 0, 0));
    expect(machine.delivered).toMatchObject([{ vector: 0x30, destination: 1 }]);
  });

  test("a reserved delivery mode reaches no processor", () => {
    const endpoint = new Endpoint(endpointDescription());
    const machine = onRootBus(endpoint);
    expect(endpoint.port.message(0xfee0_0000, 0x0341)).toBe(Completion.UnsupportedRequest);
    expect(machine.delivered).toEqual([]);
  });

  test("reads and writes of other sizes are refused", () => {
    const endpoint = new Endpoint(endpointDescription());
    const machine = onRootBus(endpoint);
    expect(endpoint.port.dmaRead(0xfee0_0000, new Uint8Array(4))).toBe(Completion.UnsupportedRequest);
    expect(endpoint.port.dmaWrite(0xfee0_0000, new Uint8Array(8))).toBe(Completion.UnsupportedRequest);
    expect(machine.delivered).toEqual([]);
  });
});

describe("messages with an IOMMU", () => {
  test("they go to its remapper with the requester ID, and its refusal comes back", () => {
    const endpoint = new Endpoint(endpointDescription());
    const machine = onRootBus(endpoint);
    const iommu = new TableIommu();
    machine.complex.addIommu(iommu);
    endpoint.port.message(0xfee0_0010, 0);
    expect(iommu.messages).toEqual([{ requester: requesterId(0, 1, 0), address: 0xfee0_0010, data: 0 }]);
    expect(machine.delivered).toHaveLength(1);
    iommu.refusesInterrupts = true;
    expect(endpoint.port.message(0xfee0_0010, 0)).toBe(Completion.UnsupportedRequest);
  });

  test("a write with a PASID to that range is translated like any other", () => {
    const endpoint = new Endpoint(endpointDescription());
    const machine = onRootBus(endpoint);
    const iommu = new TableIommu();
    machine.complex.addIommu(iommu);
    endpoint.port.dmaWrite(0xfee0_0000, new Uint8Array(4), { pasid: 3 });
    expect(iommu.messages).toEqual([]);
    expect(iommu.requests).toMatchObject([{ page: 0xfee00, pasid: 3 }]);
  });
});

describe("MSI (PCIe §7.7.1)", () => {
  const withMsi = (): { machine: BenchMachine; endpoint: Endpoint; at: number } => {
    const endpoint = new Endpoint(endpointDescription({}, [msi({ vectors: 4, perVectorMasking: true })]));
    const machine = onRootBus(endpoint);
    const at = endpoint.config.capability(5);
    machine.poke(0x08, at + 4, 4, 0xfee0_2000);
    machine.poke(0x08, at + 0xc, 2, 0x50);
    machine.poke(0x08, at + 2, 2, 0x21);
    return { machine, endpoint, at };
  };

  test("the low bits of the data are the vector", () => {
    const { machine, endpoint } = withMsi();
    for (const vector of [0, 3]) endpoint.raise(vector);
    expect(machine.delivered.map(({ vector }) => vector)).toEqual([0x50, 0x53]);
  });

  test("a masked vector is pending until its mask bit is cleared", () => {
    const { machine, endpoint, at } = withMsi();
    machine.poke(0x08, at + 0x10, 4, 2);
    endpoint.raise(1);
    expect(machine.peek(0x08, at + 0x14, 4)).toBe(2);
    expect(machine.delivered).toEqual([]);
    machine.poke(0x08, at + 0x10, 4, 0);
    expect(machine.peek(0x08, at + 0x14, 4)).toBe(0);
    expect(machine.delivered.map(({ vector }) => vector)).toEqual([0x51]);
  });
});

describe("MSI without per-vector masks (PCIe §7.7.1)", () => {
  test("configuration writes send nothing and leave the capability behind it alone", () => {
    const endpoint = new Endpoint(endpointDescription({}, [msi(), msix({ vectors: 8, table: { bar: 0, offset: 0x2000 }, pendingBits: { bar: 0, offset: 0x3000 } })]));
    const machine = onRootBus(endpoint);
    const at = endpoint.config.capability(5);
    machine.poke(0x08, at + 4, 4, 0xfee0_0000);
    machine.poke(0x08, at + 2, 2, 1);
    expect(machine.delivered).toEqual([]);
    expect(machine.peek(0x08, endpoint.config.capability(0x11) + 4, 4)).toBe(0x2000);
    endpoint.raise();
    expect(machine.delivered).toHaveLength(1);
  });
});

describe("MSI-X (PCIe §7.7.2)", () => {
  const withMsix = (): { machine: BenchMachine; endpoint: Endpoint; control: number; entry: (vector: number, word: number, value: number) => void; pending: () => number } => {
    const endpoint = new Endpoint(endpointDescription({}, [msix({ vectors: 8, table: { bar: 0, offset: 0x2000 }, pendingBits: { bar: 0, offset: 0x3000 } })]));
    const machine = onRootBus(endpoint);
    const base = endpoint.config.bar(0).address ?? 0;
    const control = endpoint.config.capability(0x11) + 2;
    const entry = (vector: number, word: number, value: number): void => {
      machine.complex.memoryWrite(base + 0x2000 + 16 * vector + 4 * word, Uint8Array.from([0, 8, 16, 24], (shift) => value >>> shift));
    };
    for (let vector = 0; vector < 8; vector++) {
      entry(vector, 0, 0xfee0_0000);
      entry(vector, 2, 0x40 + vector);
    }
    const pending = (): number => {
      const got = new Uint8Array(1);
      machine.complex.memoryRead(base + 0x3000, got);
      return got[0] ?? 0;
    };
    machine.poke(0x08, control, 2, 0x8000);
    return { machine, endpoint, control, entry, pending };
  };

  test("vectors are masked at first: raising one sets its pending bit, unmasking it sends it once", () => {
    const { machine, endpoint, entry, pending } = withMsix();
    endpoint.raise(3);
    endpoint.raise(3);
    expect([machine.delivered.length, pending()]).toEqual([0, 8]);
    entry(3, 3, 0);
    expect([machine.delivered.map(({ vector }) => vector), pending()]).toEqual([[0x43], 0]);
  });

  test("Function Mask holds unmasked vectors back until it is cleared", () => {
    const { machine, endpoint, control, entry, pending } = withMsix();
    entry(1, 3, 0);
    machine.poke(0x08, control, 2, 0xc000);
    endpoint.raise(1);
    expect([machine.delivered.length, pending()]).toEqual([0, 2]);
    machine.poke(0x08, control, 2, 0x8000);
    expect([machine.delivered.map(({ vector }) => vector), pending()]).toEqual([[0x41], 0]);
  });

  test("the rest of the BAR is the function's own, and the pending bits are read-only", () => {
    const { machine, endpoint, pending } = withMsix();
    const base = endpoint.config.bar(0).address ?? 0;
    machine.complex.memoryWrite(base + 0x3000, Uint8Array.of(0xff));
    machine.complex.memoryWrite(base + 0x10, Uint8Array.of(0x99));
    expect([pending(), endpoint.bars[0]?.read(0x10, 1)]).toEqual([0, 0x99]);
  });

  test("a reset masks all vectors again", () => {
    const { machine, endpoint, control, entry } = withMsix();
    entry(1, 3, 0);
    machine.poke(0x08, endpoint.config.capability(0x10) + 8, 2, 0x8000);
    machine.poke(0x08, 4, 2, 6);
    machine.poke(0x08, control, 2, 0x8000);
    endpoint.raise(1);
    expect(machine.delivered).toEqual([]);
  });
});

describe("INTx (PCI-to-PCI Bridge Architecture §9.1)", () => {
  test("a pin moves on by the device number at each bridge, modulo 4", () => {
    expect([swizzle(0, 0), swizzle(0, 3), swizzle(3, 2), swizzle(2, 30)]).toEqual([0, 3, 1, 0]);
    const machine = benchMachine();
    const outer = new Bridge("pci-to-pci");
    const inner = new Bridge("pci-to-pci");
    const endpoint = new Endpoint(conventionalDescription({ interruptPin: 2 }));
    machine.host.bus.plug(outer, 0x1e << 3);
    outer.secondary.plug(inner, 3 << 3);
    inner.secondary.plug(endpoint, 6 << 3);
    endpoint.raise();
    // INTB is pin 1: (1 + 6) mod 4 = 3 above the inner bridge, (3 + 3) mod 4 = 2 above the outer one.
    expect(machine.wires).toEqual([{ wire: { domain: 0, bus: 0, device: 0x1e, pin: 2 }, asserted: true }]);
    expect(machine.complex.wires.level(machine.host, 0x1e, 2)).toBe(true);
  });

  test("two functions on one wire: it falls when both let go", () => {
    const machine = benchMachine();
    const endpoints = [0, 1].map(() => new Endpoint(conventionalDescription({ interruptPin: 1, multifunction: true })));
    for (const [i, each] of endpoints.entries()) machine.host.bus.plug(each, 0x10 + i);
    for (const each of endpoints) each.raise();
    endpoints[0]?.lower();
    expect(machine.wires.map(({ asserted }) => asserted)).toEqual([true]);
    endpoints[1]?.lower();
    expect(machine.wires.map(({ asserted }) => asserted)).toEqual([true, false]);
  });

  test("Interrupt Disable takes the wire down while Interrupt Status stays", () => {
    const endpoint = new Endpoint(conventionalDescription({ interruptPin: 1 }));
    const machine = onRootBus(endpoint);
    endpoint.raise();
    machine.poke(0x08, 4, 2, machine.peek(0x08, 4, 2) | 0x400);
    expect(machine.complex.wires.level(machine.host, 1, 0)).toBe(false);
    expect(machine.peek(0x08, 6, 2) & 8).toBe(8);
    machine.poke(0x08, 4, 2, machine.peek(0x08, 4, 2) & ~0x400);
    expect(machine.complex.wires.level(machine.host, 1, 0)).toBe(true);
  });

  test("behind a port ARI function numbers all count as device 0", () => {
    const machine = benchMachine();
    const port = new Bridge("root-port");
    machine.host.bus.plug(port, 0x10);
    const endpoint = new Endpoint(endpointDescription({ interruptPin: 1 }));
    port.secondary.plug(endpoint, 0x2b);
    endpoint.raise();
    expect(machine.wires).toEqual([{ wire: { domain: 0, bus: 0, device: 2, pin: 0 }, asserted: true }]);
  });

  test("a function that is pulled out lets go of its wire", () => {
    const machine = benchMachine();
    const port = new Bridge("root-port", bridgeDescription("root-port", { hotPlug: true }));
    machine.host.bus.plug(port, 0x10);
    const endpoint = new Endpoint(endpointDescription({ interruptPin: 1 }));
    port.secondary.plug(endpoint, 0);
    endpoint.raise();
    machine.complex.hotRemove(port.secondary, 0);
    expect(machine.wires.map(({ asserted }) => asserted)).toEqual([true, false]);
  });
});
