import fc from "fast-check";
import { barBase } from "@iommu-lab/pci-bus/model";
import { describe, expect, test } from "vitest";
import { FRAMEBUFFER_BAR, LEGACY_DISABLE, PLANE_SIZE, PLANES, REGISTERS_BAR, VgaCard } from "../../src/index.ts";
import { machineWith, type Machine } from "../bench-machine.ts";

const SEQUENCER = 0x3c4;
const GRAPHICS = 0x3ce;

/** A card on the root bus with RAM and color addresses enabled, planar, all planes, bit mask open. */
const setUp = (videoMemory = 2 ** 22) => {
  const machine = machineWith("root-bus", [{ videoMemory }]);
  const card = machine.cards[0] as VgaCard;
  const { complex } = machine;
  const out = (port: number, value: number): void => { complex.ioWrite(port, 1, value); };
  const set = (port: number, index: number, value: number): void => { complex.ioWrite(port, 2, index | (value << 8)); };
  const write = (at: number, value: number): void => { complex.memoryWrite(at, Uint8Array.of(value)); };
  const read = (at: number): number => {
    const into = new Uint8Array(1);
    complex.memoryRead(at, into);
    return into[0] as number;
  };
  const planes = (at: number): number[] => [0, 1, 2, 3].map((plane) => card.memory.readPlane(plane, at));
  out(0x3c2, 0x03);
  set(SEQUENCER, 2, 0x0f);
  set(SEQUENCER, 4, 0x06);
  set(GRAPHICS, 8, 0xff);
  set(GRAPHICS, 6, 0x05);
  return { ...machine, card, out, set, write, read, planes };
};
const baseOf = ({ complex }: Pick<Machine, "complex">, index: number): number => {
  const seat = complex.hostBridges[0]?.bus.functions().find(({ fn }) => fn instanceof VgaCard);
  const bar = seat?.bars.find((each) => each.index === index);
  if (!seat || !bar) throw new Error("no BAR");
  return barBase(seat.fn.config, bar);
};

describe("the window at 0xa0000", () => {
  test.each([
    [0, 0xa_0000, 0xb_ffff],
    [1, 0xa_0000, 0xa_ffff],
    [2, 0xb_0000, 0xb_7fff],
    [3, 0xb_8000, 0xb_ffff],
  ])("GR06 map select %i answers from %i to %i and nowhere else", (select, first, last) => {
    const { set, write, read, planes } = setUp();
    set(GRAPHICS, 6, (select << 2) | 1);
    for (const at of [first - 1, first, last, last + 1]) if (at >= 0xa_0000 && at <= 0xb_ffff) write(at, 0x5a);
    expect(planes(0)[0]).toBe(0x5a);
    for (const at of [0xa_0000, 0xa_ffff, 0xb_0000, 0xb_7fff, 0xb_8000, 0xb_ffff]) {
      const inside = at >= first && at <= last;
      expect(read(at) === 0xff).toBe(!inside);
    }
  });
  test("the RAM enable bit of the miscellaneous output switches it off", () => {
    const { out, write, read, planes } = setUp();
    out(0x3c2, 0x01);
    write(0xa_0000, 0x5a);
    expect([planes(0)[0], read(0xa_0000)]).toEqual([0, 0xff]);
  });
  test("a store goes to video memory and never to RAM", () => {
    const { memory, write } = setUp();
    write(0xa_1234, 0x77);
    expect(memory.read8(0xa_1234)).toBe(0);
  });
  test("640 by 480 in 16 colors takes 38400 bytes of each of four planes: 150 KiB behind 64 KiB of addresses", () => {
    const { set, complex, card } = setUp(2 ** 18);
    const rows = new Uint8Array((640 * 480) / 8);
    for (let plane = 0; plane < PLANES; plane++) {
      set(SEQUENCER, 2, 1 << plane);
      complex.memoryWrite(0xa_0000, rows.fill(0x10 + plane));
    }
    const filled = card.memory.bytes.filter((byte) => byte !== 0);
    expect(filled.length).toBe(150 * 1024);
    expect(rows.length).toBeLessThan(PLANE_SIZE);
  });
});

describe("writing to planes", () => {
  test("the map mask chooses planes", () => {
    const { set, write, planes } = setUp();
    set(SEQUENCER, 2, 0x05);
    write(0xa_0010, 0xaa);
    expect(planes(0x10)).toEqual([0xaa, 0, 0xaa, 0]);
  });
  test("write mode 0 rotates, sets or resets enabled planes, and masks bits with the latches", () => {
    const { set, write, read, planes } = setUp();
    write(0xa_0000, 0x0f);
    read(0xa_0000);
    set(GRAPHICS, 3, 4);
    write(0xa_0001, 0x12);
    expect(planes(1)).toEqual([0x21, 0x21, 0x21, 0x21]);
    set(GRAPHICS, 3, 0);
    set(GRAPHICS, 0, 0x02);
    set(GRAPHICS, 1, 0x03);
    set(GRAPHICS, 8, 0xf0);
    write(0xa_0002, 0x50);
    expect(planes(2)).toEqual([0x0f, 0xff, 0x5f, 0x5f]);
  });
  test.each([
    [0, 0x3c],
    [1, 0x3c & 0x0f],
    [2, 0x3c | 0x0f],
    [3, 0x3c ^ 0x0f],
  ])("logical operation %i gives %i", (operation, expected) => {
    const { set, write, read, planes } = setUp();
    write(0xa_0000, 0x0f);
    read(0xa_0000);
    set(GRAPHICS, 3, operation << 3);
    write(0xa_0001, 0x3c);
    expect(planes(1)).toEqual(Array.from({ length: 4 }, () => expected));
  });
  test("write mode 1 copies the latches, whatever is written", () => {
    const { set, write, read, planes } = setUp();
    for (let plane = 0; plane < 4; plane++) {
      set(SEQUENCER, 2, 1 << plane);
      write(0xa_0000, 0x11 * (plane + 1));
    }
    read(0xa_0000);
    set(SEQUENCER, 2, 0x0f);
    set(GRAPHICS, 5, 1);
    write(0xa_0004, 0xff);
    expect(planes(4)).toEqual([0x11, 0x22, 0x33, 0x44]);
  });
  test("write mode 2 spreads a color over the planes", () => {
    const { set, write, planes } = setUp();
    set(GRAPHICS, 5, 2);
    set(GRAPHICS, 8, 0x18);
    write(0xa_0000, 0x05);
    expect(planes(0)).toEqual([0x18, 0, 0x18, 0]);
  });
  test("write mode 3 takes the written byte as a further bit mask of the set/reset color", () => {
    const { set, write, planes } = setUp();
    set(GRAPHICS, 5, 3);
    set(GRAPHICS, 0, 0x06);
    set(GRAPHICS, 8, 0x7e);
    write(0xa_0000, 0xf0);
    expect(planes(0)).toEqual([0, 0x70, 0x70, 0]);
  });
  test("odd and even addresses go to plane pairs while SR04 is not sequential: characters and attributes", () => {
    const { set, write, planes } = setUp();
    set(SEQUENCER, 4, 0x02);
    set(SEQUENCER, 2, 0x03);
    write(0xa_0000, 0x41);
    write(0xa_0001, 0x07);
    expect(planes(0)).toEqual([0x41, 0x07, 0, 0]);
    set(SEQUENCER, 2, 0x0f);
    write(0xa_0002, 0x42);
    write(0xa_0003, 0x08);
    expect(planes(2)).toEqual([0x42, 0x08, 0x42, 0x08]);
  });
  test("chain 4 gives the low address bits to the planes", () => {
    const { set, write, read, planes } = setUp();
    set(SEQUENCER, 4, 0x0e);
    for (let i = 0; i < 4; i++) write(0xa_0008 + i, 0x30 + i);
    expect(planes(8)).toEqual([0x30, 0x31, 0x32, 0x33]);
    expect([8, 9, 10, 11].map((i) => read(0xa_0000 + i))).toEqual([0x30, 0x31, 0x32, 0x33]);
  });
});

describe("reading from planes", () => {
  const filled = () => {
    const machine = setUp();
    for (const [plane, value] of [0x0f, 0x33, 0x55, 0x00].entries()) {
      machine.set(SEQUENCER, 2, 1 << plane);
      machine.write(0xa_0000, value);
    }
    return machine;
  };
  test("read mode 0 gives the plane of GR04", () => {
    const { set, read } = filled();
    expect([0, 1, 2, 3].map((plane) => { set(GRAPHICS, 4, plane); return read(0xa_0000); })).toEqual([0x0f, 0x33, 0x55, 0x00]);
  });
  test("read mode 1 marks pixels of a color in the planes that count", () => {
    const { set, read } = filled();
    set(GRAPHICS, 5, 8);
    set(GRAPHICS, 2, 0x07);
    set(GRAPHICS, 7, 0x07);
    expect(read(0xa_0000)).toBe(0x0f & 0x33 & 0x55);
    set(GRAPHICS, 7, 0x01);
    expect(read(0xa_0000)).toBe(0x0f);
    set(GRAPHICS, 7, 0x00);
    expect(read(0xa_0000)).toBe(0xff);
  });
  test("odd/even reading takes the plane from the lowest address bit", () => {
    const { set, read } = filled();
    set(GRAPHICS, 5, 0x10);
    expect([read(0xa_0000), read(0xa_0001)]).toEqual([0x0f, 0x33]);
    set(GRAPHICS, 4, 2);
    expect([read(0xa_0000), read(0xa_0001)]).toEqual([0x55, 0x00]);
  });
});

describe("registers", () => {
  test("index and data ports, also as one word", () => {
    const { complex, out } = setUp();
    out(0x3c4, 2);
    out(0x3c5, 0x0a);
    expect(complex.ioRead(0x3c4, 2)).toBe(0x0a02);
    complex.ioWrite(0x3ce, 2, 0x0304);
    expect(complex.ioRead(0x3cf, 1)).toBe(3);
  });
  test("the miscellaneous output is written at 3c2, read at 3cc, and moves the CRTC between 3b4 and 3d4", () => {
    const { complex, out } = setUp();
    complex.ioWrite(0x3d4, 2, 0x550a);
    expect([complex.ioRead(0x3cc, 1), complex.ioRead(0x3d5, 1), complex.ioRead(0x3b5, 1)]).toEqual([3, 0x55, 0xff]);
    out(0x3c2, 0x02);
    expect([complex.ioRead(0x3cc, 1), complex.ioRead(0x3b5, 1), complex.ioRead(0x3d5, 1)]).toEqual([2, 0x55, 0xff]);
  });
  test("the attribute port takes index and data in turn, and a read of the status starts anew", () => {
    const { complex, out } = setUp();
    complex.ioRead(0x3da, 1);
    out(0x3c0, 0x10);
    out(0x3c0, 0x41);
    expect(complex.ioRead(0x3c1, 1)).toBe(0x41);
    out(0x3c0, 0x05);
    complex.ioRead(0x3da, 1);
    out(0x3c0, 0x10);
    expect([complex.ioRead(0x3c0, 1), complex.ioRead(0x3c1, 1)]).toEqual([0x10, 0x41]);
  });
  test("the status toggles, so that whoever waits for retrace goes on", () => {
    const { complex } = setUp();
    expect(complex.ioRead(0x3da, 1) ^ complex.ioRead(0x3da, 1)).toBe(0x09);
  });
  test("the feature control is written at 3da, read at 3ca; 3c3 keeps one bit", () => {
    const { complex, out } = setUp();
    out(0x3da, 0x02);
    out(0x3c3, 0xff);
    expect([complex.ioRead(0x3ca, 1), complex.ioRead(0x3c3, 1), complex.ioRead(0x3c2, 1)]).toEqual([2, 1, 0]);
  });
  test("attribute registers are 0x15; bit 5 of the index belongs to none of them", () => {
    const { complex, out } = setUp();
    complex.ioRead(0x3da, 1);
    for (const value of [0x34, 0x5a, 0x15, 0x77]) out(0x3c0, value);
    expect(complex.ioRead(0x3c1, 1)).toBe(0xff);
    out(0x3c0, 0x14);
    expect(complex.ioRead(0x3c1, 1)).toBe(0x5a);
  });
  test("the ROM cannot be written", () => {
    const card = new VgaCard({ videoMemory: 2 ** 18 });
    card.rom?.write(0, 1, 0);
    card.rom?.write64(0, 0, 0);
    expect(card.rom?.read(0, 2)).toBe(0xaa55);
  });
  test("eight bytes of ports are two accesses of four", () => {
    const { legacyVga } = new VgaCard({ videoMemory: 2 ** 18 });
    legacyVga?.io.write64(0x3c4, 0x0000_0a02, 0);
    const words = new Uint32Array(2);
    legacyVga?.io.read64(0x3c4, words);
    expect([...words]).toEqual([legacyVga?.io.read(0x3c4, 4), legacyVga?.io.read(0x3c8, 4)]);
    expect((words[0] ?? 0) & 0xffff).toBe(0x0a02);
  });
  test("video memory has 16 MiB unless told otherwise", () => {
    expect(new VgaCard().memory.bytes.length).toBe(2 ** 24);
  });
  test("CRTC registers 0 to 7 are protected by CR11, except the line compare bit", () => {
    const { complex } = setUp();
    const set = (index: number, value: number): void => { complex.ioWrite(0x3d4, 2, index | (value << 8)); };
    const get = (index: number): number => { complex.ioWrite(0x3d4, 1, index); return complex.ioRead(0x3d5, 1); };
    set(0, 0x11);
    set(7, 0x01);
    set(0x11, 0x80);
    set(0, 0x22);
    set(7, 0x12);
    set(8, 0x33);
    expect([get(0), get(7), get(8)]).toEqual([0x11, 0x11, 0x33]);
  });
  test("the palette's index moves on after three components of six bits", () => {
    const { complex, out } = setUp();
    out(0x3c8, 5);
    for (const value of [0x3f, 0x40, 0xff, 1, 2, 3]) out(0x3c9, value);
    expect(complex.ioRead(0x3c8, 1)).toBe(7);
    out(0x3c7, 5);
    expect(Array.from({ length: 6 }, () => complex.ioRead(0x3c9, 1))).toEqual([0x3f, 0, 0x3f, 1, 2, 3]);
    expect(complex.ioRead(0x3c7, 1)).toBe(3);
  });
  test("after power-on the RAM is off, the CRTC at 3b4, and the attribute port expects an index", () => {
    const { legacyVga } = new VgaCard({ videoMemory: 2 ** 18 });
    legacyVga?.io.write(0x3c0, 1, 0x10);
    legacyVga?.io.write(0x3c0, 1, 0x41);
    legacyVga?.io.write(0x3b4, 2, 0x660a);
    expect([legacyVga?.io.read(0x3c1, 1), legacyVga?.io.read(0x3b5, 1), legacyVga?.io.read(0x3cc, 1), legacyVga?.memory.read(0, 1)]).toEqual([0x41, 0x66, 0, 0xff]);
  });
  test("any ports and memory accesses are taken, and reads stay in their width", () => {
    const access = fc.tuple(fc.integer({ min: 0x3b0, max: 0x3df }), fc.constantFrom(1 as const, 2 as const, 4 as const), fc.nat(0xffff_ffff), fc.nat(0x1_ffff));
    fc.assert(
      fc.property(fc.array(access, { maxLength: 60 }), (list) => {
        const { complex, read, write } = setUp(2 ** 18);
        for (const [port, size, value, at] of list) {
          complex.ioWrite(port, size, value);
          expect(complex.ioRead(port, size)).toBeLessThan(2 ** (8 * size));
          write(0xa_0000 + at, value & 0xff);
          expect(read(0xa_0000 + at)).toBeLessThan(256);
        }
      }),
      { numRuns: 40 },
    );
  });
});

describe("beyond VGA", () => {
  test("the linear frame buffer is the same memory, planes side by side", () => {
    const machine = setUp();
    machine.set(SEQUENCER, 2, 0x04);
    machine.write(0xa_0003, 0x99);
    expect(machine.read(baseOf(machine, FRAMEBUFFER_BAR) + 4 * 3 + 2)).toBe(0x99);
  });
  test("modern video memory does not fit the window: 64 banks of 64 KiB show 4 MiB", () => {
    const { set, write, card } = setUp();
    set(SEQUENCER, 0x11, 1);
    for (const bank of [0, 1, 63, 64]) {
      set(SEQUENCER, 0x10, bank);
      write(0xa_0001, 0x80 + bank);
    }
    expect([0, 1, 63].map((bank) => card.memory.bytes[bank * PLANE_SIZE + 1])).toEqual([0x80 + 64, 0x81, 0x80 + 63]);
  });
  test("the card's own switch stops legacy decoding and leaves the BARs", () => {
    const machine = setUp();
    machine.write(baseOf(machine, REGISTERS_BAR) + LEGACY_DISABLE, 1);
    expect(machine.read(0xa_0000)).toBe(0xff);
    machine.write(baseOf(machine, FRAMEBUFFER_BAR), 0x42);
    expect(machine.read(baseOf(machine, FRAMEBUFFER_BAR))).toBe(0x42);
    machine.write(baseOf(machine, REGISTERS_BAR) + LEGACY_DISABLE, 0);
    expect(machine.read(0xa_0000)).not.toBe(0xff);
  });
  test("the command register stops legacy decoding too, and kills the BARs", () => {
    const machine = setUp();
    machine.card.config.write(4, 2, 0);
    expect([machine.read(0xa_0000), machine.read(baseOf(machine, FRAMEBUFFER_BAR))]).toEqual([0xff, 0xff]);
  });
  test("where the switch is ignored, as on integrated graphics, the card keeps answering", () => {
    const card = new VgaCard({ videoMemory: 2 ** 18, legacySwitch: "ignored" });
    card.bars[REGISTERS_BAR]?.write(LEGACY_DISABLE, 1, 1);
    expect(card.bars[REGISTERS_BAR]?.read(LEGACY_DISABLE, 1)).toBe(1);
    expect(card.legacyVga).toBeDefined();
  });
  test("legacy accesses are counted, those through BARs are not", () => {
    const machine = setUp();
    machine.card.clearAccesses();
    machine.complex.memoryWrite(0xa_0000, new Uint8Array(3));
    machine.read(0xa_0000);
    machine.complex.ioRead(0x3cc, 1);
    machine.out(0x3c2, 3);
    machine.write(baseOf(machine, FRAMEBUFFER_BAR), 1);
    expect(machine.card.legacyAccesses).toEqual({ memoryReads: 1, memoryWrites: 3, ioReads: 1, ioWrites: 1 });
  });
  test("a reset forgets registers and keeps video memory", () => {
    const { card, write, planes } = setUp();
    write(0xa_0000, 0x42);
    card.fabric.reset("bus");
    expect([card.registers.misc, planes(0)[0]]).toEqual([0, 0x42]);
  });
  test.each([2 ** 17, 3 * 2 ** 20, 2 ** 32])("video memory of %i bytes is refused", (videoMemory) => {
    expect(() => new VgaCard({ videoMemory })).toThrow(RangeError);
  });
  test("two cards that decode at once are a conflict on the bus, which the trace shows", () => {
    const machine = machineWith("root-bus", [{}, {}]);
    const probe = (): void => { machine.complex.memoryRead(0xa_0000, new Uint8Array(1)); };
    probe();
    expect(machine.conflicts()).toBe(0);
    for (const card of machine.cards) card.config.write(4, 2, 3);
    probe();
    expect(machine.conflicts()).toBe(1);
  });
});
