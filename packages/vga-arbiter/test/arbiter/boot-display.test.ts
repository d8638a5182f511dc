import { describe, expect, test } from "vitest";
import { isBootDisplay, kernelProfile } from "../../src/index.ts";
import { at, device } from "../fake-devices.ts";

describe("sysfs boot_display", () => {
  const vga = device("00:02.0", 3);
  const controller = device("01:00.0", 3, [], { classCode: 0x03_0200 });
  const network = device("02:00.0", 3, [], { classCode: 0x02_0000 });
  const facts = (kernel: string, drawn?: string) => ({ profile: kernelProfile(kernel), defaultDevice: vga, framebuffer: drawn === undefined ? undefined : { base: 1, size: 1, device: at(drawn) } });
  test.each([
    ["the boot VGA device", vga, facts("7.2"), true],
    ["a 3D controller that firmware drew on", controller, facts("7.2", "01:00.0"), true],
    ["a 3D controller otherwise", controller, facts("7.2", "00:02.0"), false],
    ["what is no display", network, facts("7.2", "02:00.0"), false],
    ["anything before 7.2", vga, facts("6.12"), undefined],
  ])("%s: case %#", (_, which, given, expected) => {
    expect(isBootDisplay(which, given)).toBe(expected);
  });
});
