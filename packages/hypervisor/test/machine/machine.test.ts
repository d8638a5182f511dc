import { formatAddress } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { Machine } from "../../src/machine/machine.ts";
import { twoDevices } from "./two-devices.ts";

describe.each(["intel", "amd"] as const)("a machine with an IOMMU of %s", (vendor) => {
  test("buses have the numbers that the description gives", () => {
    const machine = new Machine(twoDevices(vendor));
    expect(machine.placed.map(({ seat }) => formatAddress(seat.address))).toEqual(["0000:00:00.0", "0000:00:01.0", "0000:01:00.0", "0000:00:02.0", "0000:05:00.0", "0000:00:03.0", "0000:07:00.0", "0000:08:01.0", "0000:08:02.0"]);
  });

  test("the kernel makes groups, with what is behind a bridge to conventional PCI in one", () => {
    const { kernel } = new Machine(twoDevices(vendor));
    expect(kernel.groups.map(({ members }) => members.map(formatAddress)).filter((group) => group.length > 1)).toEqual([["0000:07:00.0", "0000:08:01.0", "0000:08:02.0"]]);
    expect(kernel.groupOf({ domain: 0, requester: 0x0100 })?.members).toHaveLength(1);
  });

  test("a DMA that nobody mapped reaches no memory and is reported", () => {
    const machine = new Machine(twoDevices(vendor));
    machine.memory.write32(0x20_0000, 0x1234_5678);
    machine.at("01:00.0").port.dmaWrite(0x20_0000, new Uint8Array(4));
    machine.advance(0);
    expect(machine.memory.read32(0x20_0000)).toBe(0x1234_5678);
    expect(machine.kernel.faults.map(({ requester, address }) => [requester, address])).toEqual([[0x0100, 0x20_0000n]]);
  });

  test("without translation, and with iommu=pt, it does reach memory", () => {
    for (const commandLine of ["intel_iommu=off amd_iommu=off", "intel_iommu=on iommu=pt"]) {
      const machine = new Machine(twoDevices(vendor, { kernel: { version: "6.12", commandLine } }));
      const hpa = machine.frames.allocate() * 4096;
      machine.at("01:00.0").port.dmaWrite(hpa, Uint8Array.of(1, 2, 3, 4));
      expect(machine.memory.read32(hpa)).toBe(0x0403_0201);
    }
  });

  test("an interrupt that the kernel gave out reaches its handler, and another device's forgery does not", () => {
    const machine = new Machine(twoDevices(vendor));
    const seen: number[] = [];
    const given = machine.kernel.requestInterrupt({ domain: 0, requester: 0x0100 }, (vector) => seen.push(vector), 1);
    machine.at("05:00.0").port.message(given.message.address, given.message.data);
    expect(seen).toEqual([]);
    machine.at("01:00.0").port.message(given.message.address, given.message.data);
    expect(seen).toEqual([given.vector.vector]);
    expect(machine.processors.stray).toEqual([]);
  });
});
