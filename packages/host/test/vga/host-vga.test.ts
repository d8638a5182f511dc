import { formatAddress, parseAddress } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { bundledHosts, readBundled } from "../../src/bundled/index.ts";
import { hostVga, type HostSnapshot } from "../../src/index.ts";

const at = (text: string) => parseAddress(text)!;
const config = (command: number, control = 0): Uint8Array => {
  const bytes = new Uint8Array(64);
  bytes[4] = command;
  bytes[0x3e] = control;
  return bytes;
};

/** Integrated graphics beside a card behind a port with or without VGA Enable. */
const twoCards = (vgaEnable: boolean, rest: Partial<HostSnapshot> = {}): HostSnapshot => ({
  origin: "made", kind: "sysfs", groups: undefined, acpi: new Map(), commandLine: undefined, kernelRelease: "6.12.1", dmesg: undefined, iommus: [], missing: [], warnings: [],
  functions: [
    { address: at("00:01.0"), parent: undefined, vendor: 0x8086, device: 1, classCode: 0x06_0400, config: config(7, vgaEnable ? 8 : 0) },
    { address: at("00:02.0"), parent: undefined, vendor: 0x8086, device: 2, classCode: 0x03_0000, config: config(vgaEnable ? 0 : 3) },
    { address: at("01:00.0"), parent: at("00:01.0"), vendor: 0x10de, device: 3, classCode: 0x03_0000, config: config(3), resources: [{ start: 0xd000_0000n, end: 0xdfff_ffffn, flags: 0x4_0200n }] },
  ],
  ...rest,
});

describe("VGA of a host", () => {
  test("the port's VGA Enable decides which of two cards is the boot device", () => {
    expect(hostVga(twoCards(true)).bootVga).toBe("0000:01:00.0");
    expect(hostVga(twoCards(false)).bootVga).toBe("0000:00:02.0");
  });
  test("firmware's frame buffer decides before it", () => {
    expect(hostVga(twoCards(false), { framebuffer: { base: 0xd000_0000, size: 0x100_0000 } }).bootVga).toBe("0000:01:00.0");
  });
  test("integrated graphics that decodes wins over a card that is not routed", () => {
    const closed = twoCards(false);
    const functions = closed.functions.map((fn) => (fn.classCode === 0x03_0000 ? { ...fn, parent: at("00:01.0") } : fn));
    expect(hostVga({ ...closed, functions }, { integrated: new Set(["0000:00:02.0"]) }).bootVga).toBe("0000:00:02.0");
  });
  test("what the snapshot does not show is said", () => {
    const functions = twoCards(true).functions.map((fn) => ({ ...fn, config: undefined }));
    expect(hostVga(twoCards(true, { kernelRelease: undefined, functions })).notes).toEqual([
      "The kernel is not known; the rules of 6.12 are used.",
      "Which device firmware drew on is not in the snapshot; a boot in text mode is assumed.",
      "The configuration space of 0000:00:02.0 was not read; it counts as switched off.",
      "The configuration space of 0000:01:00.0 was not read; it counts as switched off.",
    ]);
  });
  test("a card that came later without the arbiter's line is left out and named", () => {
    const dmesg = "vgaarb: loaded\n[    4.4] pci 0000:01:00.0: [10de:0003] type 00 class 0x030000\n";
    const vga = hostVga(twoCards(true, { dmesg }));
    expect(vga.arbiter.states).toHaveLength(1);
    expect(vga.notes).toContain("0000:01:00.0 came after the arbiter had started, and the log does not show that it was added.");
    expect(hostVga(twoCards(true, { dmesg: `${dmesg}pci 0000:01:00.0: vgaarb: VGA device added: decodes=io+mem` })).arbiter.states).toHaveLength(2);
  });
  test("the arbiter works on copies: routing leaves the snapshot as it is", () => {
    const snapshot = twoCards(true);
    const { arbiter } = hostVga(snapshot);
    arbiter.tryGet(arbiter.states[0]!.device, 3);
    expect(snapshot.functions[0]?.config?.[0x3e]).toBe(8);
    expect(snapshot.functions[1]?.config?.[4]).toBe(0);
  });
  test.each(bundledHosts)("$name: what boot_vga reads is computed from its registers", ({ name }) => {
    const snapshot = readBundled(name);
    const recorded = snapshot.functions.filter(({ bootVga }) => bootVga !== undefined).map(({ address, bootVga }) => [formatAddress(address), bootVga ? 1 : 0] as const);
    expect([...hostVga(snapshot).bootVgaFiles]).toEqual(recorded);
  });
});
