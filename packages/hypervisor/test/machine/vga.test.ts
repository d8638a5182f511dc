import { formatAddress } from "@iommu-lab/pci-bus";
import { barBase } from "@iommu-lab/pci-bus/model";
import { bootBios, romVerdict, VgaCard, type VgaDevice } from "@iommu-lab/vga-arbiter";
import { describe, expect, test } from "vitest";
import { Machine } from "../../src/machine/machine.ts";
import { CARD_BARS, twoCards } from "./two-cards.ts";

const cardAt = (machine: Machine, address: string): VgaCard => {
  const { fn } = machine.at(address);
  if (!(fn instanceof VgaCard)) throw new Error(`${address} is no graphics card`);
  return fn;
};
const alone = (fn: Readonly<Record<string, unknown>>): Machine => new Machine(twoCards({ hostBridges: [{ functions: [{ at: "02.0", classCode: 0x03_0000, behaviour: "vga", ...fn }] }] }));
const ENABLED = 3;

describe("a function that behaves as vga", () => {
  test("has the identity, the BARs and the ROM images of its description", () => {
    const machine = new Machine(twoCards());
    const [first, second] = ["01:00.0", "02:00.0"].map((address) => cardAt(machine, address)) as [VgaCard, VgaCard];
    expect([first.config.read(0, 4), second.config.read(0, 4)]).toEqual([0x1_1234, 0x2_1234]);
    expect(machine.at("01:00.0").bars.map(({ index, size }) => [index, size])).toEqual([[0, 0x4_0000], [2, 0x1000]]);
    expect([first, second].map(({ romBytes }) => romBytes && [romVerdict(romBytes).seabios, romVerdict(romBytes).ovmf])).toEqual([["yes", "no"], ["yes", "yes"]]);
  });
  test("draws through its frame buffer BAR", () => {
    const machine = new Machine(twoCards());
    const seat = machine.at("02:00.0");
    const [bar] = seat.bars;
    if (!bar) throw new Error("no BAR");
    machine.map.write32(barBase(seat.fn.config, bar), 0x0403_0201);
    expect([...cardAt(machine, "02:00.0").memory.bytes.subarray(0, 5)]).toEqual([1, 2, 3, 4, 0]);
  });
  test("a ROM whose images nobody named works with no firmware, and without romSize there is none", () => {
    const [unnamed, none] = [alone({ vendor: 0x1234, device: 1, romSize: 0x1000 }), alone({ vendor: 0x1234, device: 1 })];
    const { romBytes } = cardAt(unnamed, "00:02.0");
    expect(romBytes && romVerdict(romBytes)).toMatchObject({ seabios: "unknown", ovmf: "unknown" });
    expect([cardAt(none, "00:02.0").romBytes, none.at("00:02.0").rom]).toEqual([undefined, undefined]);
  });
  test("the prefetchable BAR is the frame buffer, wherever it is", () => {
    const machine = alone({ vendor: 0x10de, device: 0x1402, bars: [{ index: 0, kind: "memory32", size: 0x100_0000 }, { index: 1, kind: "memory64", size: 0x1000_0000, prefetchable: true }, { index: 5, kind: "io", size: 0x80 }] });
    const seat = machine.at("00:02.0");
    const bar = seat.bars.find(({ index }) => index === 1);
    if (!bar) throw new Error("no BAR");
    machine.map.write8(barBase(seat.fn.config, bar), 0x77);
    expect(cardAt(machine, "00:02.0").memory.bytes[0]).toBe(0x77);
    expect(cardAt(machine, "00:02.0").memory.bytes).toHaveLength(2 ** 24);
  });
  test.each([
    [0x8086, true],
    [0x1002, false],
  ])("on the root bus, of vendor %s, its own switch for the legacy ranges is ignored: %s", (vendor, ignored) => {
    const machine = alone({ vendor, device: 1, bars: [...CARD_BARS] });
    const seat = machine.at("00:02.0");
    const bar = seat.bars.find(({ index }) => index === 2);
    if (!bar) throw new Error("no BAR");
    machine.map.write8(barBase(seat.fn.config, bar), 1);
    expect(seat.fn.legacyVga !== undefined).toBe(ignored);
  });
});

describe("the window at 0xa0000", () => {
  test("leads to the display that firmware chose, and not to RAM", () => {
    const machine = new Machine(twoCards({ firmware: { kind: "bios", bootDisplay: "0000:02:00.0" } }));
    bootBios(machine.complex, { primary: { domain: 0, requester: 0x0200 } });
    machine.map.write8(0xb_8000, 0x41);
    expect([cardAt(machine, "01:00.0").memory.readPlane(0, 0), cardAt(machine, "02:00.0").memory.readPlane(0, 0), machine.memory.read8(0xb_8000)]).toEqual([0x20, 0x41, 0]);
  });
});

describe("the kernel's VGA arbiter", () => {
  test("knows the displays as firmware left them, and is one", () => {
    const machine = new Machine(twoCards());
    bootBios(machine.complex);
    const { vga } = machine.kernel;
    expect(machine.kernel.vga).toBe(vga);
    expect(vga.states.map(({ device, owns }) => [formatAddress(device.address), owns & ENABLED])).toEqual([["0000:01:00.0", 3], ["0000:02:00.0", 0]]);
    expect([vga.defaultDevice?.address.requester, vga.defaultReason]).toEqual([0x0100, "legacy"]);
  });
  test("follows the kernel's version and firmware's frame buffer", () => {
    const machine = new Machine(twoCards({ kernel: { version: "6.1" }, firmware: { kind: "uefi", frameBuffer: { base: 0x1000, size: 16 } } }));
    expect(machine.kernel.vga.profile.legacyClass).toBe(false);
    const second = machine.at("02:00.0");
    const [bar] = second.bars;
    if (!bar) throw new Error("no BAR");
    const drawn = new Machine(twoCards({ firmware: { kind: "uefi", frameBuffer: { base: barBase(second.fn.config, bar), size: 0x1000 } } }));
    expect([drawn.kernel.vga.defaultDevice?.address.requester, drawn.kernel.vga.defaultReason]).toEqual([0x0200, "firmware-framebuffer"]);
  });
  test.each([
    [0x8086, true],
    [0x1002, false],
  ])("takes a display of vendor %s on the root bus for an integrated one: %s", (vendor, integrated) => {
    const [device] = alone({ vendor, device: 1 }).kernel.vga.states.map((state): VgaDevice => state.device);
    expect(device?.isIntegrated).toBe(integrated);
  });
});
