import { describe, expect, test } from "vitest";
import { formatAddress } from "@iommu-lab/pci-bus";
import type { FirmwareFramebuffer, VgaDevice } from "../../src/index.ts";
import { arbiterFor, at, bridge, device, kernels } from "../fake-devices.ts";

const chosen = (kernel: string, devices: readonly VgaDevice[], framebuffer?: FirmwareFramebuffer): string | undefined => {
  const { defaultDevice, defaultReason } = arbiterFor(devices, { kernel, framebuffer }).arbiter;
  return defaultDevice && `${formatAddress(defaultDevice.address)} ${defaultReason}`;
};
const closed = (): ReturnType<typeof bridge> => bridge("00:01.0", false);
const bars = (base: number, size: number) => ({ memoryBars: [{ base, size }] });

describe("the boot VGA device (Linux vgaarb.c, vga_is_boot_device)", () => {
  test.each(kernels)("%s: the first device with both legacy ranges", (kernel) => {
    expect(chosen(kernel, [device("00:02.0", 1), device("00:03.0", 3), device("00:04.0", 3)])).toBe("0000:00:03.0 legacy");
  });
  test.each(kernels)("%s: without such one, the first that decodes anything", (kernel) => {
    expect(chosen(kernel, [device("01:00.0", 0, [closed()]), device("01:00.1", 2, [closed()]), device("01:00.2", 3, [closed()])])).toBe("0000:01:00.1 first-decoding");
  });
  test.each(kernels)("%s: of those the last integrated one", (kernel) => {
    const devices = [device("01:00.0", 3, [closed()]), device("02:00.0", 2, [closed()], { isIntegrated: true }), device("03:00.0", 1, [closed()], { isIntegrated: true }), device("04:00.0", 3, [closed()])];
    expect(chosen(kernel, devices)).toBe("0000:03:00.0 integrated");
  });
  test.each(kernels)("%s: an integrated device that decodes nothing does not count", (kernel) => {
    expect(chosen(kernel, [device("01:00.0", 2, [closed()]), device("02:00.0", 0, [closed()], { isIntegrated: true })])).toBe("0000:01:00.0 first-decoding");
  });
  test.each(kernels)("%s: a legacy device found later takes over from one that only decodes", (kernel) => {
    expect(chosen(kernel, [device("01:00.0", 3, [closed()]), device("02:00.0", 3, [bridge("00:02.0", true)])])).toBe("0000:02:00.0 legacy");
  });
  test.each([
    ["6.1", "0000:01:00.0 first-of-all"],
    ["6.12", "0000:01:00.0 first-of-all"],
    ["7.2", undefined],
  ])("%s: where all are switched off: %s", (kernel, expected) => {
    expect(chosen(kernel, [device("01:00.0", 0), device("02:00.0", 0)])).toBe(expected);
  });

  test.each(kernels)("%s: firmware's frame buffer wins over legacy, before and after", (kernel) => {
    const framebuffer = { base: 0xd000_0000, size: 0x80_0000, device: at("02:00.0") };
    const [drawn, legacy] = [device("02:00.0", 0, [closed()], bars(0xd000_0000, 0x1000_0000)), device("00:02.0", 3)];
    expect(chosen(kernel, [legacy, drawn], framebuffer)).toBe("0000:02:00.0 firmware-framebuffer");
    expect(chosen(kernel, [drawn, legacy], framebuffer)).toBe("0000:02:00.0 firmware-framebuffer");
  });
  test.each(kernels)("%s: the first frame buffer device stays", (kernel) => {
    const framebuffer = { base: 0xd000_0000, size: 0x1000 };
    const twice = [device("02:00.0", 0, [], bars(0xd000_0000, 0x10_0000)), device("03:00.0", 3, [], bars(0xd000_0000, 0x10_0000))];
    expect(chosen(kernel, twice, framebuffer)).toBe("0000:02:00.0 firmware-framebuffer");
  });
  test("a BAR that moved after boot is lost on 6.12 and not on 7.2", () => {
    const framebuffer = { base: 0xd000_0000, size: 0x80_0000, device: at("02:00.0") };
    const moved = [device("00:02.0", 3), device("02:00.0", 0, [closed()], bars(0xe000_0000, 0x1000_0000))];
    expect(chosen("6.12", moved, framebuffer)).toBe("0000:00:02.0 legacy");
    expect(chosen("7.2", moved, framebuffer)).toBe("0000:02:00.0 firmware-framebuffer");
  });
  test.each([
    [0xd000_0000, 0x1000, true],
    [0xcfff_f000, 0x1000, false],
    [0xd00f_0000, 0x1_0000, false],
    [0xd00f_0000, 0xf000, true],
    [0xd000_0000, 0x10_0000, false],
    [0xd000_0000, 0xf_ffff, false],
    [0xd000_0000, 0xf_fffe, true],
  ])("a frame buffer at %i of %i bytes is inside a BAR of 1 MiB at 0xd0000000, and ends before its last byte: %s", (base, size, found) => {
    expect(chosen("6.1", [device("00:02.0", 3), device("02:00.0", 0, [closed()], bars(0xd000_0000, 0x10_0000))], { base, size })).toBe(found ? "0000:02:00.0 firmware-framebuffer" : "0000:00:02.0 legacy");
  });
  test("a BAR at address 0 is unassigned and holds nothing", () => {
    expect(chosen("6.1", [device("00:02.0", 3), device("02:00.0", 0, [closed()], bars(0, 0x10_0000))], { base: 0, size: 16 })).toBe("0000:00:02.0 legacy");
  });
  test("the line says when another was chosen before", () => {
    const { log } = arbiterFor([device("01:00.0", 2, [closed()]), device("00:02.0", 3)]);
    expect(log).toContain("pci 0000:00:02.0: vgaarb: setting as boot VGA device (overriding previous)");
  });
  test("a driver may set another default", () => {
    const [a, b] = [device("00:02.0", 3), device("00:03.0", 3)];
    const { arbiter } = arbiterFor([a, b]);
    arbiter.setDefault(b);
    expect(arbiter.defaultDevice).toBe(b);
    expect(arbiter.defaultReason).toBeUndefined();
  });
});
