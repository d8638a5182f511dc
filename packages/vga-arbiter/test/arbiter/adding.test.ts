import { describe, expect, test } from "vitest";
import { kernelProfile, VgaResource } from "../../src/index.ts";
import { arbiterFor, bridge, device } from "../fake-devices.ts";

const { LegacyIo, LegacyMemory } = VgaResource;

describe("adding a device (Linux vgaarb.c, vga_arbiter_add_pci_device)", () => {
  test.each([
    [0, 0],
    [1, LegacyIo],
    [2, LegacyMemory],
    [3, LegacyIo | LegacyMemory],
  ])("a device on a root bus whose command register is %i owns %i", (command, owns) => {
    expect(arbiterFor([device("00:02.0", command)]).arbiter.states[0]?.owns).toBe(owns);
  });

  test("one bridge above without VGA Enable takes everything", () => {
    const near = bridge("01:00.0", true);
    const far = bridge("00:01.0", false);
    expect(arbiterFor([device("02:00.0", 3, [near, far])]).arbiter.states[0]?.owns).toBe(0);
    expect(arbiterFor([device("02:00.0", 3, [near, bridge("00:01.0", true)])]).arbiter.states[0]?.owns).toBe(3);
  });

  test.each([
    [0x03_0000, "6.1", true],
    [0x03_0001, "6.1", true],
    [0x03_0200, "7.2", false],
    [0x03_8000, "7.2", false],
    [0x00_0100, "6.1", false],
    [0x00_0100, "6.12", true],
    [0x00_0100, "7.2", true],
    [0x00_0000, "7.2", false],
    [0x02_0000, "7.2", false],
  ] as const)("class %i is registered by %s: %s", (classCode, kernel, registered) => {
    const { arbiter } = arbiterFor([device("00:02.0", 3, [], { classCode })], { kernel });
    expect(arbiter.states.length === 1).toBe(registered);
    expect(arbiter.decodeCount).toBe(registered ? 1 : 0);
  });

  test("the lines are the kernel's", () => {
    const { log } = arbiterFor([device("00:02.0", 3), device("00:03.0", 1, [], { driver: "vfio-pci" })]);
    expect(log).toEqual([
      "pci 0000:00:02.0: vgaarb: setting as boot VGA device",
      "pci 0000:00:02.0: vgaarb: bridge control possible",
      "pci 0000:00:02.0: vgaarb: VGA device added: decodes=io+mem,owns=io+mem,locks=none",
      "vfio-pci 0000:00:03.0: vgaarb: bridge control possible",
      "vfio-pci 0000:00:03.0: vgaarb: VGA device added: decodes=io+mem,owns=io,locks=none",
      "vgaarb: loaded",
    ]);
  });

  test("one device is registered once", () => {
    const card = device("00:02.0", 3);
    const { arbiter } = arbiterFor([card]);
    expect(arbiter.add(card)).toBe(false);
    expect(arbiter.states).toHaveLength(1);
    expect(arbiter.add(device("00:03.0", 3))).toBe(true);
    expect(arbiter.add(device("00:04.0", 3, [], { classCode: 0x03_8000 }))).toBe(false);
  });

  test("removal takes the default away and lowers the count, unless the device decoded nothing any more", () => {
    const [a, b] = [device("00:02.0", 3), device("00:03.0", 3)];
    const { arbiter } = arbiterFor([a, b]);
    arbiter.setLegacyDecoding(b, 0);
    expect(arbiter.decodeCount).toBe(1);
    expect(arbiter.remove(b)).toBe(true);
    expect(arbiter.decodeCount).toBe(1);
    expect(arbiter.defaultDevice).toBe(a);
    arbiter.remove(a);
    expect(arbiter.decodeCount).toBe(0);
    expect(arbiter.defaultDevice).toBeUndefined();
    expect(arbiter.remove(a)).toBe(false);
  });
});

describe("kernelProfile", () => {
  test.each([
    ["6.1.0-56-amd64", false, true, "bars"],
    ["5.15", false, true, "bars"],
    ["6.11.9", false, true, "bars"],
    ["6.12.107+deb13-amd64", true, true, "bars"],
    ["7.1", true, true, "bars"],
    ["7.2.13+deb14-amd64", true, false, "device"],
    ["7.10", true, false, "device"],
    ["10.0", true, false, "device"],
  ])("%s", (version, legacyClass, acceptsDisabled, framebuffer) => {
    expect(kernelProfile(version)).toMatchObject({ legacyClass, acceptsDisabled, framebuffer });
  });

  test.each(["", "six", "6", "6.", ".1", "v6.1", "6.12345"])("%j is no version", (version) => {
    expect(() => kernelProfile(version)).toThrow(RangeError);
  });
});

describe("bridge sharing (Linux vgaarb.c, vga_arbiter_check_bridge_sharing)", () => {
  const flags = (...devices: readonly ReturnType<typeof device>[]): boolean[] => arbiterFor(devices).arbiter.states.map(({ bridgeHasOneVga }) => bridgeHasOneVga);
  const [p1, p2] = [bridge("00:01.0"), bridge("00:1c.0")];

  test("two cards behind ports of their own are switched by their bridges", () => {
    expect(flags(device("01:00.0", 3, [p1]), device("02:00.0", 3, [p2]))).toEqual([true, true]);
  });
  test("two cards behind one bridge are not", () => {
    expect(flags(device("01:00.0", 3, [p1]), device("01:01.0", 3, [p1]))).toEqual([false, false]);
  });
  test("a later card further down clears the flag of the one above it only", () => {
    expect(flags(device("01:00.0", 3, [p1]), device("02:00.0", 3, [p2, p1]))).toEqual([false, true]);
  });
  test("a later card further up loses its own flag only", () => {
    expect(flags(device("02:00.0", 3, [p2, p1]), device("01:00.0", 3, [p1]))).toEqual([true, false]);
  });
  test("the quirk of root buses: any later device clears the flag of those that are there, a newcomer keeps its own", () => {
    expect(flags(device("00:02.0", 3), device("01:00.0", 3, [p1]))).toEqual([false, true]);
    expect(flags(device("01:00.0", 3, [p1]), device("00:02.0", 3))).toEqual([true, true]);
    expect(flags(device("00:02.0", 3), device("00:03.0", 3), device("00:04.0", 3))).toEqual([false, false, true]);
  });
  test("the line tells the newcomer's flag", () => {
    const { log } = arbiterFor([device("02:00.0", 3, [p2, p1]), device("01:00.0", 3, [p1])]);
    expect(log.filter((line) => line.includes("bridge control"))).toEqual(["pci 0000:02:00.0: vgaarb: bridge control possible", "pci 0000:01:00.0: vgaarb: no bridge control possible"]);
  });
});
