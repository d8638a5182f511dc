import { describe, expect, test } from "vitest";
import { barBase } from "@iommu-lab/pci-bus/model";
import { bootBios, LEGACY_RESOURCES, loadNativeDriver, ownersOf, displaysOf, VgaArbiter, vgaDevicesOf, type VgaDevice } from "../../src/index.ts";
import { machineWith, type Machine } from "../bench-machine.ts";

/** Two cards on one bus, booted by a BIOS; the first one's own switch works or not. */
const booted = (legacySwitch: "works" | "ignored") => {
  const machine = machineWith("one-bus", [{ legacySwitch }, {}]);
  bootBios(machine.complex);
  const log: string[] = [];
  const arbiter = new VgaArbiter({ kernel: "6.12", log: (line) => log.push(line) });
  arbiter.scan(vgaDevicesOf(machine.complex));
  const [first, second] = arbiter.states.map(({ device }) => device) as [VgaDevice, VgaDevice];
  return { ...machine, arbiter, first, second, log };
};
const barAnswers = ({ complex }: Machine, device: VgaDevice): boolean => {
  const seat = complex.find(device.address);
  const bar = seat?.bars[0];
  if (!seat || !bar) throw new Error("no BAR");
  const [base, into] = [barBase(seat.fn.config, bar), new Uint8Array(1)];
  complex.memoryWrite(base, Uint8Array.of(0x21));
  complex.memoryRead(base, into);
  return into[0] === 0x21;
};

describe("the window until the native driver comes", () => {
  test("firmware and text mode use it; with the driver loaded nobody answers there and the card works by its BARs", () => {
    const machine = booted("works");
    const { complex, arbiter, first, log } = machine;
    expect(ownersOf(complex, displaysOf(complex))).toEqual([first.address]);
    expect(loadNativeDriver(complex, arbiter, first).method).toBe("card-switch");
    expect(ownersOf(complex, displaysOf(complex))).toEqual([]);
    expect(barAnswers(machine, first)).toBe(true);
    expect(arbiter.decodeCount).toBe(1);
    expect(log.slice(-2)).toEqual(["pci 0000:01:01.0: vgaarb: deactivate vga console", "pci 0000:01:01.0: vgaarb: VGA decodes changed: olddecodes=io+mem,decodes=none:owns=io+mem"]);
  });
});

describe("two ways to stop a card from decoding", () => {
  test("by its own switch: another gets the ranges and the first one's BARs go on", () => {
    const machine = booted("works");
    const { complex, arbiter, first, second } = machine;
    loadNativeDriver(complex, arbiter, first);
    arbiter.tryGet(second, LEGACY_RESOURCES);
    expect(ownersOf(complex, displaysOf(complex))).toEqual([second.address]);
    expect([barAnswers(machine, first), barAnswers(machine, second)]).toEqual([true, true]);
  });
  test("by its command register, where the switch is ignored: the BARs are dead while another holds the ranges", () => {
    const machine = booted("ignored");
    const { complex, arbiter, first, second } = machine;
    expect(loadNativeDriver(complex, arbiter, first).method).toBe("command-register");
    expect(barAnswers(machine, first)).toBe(true);
    arbiter.tryGet(second, LEGACY_RESOURCES);
    expect(barAnswers(machine, first)).toBe(false);
  });
  test("alone again, the card is asked to decode and does", () => {
    const { complex, arbiter, first, second } = booted("works");
    loadNativeDriver(complex, arbiter, first);
    arbiter.tryGet(second, LEGACY_RESOURCES);
    arbiter.remove(second);
    expect(complex.find(first.address)?.fn.legacyVga).toBeDefined();
    expect(arbiter.stateOf(first)?.decodes).toBe(15);
  });
});
