import { Completion } from "@iommu-lab/pci-bus";
import { advancedErrorReporting } from "@iommu-lab/pci-bus/capabilities";
import { Bridge, bridgeDescription, Endpoint, enumerate, forwardsDown } from "@iommu-lab/pci-bus/model";
import { describe, expect, test } from "vitest";
import { benchMachine, conventionalDescription, endpointDescription, TableIommu, type BenchMachine } from "./bench-machine.ts";

const BYTES = Uint8Array.of(0xde, 0xad);

const behindRootPort = (): { machine: BenchMachine; endpoint: Endpoint; port: Bridge } => {
  const machine = benchMachine();
  const port = new Bridge("root-port", bridgeDescription("root-port", { errorReporting: true }));
  const endpoint = new Endpoint(endpointDescription({}, [advancedErrorReporting()]));
  machine.host.bus.plug(port, 0x08);
  port.secondary.plug(endpoint, 0);
  enumerate(machine.complex);
  return { machine, endpoint, port };
};

describe("DMA to memory", () => {
  test("without an IOMMU the address is the host-physical address, and the trace says so", () => {
    const { machine, endpoint } = behindRootPort();
    expect(endpoint.port.dmaWrite(0x1000, BYTES)).toBe(Completion.Successful);
    expect(machine.ram.read16(0x1000)).toBe(0xadde);
    expect(machine.hops.map(({ kind, decision }) => `${kind} ${decision}`)).toEqual(["endpoint sent", "root-port forwarded", "root-complex untranslated", "root-complex memory"]);
  });

  test("a transfer that crosses 4 KiB is one request per page, each translated", () => {
    const { machine, endpoint } = behindRootPort();
    const iommu = new TableIommu();
    machine.complex.addIommu(iommu);
    iommu.pages.set(1, 0x50).set(2, 0x40);
    const bytes = Uint8Array.from({ length: 8 }, (_, i) => i + 1);
    expect(endpoint.port.dmaWrite(0x1ffc, bytes)).toBe(Completion.Successful);
    expect([machine.ram.read32(0x50ffc), machine.ram.read32(0x40000)]).toEqual([0x0403_0201, 0x0807_0605]);
    const back = new Uint8Array(8);
    endpoint.port.dmaRead(0x1ffc, back);
    expect(back).toEqual(bytes);
  });

  test("the first page that the IOMMU refuses ends a transfer, and the pages before it have been written", () => {
    const { machine, endpoint } = behindRootPort();
    const iommu = new TableIommu();
    machine.complex.addIommu(iommu);
    iommu.pages.set(1, 0x50).set(3, 0x51);
    expect(endpoint.port.dmaWrite(0x1ffe, new Uint8Array(0x2000).fill(7))).toBe(Completion.UnsupportedRequest);
    expect(machine.ram.read16(0x50ffe)).toBe(0x0707);
    expect(machine.ram.read8(0x51000)).toBe(0);
  });

  test("a bigint address of 64 bits reaches the IOMMU as its page number", () => {
    const { machine, endpoint } = behindRootPort();
    const iommu = new TableIommu();
    machine.complex.addIommu(iommu);
    endpoint.port.dmaWrite(0xffff_ffff_ffff_f000n, BYTES);
    expect(iommu.requests.map(({ page }) => page)).toEqual([2 ** 52 - 1]);
  });

  test("without an IOMMU an address past 2^52 exists nowhere", () => {
    const { endpoint } = behindRootPort();
    expect(endpoint.port.dmaWrite(0x10_0000_0000_0000n, BYTES)).toBe(Completion.UnsupportedRequest);
  });

  test("an IOMMU serves only the requesters and the segment it covers", () => {
    const { machine, endpoint } = behindRootPort();
    const [mine, rest, elsewhere] = [new TableIommu(), new TableIommu(), new TableIommu()];
    machine.complex.addIommu(elsewhere, 1);
    machine.complex.addIommu(mine, 0, (requester) => requester === 0x200);
    machine.complex.addIommu(rest);
    endpoint.port.dmaWrite(0x1000, BYTES);
    expect([mine.requests.length, rest.requests.length, elsewhere.requests.length]).toEqual([0, 1, 0]);
  });

  test("an address of a host bridge's range that nobody decodes is an Unsupported Request", () => {
    const { endpoint } = behindRootPort();
    expect(endpoint.port.dmaRead(0xf000_0000, new Uint8Array(4))).toBe(Completion.UnsupportedRequest);
  });
});

describe("Bus Master Enable (PCIe §7.5.1.1.3)", () => {
  test("a function with it off sends nothing, not even messages", () => {
    const { machine, endpoint } = behindRootPort();
    machine.poke(0x100, 4, 2, 2);
    expect(endpoint.port.dmaWrite(0x1000, BYTES)).toBe(Completion.UnsupportedRequest);
    expect(endpoint.port.message(0xfee0_0000, 0x41)).toBe(Completion.UnsupportedRequest);
    expect(machine.delivered).toEqual([]);
  });

  test("a port with it off answers requests from below as unsupported and records that in its own AER", () => {
    const { machine, endpoint, port } = behindRootPort();
    machine.poke(0x08, 4, 2, 3);
    expect(endpoint.port.dmaRead(0x1000, new Uint8Array(4))).toBe(Completion.UnsupportedRequest);
    expect(port.config.read(port.config.extendedCapability(1) + 4, 4) & (1 << 20)).not.toBe(0);
  });
});

describe("error bits (PCIe §7.5.1.1.4)", () => {
  test("a read that ends as unsupported sets Received Master Abort of the requester; a posted write does not", () => {
    const { machine, endpoint } = behindRootPort();
    machine.complex.addIommu(new TableIommu());
    endpoint.port.dmaWrite(0x1000, BYTES);
    expect(endpoint.config.read(6, 2) & 0x2000).toBe(0);
    endpoint.port.dmaRead(0x1000, new Uint8Array(2));
    expect(endpoint.config.read(6, 2) & 0x2000).toBe(0x2000);
    machine.poke(0x100, 6, 2, 0x2000);
    expect(machine.peek(0x100, 6, 2) & 0x2000).toBe(0);
  });

  test("a processor read that nobody below a bridge decodes gives all ones and sets the bridge's secondary Received Master Abort", () => {
    const { machine, port } = behindRootPort();
    const window = (port.config.read(0x22, 2) & 0xfff0) * 0x1_0000 + 0xf_fffc;
    const got = new Uint8Array(4);
    machine.complex.memoryRead(window, got);
    expect([...got]).toEqual([0xff, 0xff, 0xff, 0xff]);
    expect(port.config.read(0x1e, 2) & 0x2000).toBe(0x2000);
  });
});

describe("addresses of the processor", () => {
  test("a BAR outside the host bridge's ranges is not reached: the address is the chipset's", () => {
    const machine = benchMachine();
    const endpoint = new Endpoint(conventionalDescription());
    machine.host.bus.plug(endpoint, 0x08);
    machine.poke(0x08, 0x10, 4, 0x1000_0000);
    machine.poke(0x08, 0x04, 2, 2);
    machine.complex.memoryWrite(0x1000_0000, Uint8Array.of(1));
    expect(endpoint.bars[0]?.read(0, 1)).toBe(0);
  });

  test("a memory window moves one, two, four and eight bytes", () => {
    const { machine, endpoint } = behindRootPort();
    const base = endpoint.config.bar(0).address ?? 0;
    const window = machine.complex.memoryWindow(base);
    window.write64(0, 0x4433_2211, 0x8877_6655);
    window.write(2, 2, 0xbeef);
    const pair = new Uint32Array(2);
    window.read64(0, pair);
    expect([...pair]).toEqual([0xbeef_2211, 0x8877_6655]);
    expect([window.read(0, 1), window.read(2, 2), window.read(4, 4)]).toEqual([0x11, 0xbeef, 0x8877_6655]);
  });

  test("an 8-byte access to ECAM is two of four bytes", () => {
    const { machine } = behindRootPort();
    const pair = new Uint32Array(2);
    machine.host.ecam.read64(0x8000, pair);
    expect(pair[0]).toBe(0x000c_1b36);
    machine.host.ecam.write64(0x8000 + 0x18, 0xff00_0000, 0);
    expect(machine.peek(0x08, 0x1b, 1)).toBe(0);
  });
});

describe("misuse", () => {
  test("a taken place, a bus without room, overlapping bus numbers and an address past 16 bits are refused with a sentence", () => {
    const { machine } = behindRootPort();
    expect(() => machine.host.bus.plug(new Endpoint(conventionalDescription()), 0x08)).toThrow("Device 0x1, function 0 of the bus is taken.");
    expect(() => machine.host.bus.plug(new Endpoint(conventionalDescription()), 0x100)).toThrow(RangeError);
    expect(() => {
      machine.host.bus.unplug(0x10);
    }).toThrow(RangeError);
    expect(() => machine.complex.addHostBridge({ firstBus: 0x80 })).toThrow(RangeError);
    expect(() => machine.peek(0x1_0000, 0, 4)).toThrow(RangeError);
    expect(() => new Bridge("root-port", conventionalDescription())).toThrow(RangeError);
    expect(() => new Endpoint(conventionalDescription()).port).toThrow("plugged in nowhere");
  });
});

describe("requester IDs behind conventional PCI", () => {
  const chain = (...kinds: readonly ("root-port" | "pcie-to-pci" | "pci-to-pci")[]): { machine: BenchMachine; iommu: TableIommu; endpoint: Endpoint } => {
    const machine = benchMachine();
    const iommu = new TableIommu();
    machine.complex.addIommu(iommu);
    let bus = machine.host.bus;
    for (const kind of kinds) {
      const bridge = new Bridge(kind);
      bus.plug(bridge, bus.kind === "link" ? 0 : 0x18);
      bus = bridge.secondary;
    }
    const endpoint = new Endpoint(conventionalDescription());
    bus.plug(endpoint, 0x20);
    enumerate(machine.complex);
    endpoint.port.dmaWrite(0x1000, BYTES);
    return { machine, iommu, endpoint };
  };

  test("a PCIe-to-PCI bridge sends with its secondary bus number, device 0, function 0 (PCI Express to PCI/PCI-X Bridge §2.3)", () => {
    const { iommu } = chain("root-port", "pcie-to-pci");
    expect(iommu.requests.map(({ requester }) => requester)).toEqual([0x200]);
  });

  test("a conventional bridge on the root bus sends as itself", () => {
    const { iommu } = chain("pci-to-pci");
    expect(iommu.requests.map(({ requester }) => requester)).toEqual([0x18]);
  });

  test("behind both, the PCIe-to-PCI bridge has the last word", () => {
    const { iommu } = chain("root-port", "pcie-to-pci", "pci-to-pci");
    expect(iommu.requests.map(({ requester }) => requester)).toEqual([0x200]);
  });

  test("messages are aliased like memory writes", () => {
    const { iommu, endpoint } = chain("root-port", "pcie-to-pci");
    endpoint.port.message(0xfee0_0000, 0x41);
    expect(iommu.messages).toEqual([{ requester: 0x200, address: 0xfee0_0000, data: 0x41 }]);
  });

  test("functions of one conventional bus reach each other without going up", () => {
    const machine = benchMachine();
    const iommu = new TableIommu();
    machine.complex.addIommu(iommu);
    const [a, b] = [new Endpoint(conventionalDescription()), new Endpoint(conventionalDescription())];
    const bridge = new Bridge("pci-to-pci");
    machine.host.bus.plug(bridge, 0x18);
    bridge.secondary.plug(a, 0x20);
    bridge.secondary.plug(b, 0x28);
    enumerate(machine.complex);
    a.port.dmaWrite(b.config.bar(0).address ?? 0, BYTES);
    expect(b.bars[0]?.read(0, 2)).toBe(0xadde);
    expect(iommu.requests).toEqual([]);
  });
});

describe("peers", () => {
  test("a request that goes past the end of a peer's BAR is unsupported and changes nothing", () => {
    const machine = benchMachine();
    const [a, b] = [new Endpoint(conventionalDescription({ multifunction: true })), new Endpoint(conventionalDescription({ bars: [{ index: 0, kind: "memory32", size: 16 }] }))];
    machine.host.bus.plug(a, 0x08);
    machine.host.bus.plug(b, 0x09);
    enumerate(machine.complex);
    expect(a.port.dmaWrite(b.config.bar(0).address ?? 0, new Uint8Array(32).fill(1))).toBe(Completion.UnsupportedRequest);
    expect(b.bars[0]?.read(0, 4)).toBe(0);
  });
});

describe("bridge decoding (PCI-to-PCI Bridge Architecture §4)", () => {
  test("Memory and I/O Space Enable of the bridge switch its windows", () => {
    const { machine, port } = behindRootPort();
    const window = (port.config.read(0x20, 2) & 0xfff0) * 0x1_0000;
    expect(forwardsDown(port.config, "memory", window)).toBe(true);
    machine.poke(0x08, 4, 2, 5);
    expect(forwardsDown(port.config, "memory", window)).toBe(false);
  });

  test("a prefetchable window that does not exist forwards nothing", () => {
    const port = new Bridge("root-port", bridgeDescription("root-port", { windows: { prefetchable: "none" } }));
    port.config.write(0x20, 4, 0x0000_fff0);
    port.config.write(4, 2, 7);
    expect(forwardsDown(port.config, "memory", 0x100)).toBe(false);
  });

  test("VGA ports alias every KiB unless VGA 16-bit Decode is set", () => {
    const { machine, port } = behindRootPort();
    machine.poke(0x08, 0x3e, 2, 0x08);
    expect([forwardsDown(port.config, "io", 0x3c4), forwardsDown(port.config, "io", 0x7c4)]).toEqual([true, true]);
    machine.poke(0x08, 0x3e, 2, 0x18);
    expect([forwardsDown(port.config, "io", 0x3c4), forwardsDown(port.config, "io", 0x7c4)]).toEqual([true, false]);
  });
});

describe("legacy VGA (PCI-to-PCI Bridge Architecture §12.1)", () => {
  const vga = (): { machine: BenchMachine; port: Bridge; touched: string[] } => {
    const machine = benchMachine();
    const touched: string[] = [];
    const recorder = (name: string) => ({
      read: (offset: number): number => {
        touched.push(`${name} ${offset.toString(16)}`);
        return 0x12;
      },
      write: () => undefined,
      read64: () => undefined,
      write64: () => undefined,
    });
    const port = new Bridge("root-port");
    machine.host.bus.plug(port, 0x08);
    port.secondary.plug(new Endpoint(endpointDescription({ classCode: 0x03_0000 }), { legacyVga: { memory: recorder("memory"), io: recorder("io") } }), 0);
    enumerate(machine.complex);
    return { machine, port, touched };
  };

  test("with VGA Enable on the way 0xa_0000 to 0xb_ffff and the ports reach the display", () => {
    const { machine, touched } = vga();
    machine.complex.memoryRead(0xb_8000, new Uint8Array(1));
    expect([machine.complex.ioRead(0x3c4, 1), machine.complex.ioRead(0x3bc, 1)]).toEqual([0x12, 0xff]);
    expect(touched).toEqual(["memory 18000", "io 3c4"]);
  });

  test("without it they reach nobody", () => {
    const { machine, touched } = vga();
    machine.poke(0x08, 0x3e, 2, 0);
    const got = new Uint8Array(1);
    machine.complex.memoryRead(0xb_8000, got);
    expect([got[0], machine.complex.ioRead(0x3c4, 1)]).toEqual([0xff, 0xff]);
    expect(touched).toEqual([]);
  });
});

describe("ISA Enable (PCI-to-PCI Bridge Architecture §3.2.5.18)", () => {
  test("only the first 256 bytes of each KiB of the I/O window are forwarded", () => {
    const machine = benchMachine();
    const port = new Bridge("root-port");
    machine.host.bus.plug(port, 0x08);
    const endpoint = new Endpoint(endpointDescription({ bars: [{ index: 0, kind: "io", size: 0x400 }] }));
    port.secondary.plug(endpoint, 0);
    enumerate(machine.complex);
    const base = endpoint.config.bar(0).address ?? 0;
    machine.complex.ioWrite(base + 0x10, 1, 0x11);
    machine.complex.ioWrite(base + 0x110, 1, 0x22);
    expect([machine.complex.ioRead(base + 0x10, 1), machine.complex.ioRead(base + 0x110, 1)]).toEqual([0x11, 0x22]);
    machine.poke(0x08, 0x3e, 2, 4);
    expect([machine.complex.ioRead(base + 0x10, 1), machine.complex.ioRead(base + 0x110, 1)]).toEqual([0x11, 0xff]);
  });
});

describe("configuration mechanism #1 (PCI §3.2.2.3.2)", () => {
  test("without the enable bit nothing answers, and the address register reads back without its reserved bits", () => {
    const { machine } = behindRootPort();
    const { configPorts } = machine.complex;
    configPorts.write(0, 4, 0x7f00_0803);
    expect([configPorts.read(0, 4), configPorts.read(4, 4)]).toEqual([0x0000_0800, 0xffff_ffff]);
    configPorts.write(0, 4, 0x8000_0800);
    expect([configPorts.read(4, 2), configPorts.read(6, 2)]).toEqual([0x1b36, 0x000c]);
  });

  test("device numbers other than 0 behind a port answer with all ones", () => {
    const { machine } = behindRootPort();
    expect(machine.peek(0x108, 0, 4)).toBe(0xffff_ffff);
  });
});
