import { describe, expect, test } from "vitest";
import { ALL_RESOURCES, nativeDecodes, vfioDecodes, VgaResource, type VgaDevice } from "../../src/index.ts";
import { arbiterFor, bridge, device } from "../fake-devices.ts";

const NORMAL = VgaResource.NormalIo | VgaResource.NormalMemory;
const port = bridge("00:01.0");
port.config.write(0x1a, 1, 3);
const card = device("02:00.0", 3, [port]);
const decodes = (others: readonly VgaDevice[], disableVga = true, legacy = false): number => vfioDecodes(card, legacy, { devices: [card, ...others], disableVga });

describe("what vfio-pci says a device decodes (Linux vfio_pci_set_decode)", () => {
  test.each([
    ["alone behind its port, with disable_vga", decodes([]), NORMAL],
    ["without disable_vga", decodes([], false), ALL_RESOURCES],
    ["as the only VGA device", decodes([], true, true), ALL_RESOURCES],
    ["on a root bus", vfioDecodes(device("00:02.0", 3), false, { devices: [], disableVga: true }), ALL_RESOURCES],
    ["beside another on its bus", decodes([device("02:01.0", 3, [port])]), ALL_RESOURCES],
    ["beside another on the last bus below its port", decodes([device("03:00.0", 3, [port])]), ALL_RESOURCES],
    ["beside another behind the next port", decodes([device("04:00.0", 3, [bridge("00:02.0")])]), NORMAL],
    ["beside another on a bus before", decodes([device("01:00.0", 3, [bridge("00:02.0")])]), NORMAL],
    ["beside another in a different domain", decodes([device("0001:02:01.0", 3, [bridge("0001:00:01.0")])]), NORMAL],
    ["beside one of another class", decodes([device("02:01.0", 3, [port], { classCode: 0x03_0200 })]), NORMAL],
    ["beside one on the root bus", decodes([device("00:02.0", 3)]), NORMAL],
  ])("%s", (_, actual, expected) => {
    expect(actual).toBe(expected);
  });

  test("binding it to the boot device gives the lines of a recorded kernel", () => {
    const binding: { driver?: string } = {};
    const bound: VgaDevice = { ...device("02:00.0", 3, [bridge("00:13.4", true)]), get driver() { return binding.driver; } };
    const { arbiter, log } = arbiterFor([bound]);
    binding.driver = "vfio-pci";
    arbiter.removeConsole(bound);
    arbiter.setLegacyDecoding(bound, vfioDecodes(bound, false, { devices: [bound], disableVga: false }));
    expect(log.slice(-3)).toEqual(["vgaarb: loaded", "vfio-pci 0000:02:00.0: vgaarb: deactivate vga console", "vfio-pci 0000:02:00.0: vgaarb: VGA decodes changed: olddecodes=io+mem,decodes=io+mem:owns=io+mem"]);
  });
});

describe("what native drivers say", () => {
  test("all, or the BARs when asked to give the legacy ranges up", () => {
    expect([nativeDecodes(true), nativeDecodes(false)]).toEqual([ALL_RESOURCES, NORMAL]);
  });
});
