import type { MachineDescription, MachineInput } from "@iommu-lab/pci-bus/machine";
import { formatAddress } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ImpossibleIommu } from "../../src/board/iommu-choice.ts";
import { Machine } from "../../src/machine/machine.ts";
import { twoDevices } from "./two-devices.ts";

type FunctionInput = MachineInput["hostBridges"][number]["functions"][number];

const NIC: FunctionInput = { at: "00.0", vendor: 0x8086, device: 0x1572, classCode: 0x02_0000 };
const port = (at: string, below: readonly FunctionInput[], more: Partial<FunctionInput> = {}): FunctionInput => ({ at, kind: "root-port", vendor: 0x8086, device: 0x1901, classCode: 0x06_0400, capabilities: { acs: true }, below: [...below], ...more });
const build = (functions: FunctionInput[], more: Partial<MachineInput> = {}): Machine => new Machine(twoDevices("intel", { hostBridges: [{ functions }], ...more }));

describe("building a machine", () => {
  test("each IOMMU covers what it names, with what is below, and the one that names nothing the rest", () => {
    const machine = build([port("01.0", [NIC], { secondaryBus: 1 }), port("02.0", [NIC], { secondaryBus: 2 })], { iommus: [{ vendor: "intel", covers: ["00:01.0"] }, { vendor: "intel" }] });
    const unit = (text: string): number => machine.units.findIndex((each) => each === machine.unitOf(machine.at(text).address));
    expect(["00:01.0", "01:00.0", "00:02.0", "02:00.0"].map(unit)).toEqual([0, 0, 1, 1]);
  });

  test("what no IOMMU names is covered by none, and reaches memory", () => {
    const machine = build([port("01.0", [NIC], { secondaryBus: 1 }), port("02.0", [NIC], { secondaryBus: 2 })], { iommus: [{ vendor: "intel", covers: ["00:01.0"] }] });
    for (const text of ["01:00.0", "02:00.0"]) machine.at(text).port.dmaWrite(0x20_0000 + (text === "01:00.0" ? 0 : 4), Uint8Array.of(1, 1, 1, 1));
    expect([machine.memory.read32(0x20_0000), machine.memory.read32(0x20_0004)]).toEqual([0, 0x0101_0101]);
    expect(machine.kernel.groupOf(machine.at("02:00.0").address)).toBeUndefined();
  });

  test("host bridges have their own bus numbers and segments", () => {
    const machine = new Machine(twoDevices("intel", { hostBridges: [{ firstBus: 0, lastBus: 0x1f, functions: [NIC] }, { firstBus: 0x20, functions: [NIC] }, { segment: 1, functions: [NIC] }] }));
    expect(machine.placed.map(({ seat }) => formatAddress(seat.address))).toEqual(["0000:00:00.0", "0000:20:00.0", "0001:00:00.0"]);
  });

  test("MSI-X without a BAR for its table gets one, and where one is named uses it", () => {
    const machine = build([port("01.0", [{ ...NIC, capabilities: { msix: { vectors: 8 } } }], { secondaryBus: 1 }), port("02.0", [{ ...NIC, bars: [{ index: 2, kind: "memory32", size: 0x2000 }], capabilities: { msix: { vectors: 8, bar: 2 } } }], { secondaryBus: 2 })]);
    expect(["01:00.0", "02:00.0"].map((text) => machine.at(text).bars.map(({ index }) => index))).toEqual([[4], [2]]);
  });

  test.each<readonly [string, Partial<MachineInput>]>([
    ["bus numbers of two host bridges that overlap", { hostBridges: [{ functions: [] }, { functions: [] }] }],
    ["a BAR that two indexes share", { hostBridges: [{ functions: [{ ...NIC, bars: [{ index: 0, kind: "memory64", size: 0x1000 }, { index: 1, kind: "memory32", size: 0x1000 }] }] }] }],
    ["a captured header of no known type", { hostBridges: [{ functions: [{ at: "00.0", config: `${"00".repeat(14)}02${"00".repeat(49)}` }] }] }],
  ])("%s cannot be", (_what, changes) => {
    expect(() => new Machine(twoDevices("intel", changes))).toThrow(RangeError);
  });

  const bar = fc.record({ index: fc.nat(5), kind: fc.constantFrom("io", "memory32", "memory64"), size: fc.integer({ min: 0, max: 40 }).map((shift) => 2 ** shift) }, { requiredKeys: ["index", "kind", "size"] });
  const messages = fc.record({ vectors: fc.constantFrom(1, 2, 3, 32, 33, 2048), bar: fc.nat(5) }, { requiredKeys: [] });
  const capabilities = fc.record({ powerManagement: fc.boolean(), msi: messages, msix: messages, express: fc.boolean(), functionLevelReset: fc.boolean(), acs: fc.boolean(), aer: fc.boolean(), ari: fc.boolean(), ats: fc.boolean(), pri: fc.boolean(), pasid: fc.boolean(), sriov: fc.record({ totalVfs: fc.constantFrom(1, 7, 256) }) }, { requiredKeys: [] });
  const leaf = fc.record(
    { at: fc.tuple(fc.nat(31), fc.nat(7)).map(([device, fn]) => `${device.toString(16)}.${fn}`), vendor: fc.constantFrom(0, 0x8086, 0xffff), device: fc.nat(0xffff), classCode: fc.constantFrom(0x02_0000, 0x03_0000, 0xff_ffff), bars: fc.array(bar, { maxLength: 3 }), romSize: fc.integer({ min: 0, max: 30 }).map((shift) => 2 ** shift), capabilities, behaviour: fc.constantFrom("registers", "edu", "stream", "vga"), interruptPin: fc.nat(4), multifunction: fc.boolean() },
    { requiredKeys: ["at", "vendor", "device", "classCode"] },
  );
  const { fn } = fc.letrec((tie) => ({
    fn: fc.oneof({ depthSize: "small" }, leaf, fc.record({ at: fc.tuple(fc.nat(31), fc.nat(7)).map(([device, fn]) => `${device.toString(16)}.${fn}`), kind: fc.constantFrom("root-port", "upstream-port", "downstream-port", "pcie-to-pci", "pci-to-pci"), vendor: fc.constant(1), device: fc.constant(2), classCode: fc.constant(0x06_0400), secondaryBus: fc.nat(255), subordinateBus: fc.nat(255), below: fc.array(tie("fn"), { maxLength: 3 }) }, { requiredKeys: ["at", "kind", "vendor", "device", "classCode", "below"] })),
  }));
  const iommu = fc.record({ vendor: fc.constant("intel"), levels: fc.constantFrom(4, 5), scalable: fc.boolean(), cachingMode: fc.boolean(), superpages: fc.boolean(), interruptRemapping: fc.boolean(), caches: fc.constantFrom("none", "realistic", "adversarial"), iotlb: fc.record({ sets: fc.constantFrom(1, 3, 65_536), ways: fc.constantFrom(1, 64) }), covers: fc.array(fc.constantFrom("00:01.0", "ff:1f.7")), registerBase: fc.constantFrom(0, 0xfed9_0000, 2 ** 52) }, { requiredKeys: ["vendor"] });

  test("any description is built, or refused in words", () => {
    fc.assert(
      fc.property(fc.array(fn, { maxLength: 4 }), fc.array(iommu, { maxLength: 3 }), fc.constantFrom("intel", "amd"), fc.constantFrom(1, 255, 1024), fc.constantFrom("xapic", "x2apic"), fc.constantFrom(2 ** 24, 2 ** 32 + 4096, 2 ** 46), (functions, iommus, vendor, count, apic, memory) => {
        let description: MachineDescription;
        try {
          description = twoDevices("intel", { hostBridges: [{ functions: functions as FunctionInput[] }], iommus: iommus.map((each) => ({ ...each, vendor })), processors: { count, apic: apic }, memory });
        } catch {
          return;
        }
        try {
          const machine = new Machine(description);
          expect(machine.placed.length).toBeGreaterThanOrEqual(functions.length);
        } catch (error) {
          if (!(error instanceof RangeError) && !(error instanceof ImpossibleIommu)) throw error;
          expect(error.message).toMatch(/\s/);
        }
      }),
      { numRuns: 150 },
    );
  });
});
