import { decodeIvrs, decodeIvrsUnits } from "@iommu-lab/iommu-amd/ivrs";
import { decodeDmar, DmarPlatform } from "@iommu-lab/iommu-intel/dmar";
import { formatAddress, parseAddress } from "@iommu-lab/pci-bus";
import type { MachineInput } from "@iommu-lab/pci-bus/machine";
import { describe, expect, test } from "vitest";
import { Machine } from "../../src/machine/index.ts";
import { twoDevices } from "./two-devices.ts";

const RESERVED = [{ base: 0x7c00_0000, last: 0x7c00_ffff, functions: ["0000:05:00.0"] }];

describe("DMAR of a machine", () => {
  const machine = new Machine(twoDevices("intel", { iommus: [{ vendor: "intel", covers: ["0000:01:00.0", "0000:00:03.0"] }, { vendor: "intel" }], reserved: RESERVED }));
  const table = decodeDmar(machine.tables.get("DMAR") ?? new Uint8Array());
  const platform = new DmarPlatform(table, {
    secondaryBus: (_segment, bridge) => machine.complex.find({ domain: 0, requester: bridge })?.fn.secondary?.number,
    bridgesAbove: (_segment, requester) => {
      const above: number[] = [];
      for (let seat = machine.complex.find({ domain: 0, requester })?.bus.bridge; seat; seat = seat.bus.bridge) above.push(seat.requester);
      return above;
    },
  });

  test("it is sound", () => {
    expect(table.diagnoses).toEqual([]);
  });
  test("an operating system finds for every function the unit that stands in front of it", () => {
    for (const { seat } of machine.placed) expect(Number(platform.unitOf(0, seat.requester)?.registerBase), formatAddress(seat.address)).toBe(machine.unitOf(seat.address)?.registerBase);
  });
  test("it names the I/O APIC and reserved memory", () => {
    expect(platform.sourceOf("io-apic", 0)?.requester).toBe(0xf0f8);
    expect(platform.reservedRegionsOf(0, 0x0500).map(({ base, limit }) => [base, limit])).toEqual([[0x7c00_0000n, 0x7c00_ffffn]]);
  });
});

describe("IVRS of a machine", () => {
  const machine = new Machine(twoDevices("amd", { reserved: RESERVED }));
  const bytes = machine.tables.get("IVRS") ?? new Uint8Array();

  test("it is sound, and names every function that is translated", () => {
    expect(decodeIvrs(bytes).diagnoses.filter(({ severity }) => severity !== "note")).toEqual([]);
    const [unit] = decodeIvrsUnits(bytes).units;
    for (const { seat } of machine.placed) expect(unit?.ranges.some(({ first, last }) => first <= seat.requester && seat.requester <= last), formatAddress(seat.address)).toBe(machine.unitOf(seat.address) !== undefined);
  });
});

describe.each(["intel", "amd"] as const)("reserved memory (%s)", (vendor) => {
  const machine = new Machine(twoDevices(vendor, { reserved: RESERVED }));

  test("the function that firmware uses goes on reaching it, others do not", () => {
    machine.at("05:00.0").port.dmaWrite(0x7c00_0000, Uint8Array.of(1, 2));
    machine.at("01:00.0").port.dmaWrite(0x7c00_0002, Uint8Array.of(3));
    machine.advance(0);
    expect([machine.memory.read8(0x7c00_0001), machine.memory.read8(0x7c00_0002), machine.kernel.faults.length]).toEqual([2, 0, 1]);
  });
  test("no IOVA is given out there", () => {
    const address = parseAddress("0000:05:00.0");
    expect(address && machine.kernel.reservedRegionsOf(address).map(({ kind }) => kind)).toEqual(["msi", "direct"]);
  });
});

test("without an IOMMU, and with one that is switched off in the setup, there is no table", () => {
  const without: readonly Partial<MachineInput>[] = [{ iommus: [] }, { firmware: { kind: "uefi", iommu: false } }];
  for (const changes of without) expect(new Machine(twoDevices("intel", changes)).tables.size).toBe(0);
});
