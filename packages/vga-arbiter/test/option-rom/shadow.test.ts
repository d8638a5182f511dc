import { FlatMemory } from "@iommu-lab/memory";
import { describe, expect, test } from "vitest";
import { bootVgaAttribute, copyToShadow, hasShadowedRom, SHADOW_BASE, SHADOW_SIZE } from "../../src/index.ts";
import { bridge, device } from "../fake-devices.ts";

describe("the shadow of the video BIOS (Linux arch/x86/pci/fixup.c, pci_fixup_video)", () => {
  const [open, closed] = [bridge("00:01.0", true), bridge("00:02.0", false)];
  test.each([
    ["on the root bus", device("00:05.0", 3), true],
    ["with one decoder on", device("00:05.0", 2), true],
    ["switched off", device("00:05.0", 0), false],
    ["behind an open bridge", device("01:00.0", 3, [open]), true],
    ["behind a closed one above an open one", device("01:00.0", 3, [open, closed]), false],
    ["of class 0001", device("00:05.0", 3, [], { classCode: 0x00_0100 }), false],
    ["of class 0380", device("00:05.0", 3, [], { classCode: 0x03_8000 }), false],
  ])("a device %s has it: without a default device", (_, card, shadowed) => {
    expect(hasShadowedRom(card, undefined)).toBe(shadowed);
  });
  test("where there is a default device, that one alone", () => {
    const [a, b] = [device("00:05.0", 3), device("00:06.0", 3)];
    expect([hasShadowedRom(a, a), hasShadowedRom(b, a)]).toEqual([true, false]);
  });
  test("the copy stands at 0xc0000 and has at most 128 KiB", () => {
    const memory = new FlatMemory(0x10_0000);
    copyToShadow(memory, Uint8Array.of(0x55, 0xaa));
    expect(memory.read16(SHADOW_BASE)).toBe(0xaa55);
    expect(() => { copyToShadow(memory, new Uint8Array(SHADOW_SIZE + 1)); }).toThrow(RangeError);
  });
});

describe("sysfs boot_vga", () => {
  const [a, b] = [device("00:05.0", 3), device("00:06.0", 3)];
  test.each([
    [a, true, 1],
    [b, true, 0],
    [undefined, true, 1],
    [undefined, false, 0],
  ] as const)("default %#, shadowed %s: %i", (defaultDevice, shadowedRom, expected) => {
    expect(bootVgaAttribute(a, { defaultDevice, shadowedRom })).toBe(expected);
  });
});
