import { barBase } from "@iommu-lab/pci-bus/model";
import { describe, expect, test } from "vitest";
import { LEGACY_DISABLE, VgaCard } from "../../src/index.ts";
import { machineWith } from "../bench-machine.ts";

describe("a card from a whole description", () => {
  const identity = { vendor: 0x10de, device: 0x1402, classCode: 0x03_0000, header: 0 } as const;
  const place = (options: ConstructorParameters<typeof VgaCard>[0]) => {
    const machine = machineWith("root-bus", [options ?? {}]);
    const seat = machine.complex.hostBridges[0]?.bus.functions().find(({ fn }) => fn instanceof VgaCard);
    if (!seat) throw new Error("no card");
    const store = (index: number, at: number, value: number): void => {
      const bar = seat.bars.find((each) => each.index === index);
      if (!bar) throw new Error("no BAR");
      machine.complex.memoryWrite(barBase(seat.fn.config, bar) + at, Uint8Array.of(value));
    };
    return { card: machine.cards[0] as VgaCard, seat, store };
  };
  test("has its identity and BARs, and the first prefetchable one shows video memory", () => {
    const { card, seat, store } = place({ description: { ...identity, bars: [{ index: 0, kind: "memory32", size: 0x1000 }, { index: 1, kind: "memory64", size: 0x10_0000, prefetchable: true }, { index: 5, kind: "io", size: 0x80 }] } });
    expect([card.config.read(0, 4), seat.bars.map(({ index }) => index)]).toEqual([0x1402_10de, [0, 1, 5]]);
    store(0, 0, 0x11);
    store(1, 0, 0x22);
    expect(card.memory.bytes[0]).toBe(0x22);
  });
  test("without a prefetchable one the first memory BAR shows it, and BAR 2 has the registers", () => {
    const { card, store } = place({ description: { ...identity, bars: [{ index: 0, kind: "io", size: 0x80 }, { index: 1, kind: "memory32", size: 0x4_0000 }, { index: 2, kind: "memory32", size: 0x1000 }] } });
    store(1, 3, 0x33);
    store(2, LEGACY_DISABLE, 1);
    expect([card.memory.bytes[3], card.legacyVga]).toEqual([0x33, undefined]);
  });
  test("a frame buffer in BAR 2 leaves no registers", () => {
    const { card, store } = place({ description: { ...identity, bars: [{ index: 2, kind: "memory64", size: 0x4_0000, prefetchable: true }] } });
    store(2, LEGACY_DISABLE, 1);
    expect([card.memory.bytes[LEGACY_DISABLE], card.legacyVga !== undefined]).toEqual([1, true]);
  });
  test.each([
    [[], 2 ** 24],
    [[{ index: 0, kind: "memory32", size: 0x1000 }], 2 ** 18],
    [[{ index: 0, kind: "memory32", size: 0x10_0000 }], 2 ** 20],
    [[{ index: 0, kind: "memory64", size: 2 ** 28 }], 2 ** 24],
  ] as const)("with BARs %o it has %i bytes of video memory", (bars, bytes) => {
    expect(new VgaCard({ description: { ...identity, bars } }).memory.bytes).toHaveLength(bytes);
  });
});
