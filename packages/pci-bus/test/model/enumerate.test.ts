import { formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import { singleRootIov } from "@iommu-lab/pci-bus/capabilities";
import { Bridge, bridgeDescription, Endpoint, enumerate, ioWindow, memoryWindow, prefetchableWindow, ScratchBar, type ConfigAccess, type EnumerationReport, type Placement, type Window } from "@iommu-lab/pci-bus/model";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { benchMachine, conventionalDescription, endpointDescription, type BenchMachine } from "./bench-machine.ts";
import { forest, plant, type Tree } from "./random-tree.ts";

const grow = (trees: readonly Tree[], machine = benchMachine()): { machine: BenchMachine; report: EnumerationReport } => {
  for (const [i, each] of trees.entries()) plant(machine.host.bus, each, (i + 1) << 3);
  return { machine, report: enumerate(machine.complex) };
};

const inside = (inner: Window, outer: Window | undefined): boolean => outer !== undefined && inner.base >= outer.base && inner.last <= outer.last;
const rangeOf = ({ base, size }: Placement): Window => ({ base, last: base + size - 1 });
const overlap = (a: Window, b: Window): boolean => a.base <= b.last && b.base <= a.last;

const configOf = ({ complex }: BenchMachine, address: FunctionAddress): ConfigAccess => ({
  read: (offset, size) => complex.configRead(address, offset, size),
  write: (offset, size, value) => {
    complex.configWrite(address, offset, size, value);
  },
});

const windowsOf = (config: ConfigAccess): Window[] => [memoryWindow(config), prefetchableWindow(config)].filter((each) => each !== undefined);

describe("enumeration of random trees (PCI Firmware §3.5)", () => {
  test("no two placed BARs of one space overlap, and every BAR is aligned to its size", () => {
    fc.assert(
      fc.property(forest, (trees) => {
        const { report } = grow(trees);
        const bars = report.placements.filter(({ resource }) => resource.kind === "bar" || resource.kind === "rom");
        for (const [i, each] of bars.entries()) {
          expect(each.base % each.size).toBe(0);
          for (const other of bars.slice(i + 1)) if (other.space === each.space) expect(overlap(rangeOf(each), rangeOf(other))).toBe(false);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("everything below a bridge is inside a window of that bridge as its registers say", () => {
    fc.assert(
      fc.property(forest, (trees) => {
        const { machine, report } = grow(trees);
        const parents = new Map(report.functions.map(({ address, parent }) => [formatAddress(address), parent]));
        for (const each of report.placements.filter(({ resource }) => resource.kind !== "reserve")) {
          const parent = parents.get(formatAddress(each.address));
          if (!parent) continue;
          const config = configOf(machine, parent);
          const windows = each.space === "io" ? [ioWindow(config)] : windowsOf(config);
          expect(windows.some((window) => inside(rangeOf(each), window))).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("the windows of sibling bridges are disjoint", () => {
    fc.assert(
      fc.property(forest, (trees) => {
        const { report } = grow(trees);
        const parents = new Map(report.functions.map(({ address, parent }) => [formatAddress(address), parent ? formatAddress(parent) : ""]));
        const windows = report.placements.filter(({ resource }) => resource.kind === "window");
        for (const [i, a] of windows.entries())
          for (const b of windows.slice(i + 1)) if (a.space === b.space && parents.get(formatAddress(a.address)) === parents.get(formatAddress(b.address))) expect(overlap(rangeOf(a), rangeOf(b))).toBe(false);
      }),
      { numRuns: 60 },
    );
  });

  test("a BAR reads back what the report says, and an access there reaches the function", () => {
    fc.assert(
      fc.property(forest, (trees) => {
        const { machine, report } = grow(trees);
        for (const { address, base, space, resource } of report.placements.filter(({ resource }) => resource.kind === "bar")) {
          const seat = machine.complex.find(address);
          const command = machine.complex.configRead(address, 4, 2);
          const decodes = (command & (space === "io" ? 1 : 2)) !== 0;
          seat?.fn.bars[resource.index]?.write(0, 1, 0x5a);
          const got = new Uint8Array(1);
          if (space === "io") got[0] = machine.complex.ioRead(base, 1);
          else machine.complex.memoryRead(base, got);
          expect(got[0]).toBe(decodes ? 0x5a : 0xff);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("ECAM and the ports 0xcf8 and 0xcfc read the same first 256 bytes", () => {
    fc.assert(
      fc.property(forest, fc.integer({ min: 0, max: 63 }), (trees, dword) => {
        const { machine, report } = grow(trees);
        for (const { address } of report.functions) {
          machine.complex.configPorts.write(0, 4, (0x8000_0000 | (address.requester << 8) | (dword << 2)) >>> 0);
          expect(machine.complex.configPorts.read(4, 4)).toBe(machine.host.ecam.read(address.requester * 4096 + dword * 4, 4));
        }
      }),
      { numRuns: 30 },
    );
  });

  test("running it again changes nothing", () => {
    fc.assert(
      fc.property(forest, (trees) => {
        const { machine, report } = grow(trees);
        expect(enumerate(machine.complex)).toEqual(report);
      }),
      { numRuns: 30 },
    );
  });

  test("bus numbers grow depth first and lie inside those of the bridge above", () => {
    fc.assert(
      fc.property(forest, (trees) => {
        const { report } = grow(trees);
        const bridges = report.functions.filter(({ secondaryBus }) => secondaryBus !== undefined);
        const numbers = bridges.map(({ secondaryBus }) => secondaryBus ?? 0);
        // Lists come in the order of visiting, which is the order of numbering per branch.
        expect(new Set(numbers).size).toBe(numbers.length);
        for (const { parent, secondaryBus = 0, subordinateBus = 0 } of bridges) {
          expect(subordinateBus).toBeGreaterThanOrEqual(secondaryBus);
          const above = bridges.find(({ address }) => parent?.requester === address.requester);
          if (above) expect(secondaryBus > (above.secondaryBus ?? 0) && subordinateBus <= (above.subordinateBus ?? 0)).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe("shortages", () => {
  const memory = [{ base: 0xe000_0000, last: 0xe0ff_ffff }];

  test("a BAR that no range holds is named with its bridge and the missing bytes, and memory decoding stays off", () => {
    const machine = benchMachine({ memory });
    const port = new Bridge("root-port");
    machine.host.bus.plug(port, 0x08);
    port.secondary.plug(new Endpoint(endpointDescription({ bars: [{ index: 2, kind: "memory32", size: 0x200_0000 }] })), 0);
    const { shortages } = enumerate(machine.complex);
    expect(shortages).toMatchObject([{ address: { domain: 0, requester: 0x100 }, resource: { kind: "bar", index: 2 }, bridge: { domain: 0, requester: 0x08 }, size: 0x200_0000, short: 0x100_0000 }]);
    expect(shortages[0]?.text).toBe("No room for BAR 2 of 0000:01:00.0 (0x200_0000 bytes): the memory window of 0000:00:01.0 would need 0x200_0000 bytes, 0x100_0000 more than are free.");
    expect(machine.peek(0x100, 4, 2) & 2).toBe(0);
    expect(machine.peek(0x100, 0x18, 4)).toBe(0);
  });

  test("what fits beside it is placed all the same", () => {
    const machine = benchMachine({ memory });
    machine.host.bus.plug(new Endpoint(conventionalDescription({ bars: [{ index: 0, kind: "memory32", size: 0x200_0000 }] })), 0x08);
    machine.host.bus.plug(new Endpoint(conventionalDescription()), 0x10);
    const { shortages, placements } = enumerate(machine.complex);
    expect(shortages).toHaveLength(1);
    expect(placements.map(({ address }) => address.requester)).toEqual([0x10]);
  });

  test("hot-plug reserves and VF BARs are given up before BARs", () => {
    const machine = benchMachine({ memory });
    const port = new Bridge("root-port", bridgeDescription("root-port", { hotPlug: true }));
    machine.host.bus.plug(port, 0x08);
    const sriov = singleRootIov({ totalVfs: 8, vfDevice: 0x10, firstVfOffset: 1, vfStride: 1, vfBars: [{ index: 0, kind: "memory32", size: 0x20_0000 }] });
    port.secondary.plug(new Endpoint(endpointDescription({ bars: [{ index: 0, kind: "memory32", size: 0x80_0000 }] }, [sriov])), 0);
    const { shortages, placements } = enumerate(machine.complex);
    expect(shortages.map(({ resource }) => resource?.kind)).toEqual(["reserve", "vf-bar"]);
    expect(placements).toContainEqual(expect.objectContaining({ resource: { kind: "bar", index: 0 } }));
  });

  test("bridges past the last bus number are reported and stay closed", () => {
    const machine = benchMachine({ firstBus: 0x10, lastBus: 0x11 });
    for (const devfn of [0x08, 0x10]) machine.host.bus.plug(new Bridge("root-port"), devfn);
    const { shortages } = enumerate(machine.complex);
    expect(shortages).toMatchObject([{ address: { requester: 0x1010 }, resource: undefined }]);
    expect(machine.peek(0x1010, 4, 2) & 7).toBe(0);
  });
});

describe("placement rules", () => {
  const bigBar = (): Endpoint => new Endpoint(endpointDescription({ bars: [{ index: 0, kind: "memory64", size: 2 ** 33, prefetchable: true }] }));

  test("a 64-bit prefetchable BAR goes above 4 GiB through a 64-bit prefetchable window", () => {
    const machine = benchMachine();
    const port = new Bridge("root-port");
    machine.host.bus.plug(port, 0x08);
    port.secondary.plug(bigBar(), 0);
    const { placements } = enumerate(machine.complex);
    expect(placements.filter(({ prefetchable }) => prefetchable).map(({ base }) => base)).toEqual([0x40_0000_0000, 0x40_0000_0000]);
  });

  test("behind a bridge with a 32-bit prefetchable window it has to fit below 4 GiB", () => {
    const machine = benchMachine();
    const port = new Bridge("root-port", bridgeDescription("root-port", { windows: { prefetchable: 32 } }));
    machine.host.bus.plug(port, 0x08);
    port.secondary.plug(bigBar(), 0);
    expect(enumerate(machine.complex).shortages).toMatchObject([{ resource: { kind: "bar", index: 0 } }]);
  });

  test("a 64-bit BAR that is not prefetchable stays below 4 GiB in the memory window of its bridge", () => {
    const machine = benchMachine();
    const port = new Bridge("root-port");
    machine.host.bus.plug(port, 0x08);
    port.secondary.plug(new Endpoint(endpointDescription({ bars: [{ index: 0, kind: "memory64", size: 0x10_0000 }] })), 0);
    enumerate(machine.complex);
    expect(memoryWindow(port.config)).toEqual({ base: 0xc000_0000, last: 0xc00f_ffff });
    expect(port.secondary.at(0)?.fn.config.read(0x10, 4)).toBe(0xc000_0004);
  });

  test("with above4G off it has to fit below 4 GiB", () => {
    const machine = benchMachine();
    machine.host.bus.plug(bigBar(), 0x08);
    expect(enumerate(machine.complex, { above4G: false }).shortages).toHaveLength(1);
  });

  test("the first display gets VGA Enable on all bridges above it and no other bridge has it", () => {
    const machine = benchMachine();
    const ports = [new Bridge("root-port"), new Bridge("root-port")];
    for (const [i, port] of ports.entries()) {
      machine.host.bus.plug(port, (i + 1) << 3);
      port.secondary.plug(new Endpoint(endpointDescription({ classCode: 0x03_0000 })), 0);
    }
    const second: FunctionAddress = { domain: 0, requester: 0x200 };
    expect(enumerate(machine.complex).vga).toEqual({ domain: 0, requester: 0x100 });
    expect(ports.map(({ config }) => config.read(0x3e, 2) & 8)).toEqual([8, 0]);
    expect(enumerate(machine.complex, { vga: second }).vga).toEqual(second);
    expect(ports.map(({ config }) => config.read(0x3e, 2) & 8)).toEqual([0, 8]);
  });

  test("without the multifunction bit in function 0 the other functions are not looked for (PCIe §7.5.1.1.9)", () => {
    const machine = benchMachine();
    for (const [i, multifunction] of [true, false].entries()) for (const fn of [0, 3]) machine.host.bus.plug(new Endpoint(conventionalDescription({ multifunction })), ((i + 1) << 3) | fn);
    expect(enumerate(machine.complex).functions.map(({ address }) => address.requester)).toEqual([0x08, 0x0b, 0x10]);
  });

  test("an expansion ROM gets an address and answers once software enables it (PCIe §7.5.1.2.4)", () => {
    const machine = benchMachine();
    const rom = new ScratchBar();
    rom.write(0, 2, 0xaa55);
    machine.host.bus.plug(new Endpoint(conventionalDescription({ romSize: 0x800 }), { rom }), 0x08);
    const base = enumerate(machine.complex).placements.find(({ resource }) => resource.kind === "rom")?.base ?? 0;
    const got = new Uint8Array(2);
    machine.complex.memoryRead(base, got);
    expect([...got]).toEqual([0xff, 0xff]);
    machine.poke(0x08, 0x30, 4, base | 1);
    machine.complex.memoryRead(base, got);
    expect([...got]).toEqual([0x55, 0xaa]);
  });

  test("bus master is left off in endpoints when the policy says so, and on in bridges", () => {
    const machine = benchMachine();
    const port = new Bridge("root-port");
    machine.host.bus.plug(port, 0x08);
    port.secondary.plug(new Endpoint(endpointDescription()), 0);
    enumerate(machine.complex, { busMaster: false });
    expect(machine.peek(0x08, 4, 2) & 4).toBe(4);
    expect(machine.peek(0x100, 4, 2) & 4).toBe(0);
  });

  test("two host bridges of different segments are enumerated apart", () => {
    const machine = benchMachine();
    const other = machine.complex.addHostBridge({ domain: 1, memory: [{ base: 0x80_0000_0000, last: 0x80_ffff_ffff }, { base: 0xb800_0000, last: 0xbfff_ffff }], io: [] });
    machine.host.bus.plug(new Endpoint(conventionalDescription()), 0x08);
    other.bus.plug(new Endpoint(conventionalDescription()), 0x08);
    const { placements, shortages } = enumerate(machine.complex);
    expect(placements.map(({ address, base }) => [address.domain, base])).toEqual([
      [0, 0xc000_0000],
      [1, 0xb800_0000],
    ]);
    expect(shortages).toEqual([]);
  });
});
