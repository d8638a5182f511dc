import { formatAddress } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { bootBios, bootUefi, buildEfiImage, buildLegacyImage, buildOptionRom, initHookOf, LEGACY_RESOURCES, SHADOW_BASE, showText, VgaArbiter, vgaDevicesOf, VgaResource, type BootReport, type VgaCard } from "../../src/index.ts";
import { firstLine, machineWith, type Place } from "../bench-machine.ts";

const ids = { vendor: 0x1234, device: 0x1111 };
const legacy = buildOptionRom([buildLegacyImage({ ...ids, initHook: 1 })]);
const gop = buildOptionRom([buildLegacyImage({ ...ids, initHook: 1 }), buildEfiImage(ids)]);
const places: readonly Place[] = ["ports", "root-bus", "one-bus"];

const line = ({ steps }: BootReport): string[] => steps.map(({ action, device, owners }) => `${action} ${formatAddress(device)} [${owners.map(formatAddress).join(" ")}]`);
const arbiterOf = (complex: Parameters<typeof vgaDevicesOf>[0]): VgaArbiter => {
  const arbiter = new VgaArbiter({ kernel: "6.12" });
  arbiter.scan(vgaDevicesOf(complex));
  return arbiter;
};
const untouched = { memoryReads: 0, memoryWrites: 0, ioReads: 0, ioWrites: 0 };

describe("displays under a legacy BIOS", () => {
  test("the first card is set up, then the second one with the ranges handed over, then they go back", () => {
    const { complex } = machineWith("ports", [{ rom: legacy }, { rom: legacy }]);
    expect(line(bootBios(complex))).toEqual([
      "choose 0000:01:00.0 [0000:01:00.0]",
      "route 0000:01:00.0 [0000:01:00.0]",
      "copy-rom 0000:01:00.0 [0000:01:00.0]",
      "run-vbios 0000:01:00.0 [0000:01:00.0]",
      "route 0000:02:00.0 [0000:02:00.0]",
      "copy-rom 0000:02:00.0 [0000:02:00.0]",
      "run-vbios 0000:02:00.0 [0000:02:00.0]",
      "route 0000:01:00.0 [0000:01:00.0]",
      "copy-rom 0000:01:00.0 [0000:01:00.0]",
    ]);
  });
  test.each(places)("%s: no step lets two cards answer, and the trace sees no conflict", (place) => {
    const machine = machineWith(place, [{}, {}, {}]);
    const report = bootBios(machine.complex);
    expect(report.steps.every(({ owners }) => owners.length === 1)).toBe(true);
    expect(report.initialised).toHaveLength(3);
    expect(machine.conflicts()).toBe(0);
  });
  test.each(places)("%s: every card was set up by its own accesses, and the text is on the first one alone", (place) => {
    const { complex, cards } = machineWith(place, [{}, {}]);
    bootBios(complex);
    for (const card of cards) expect([card.registers.misc, card.registers.sequencer.get(4), card.legacyAccesses.memoryWrites > 0]).toEqual([0x67, 2, true]);
    expect(cards.map((card) => firstLine(card, 4))).toEqual(["BIOS", "    "]);
  });
  test("the card that setup names is the first", () => {
    const { complex, cards } = machineWith("ports", [{}, {}]);
    const second = complex.hostBridges[0]?.bus.functions()[1]?.fn.secondary?.functions()[0]?.address;
    if (!second) throw new Error("no card");
    const report = bootBios(complex, { primary: second });
    expect(report.primary).toEqual(second);
    expect(firstLine(cards[1] as VgaCard, 4)).toBe("BIOS");
    const { defaultDevice } = arbiterOf(complex);
    expect(defaultDevice?.address).toEqual(second);
  });
  test("the video BIOS stands at 0xc0000 as it is in the ROM, and ROM BARs are off", () => {
    const { complex, memory, cards } = machineWith("ports", [{ rom: gop }]);
    bootBios(complex);
    const shadow = new Uint8Array(1024);
    memory.readInto(SHADOW_BASE, shadow);
    expect(shadow).toEqual(gop.subarray(0, 1024));
    expect(initHookOf(shadow)).toBe(1);
    expect((cards[0] as VgaCard).config.read(0x30, 4) & 1).toBe(0);
  });
  test("the registers are those of mode 3, whatever was protected before", () => {
    const { complex, cards } = machineWith("ports", [{}]);
    const { registers, memory } = cards[0] as VgaCard;
    registers.crtc.values[0x11] = 0x80;
    bootBios(complex);
    expect([registers.crtc.get(0), registers.crtc.get(1), registers.crtc.get(0x13), registers.crtc.get(0x11)]).toEqual([0x5f, 79, 40, 0x8e]);
    // The last scan line that is shown: 400 lines, with bits 8 and 9 in CR07; characters of 16 lines.
    expect(registers.crtc.get(0x12) + 256 * ((registers.crtc.get(7) >> 1) & 1) + 512 * ((registers.crtc.get(7) >> 6) & 1)).toBe(399);
    expect(registers.crtc.get(9) & 0x1f).toBe(15);
    expect([...registers.graphics.values]).toEqual([0, 0, 0, 0, 0, 0x10, 0x0e, 0x0f, 0xff]);
    expect([...registers.sequencer.values.subarray(0, 5)]).toEqual([3, 0, 3, 0, 2]);
    expect(Array.from({ length: 16 }, (_, i) => registers.attribute.get(i))).toEqual(Array.from({ length: 16 }, (_, i) => i));
    expect([memory.readPlane(1, 0), memory.readPlane(0, 158), memory.readPlane(0, 160)]).toEqual([0x07, 0x20, 0]);
  });
  test("reading the ROM leaves the card's registers as they were", () => {
    const { complex, cards } = machineWith("ports", [{}, {}]);
    const second = (cards[1] as VgaCard).config;
    second.write(4, 2, 0x404);
    const base = second.read(0x30, 4);
    bootUefi(complex);
    expect([second.read(4, 2), second.read(0x30, 4)]).toEqual([0x404, base]);
  });
  test("a ROM without an address is not read", () => {
    const { complex, cards } = machineWith("ports", [{}]);
    (cards[0] as VgaCard).config.write(0x30, 4, 0);
    expect(bootBios(complex).steps.at(-1)?.text).toBe("0000:01:00.0 has no option ROM.");
  });
  test("after all, the shadow is the first card's again", () => {
    const other = buildOptionRom([buildLegacyImage({ vendor: 0x1234, device: 0x2222, initHook: 1 })]);
    const { complex, memory } = machineWith("ports", [{ rom: legacy }, { device: 0x2222, rom: other }]);
    bootBios(complex);
    expect(memory.read16(SHADOW_BASE + 0x1c + 6)).toBe(0x1111);
  });
  test.each([
    ["without ROM", null],
    ["with a wrong checksum", legacy.map((byte, i) => (i === 0x200 ? 1 : byte))],
    ["with a UEFI image alone", buildOptionRom([buildEfiImage(ids)])],
    ["with another vendor's image", buildOptionRom([buildLegacyImage({ vendor: 1, device: 1, initHook: 1 })])],
    ["with an unknown hook", buildOptionRom([buildLegacyImage({ ...ids, initHook: 9 })])],
  ])("a card %s stays dark", (_, rom) => {
    const { complex, cards } = machineWith("ports", [{ rom }]);
    const report = bootBios(complex);
    expect([report.primary, report.initialised, report.steps.at(-1)?.action]).toEqual([undefined, [], "skip"]);
    expect((cards[0] as VgaCard).legacyAccesses).toEqual(untouched);
  });
  test("a BIOS that does not start other cards leaves them alone", () => {
    const { complex, cards } = machineWith("ports", [{}, {}]);
    bootBios(complex, { startSecondary: false });
    expect((cards[1] as VgaCard).legacyAccesses).toEqual(untouched);
  });
  test("the same machine gives the same steps", () => {
    const run = (): string[] => line(bootBios(machineWith("one-bus", [{}, {}]).complex));
    expect(run()).toEqual(run());
  });
  test("a machine without displays has nothing to do", () => {
    expect(bootBios(machineWith("ports", []).complex)).toEqual({ steps: [], primary: undefined, initialised: [] });
  });
});

describe("displays under UEFI", () => {
  test.each(places)("%s: cards with a UEFI driver come up without one legacy access", (place) => {
    const { complex, cards } = machineWith(place, [{ rom: gop }, { rom: gop }], { vga: "none" });
    const report = bootUefi(complex);
    expect(report.initialised).toHaveLength(2);
    for (const card of cards) {
      expect(card.legacyAccesses).toEqual(untouched);
      expect(card.memory.bytes[1000]).toBe(0x80);
    }
  });
  test("the picture has 1024 by 768 points of four bytes, at the start of the first BAR, which is switched on", () => {
    const { complex, cards } = machineWith("ports", [{ rom: gop }]);
    const card = cards[0] as VgaCard;
    card.config.write(4, 2, 0);
    const { framebuffer } = bootUefi(complex);
    expect(framebuffer).toMatchObject({ size: 3 * 2 ** 20, base: (card.config.read(0x10, 4) & 0xffff_fff0) >>> 0 });
    expect(card.config.read(4, 2)).toBe(2);
    expect([card.memory.bytes[3 * 2 ** 20 - 1], card.memory.bytes[3 * 2 ** 20]]).toEqual([0x80, 0]);
  });
  test("the card that setup names is the first, if it came up", () => {
    const run = (primary: number): number | undefined => bootUefi(machineWith("ports", [{ rom: gop }, { rom: gop }, { rom: legacy }]).complex, { primary: { domain: 0, requester: primary << 8 } }).primary?.requester;
    expect([run(2), run(3)]).toEqual([0x200, 0x100]);
  });
  test("a card without a UEFI driver stays dark", () => {
    const { complex } = machineWith("ports", [{ rom: legacy }, { rom: gop }]);
    const report = bootUefi(complex);
    expect(line(report)).toEqual(["skip 0000:01:00.0 []", "start-gop 0000:02:00.0 []"]);
    expect(report.primary && formatAddress(report.primary)).toBe("0000:02:00.0");
  });
  test("the frame buffer makes the arbiter choose that card, although none is routed", () => {
    const { complex } = machineWith("ports", [{ rom: legacy }, { rom: gop }]);
    const { framebuffer } = bootUefi(complex);
    for (const kernel of ["6.1", "7.2"]) {
      const arbiter = new VgaArbiter({ kernel, framebuffer });
      arbiter.scan(vgaDevicesOf(complex));
      expect([arbiter.defaultReason, arbiter.states.map(({ owns }) => owns)]).toEqual(["firmware-framebuffer", [0, 0]]);
    }
  });
  test("a frame buffer smaller than the picture is not drawn on", () => {
    const { complex } = machineWith("ports", [{ rom: gop, videoMemory: 2 ** 20 }]);
    expect(bootUefi(complex)).toMatchObject({ initialised: [], framebuffer: undefined });
  });
});

describe("three users of one window", () => {
  const draw = (machine: ReturnType<typeof machineWith>, text: string): void => { showText(machine.complex, text); };

  test.each(["ports", "one-bus"] as const)("%s: with the arbiter every write reaches the user's own card", (place) => {
    const machine = machineWith(place, [{}, {}, {}]);
    bootBios(machine.complex);
    const arbiter = arbiterOf(machine.complex);
    for (let round = 0; round < 4; round++)
      for (const [i, { device }] of arbiter.states.entries()) {
        arbiter.tryGet(device, LEGACY_RESOURCES);
        draw(machine, `card ${i} round ${round}`);
        arbiter.put(device, LEGACY_RESOURCES);
      }
    expect(machine.cards.map((card) => firstLine(card, 14))).toEqual(["card 0 round 3", "card 1 round 3", "card 2 round 3"]);
    expect(machine.conflicts()).toBe(0);
    expect(arbiter.ownerChanges).toBe(11);
  });
  test("on a root bus the kernel's quirk leaves the last card without its accesses: it counts as switched by a bridge that is not there", () => {
    const machine = machineWith("root-bus", [{}, {}, {}]);
    bootBios(machine.complex);
    const arbiter = arbiterOf(machine.complex);
    for (const [i, { device }] of arbiter.states.entries()) {
      arbiter.tryGet(device, LEGACY_RESOURCES);
      draw(machine, `card ${i}`);
      arbiter.put(device, LEGACY_RESOURCES);
    }
    expect(machine.cards.map((card) => firstLine(card, 6))).toEqual(["card 0", "card 1", "      "]);
  });
  test("without it they write over each other on one card, and two decoders conflict", () => {
    const machine = machineWith("one-bus", [{}, {}]);
    bootBios(machine.complex);
    for (const card of machine.cards) card.config.write(4, 2, 3);
    draw(machine, "mine");
    draw(machine, "yours");
    expect(machine.cards.map((card) => firstLine(card, 5))).toEqual(["yours", "     "]);
    expect(machine.conflicts()).toBeGreaterThan(0);
  });
  test("while one holds the lock the others wait, and are served in order", () => {
    const { complex } = machineWith("ports", [{}, {}, {}]);
    bootBios(complex);
    const arbiter = arbiterOf(complex);
    const [a, b, c] = arbiter.states.map(({ device }) => device);
    if (!a || !b || !c) throw new Error("three cards");
    arbiter.tryGet(a, VgaResource.LegacyMemory);
    const order: string[] = [];
    const waits = [c, b].map((device) => arbiter.get(device, LEGACY_RESOURCES, () => order.push(formatAddress(device.address))));
    expect(waits.map(({ status }) => status)).toEqual(["waiting", "waiting"]);
    arbiter.put(a, VgaResource.LegacyMemory);
    expect(order).toEqual(["0000:03:00.0"]);
    arbiter.put(c, LEGACY_RESOURCES);
    expect(order).toEqual(["0000:03:00.0", "0000:02:00.0"]);
  });
});
