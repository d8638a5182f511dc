import type { InterruptMessage } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeMessage, newInterrupt } from "../../src/index.ts";
import { IO_APIC_ENTRY, IoApicModel, type IoApicOptions } from "../../src/apic/index.ts";
import { DELIVERY_MODE, isLevel, LEVEL, LOGICAL, MASKED, messageAddress, messageData, PENDING, REMOTE_IRR, VECTOR, WRITABLE_HIGH, WRITABLE_LOW } from "../../src/apic/redirection-entry.ts";
import { IO_APIC_ENTRY_REMAPPABLE, REMAPPABLE_ADDRESS } from "../../src/vtd/index.ts";

const bench = (options: Partial<IoApicOptions> = {}) => {
  const sent: InterruptMessage[] = [];
  const ioapic = new IoApicModel({ requester: 0xff00, send: (message) => sent.push({ ...message }), ...options });
  const { registers } = ioapic;
  const writeRegister = (index: number, value: number): void => {
    registers.write(0x00, 4, index);
    registers.write(0x10, 4, value);
  };
  const readRegister = (index: number): number => {
    registers.write(0x00, 1, index);
    return registers.read(0x10, 4);
  };
  /** As drivers do: high word first. */
  const program = (pin: number, low: number, high = 0): void => {
    writeRegister(0x11 + 2 * pin, high);
    writeRegister(0x10 + 2 * pin, low);
  };
  return { ioapic, sent, registers, writeRegister, readRegister, program };
};

describe("registers of the I/O APIC (Intel 82093AA §3)", () => {
  test.each([
    ["ID", 0, 0x0300_0000],
    ["version: 24 entries", 1, 0x0017_0020],
    ["arbitration", 2, 0x0300_0000],
    ["an entry's low word after reset", 0x10, 0x0001_0000],
    ["an entry's high word after reset", 0x11, 0],
    ["the last entry", 0x3e, 0x0001_0000],
    ["past the last entry", 0x40, 0],
    ["nothing", 0x0f, 0],
  ])("%s", (_, index, value) => {
    expect(bench({ id: 3 }).readRegister(index)).toBe(value);
  });
  test("the 82093AA is version 11h; the number of pins is given", () => {
    expect(bench({ version: 0x11, pins: 120 }).readRegister(1)).toBe(0x0077_0011);
  });
  test("writing the ID loads the arbitration ID; both have 4 bits", () => {
    const { writeRegister, readRegister } = bench();
    writeRegister(0, 0xffff_ffff);
    expect([readRegister(0), readRegister(2)]).toEqual([0x0f00_0000, 0x0f00_0000]);
    writeRegister(2, 0);
    writeRegister(1, 0);
    expect([readRegister(2), readRegister(1)]).toEqual([0x0f00_0000, 0x0017_0020]);
  });
  test("delivery status, remote IRR and reserved bits of an entry are not writable", () => {
    const { program, readRegister } = bench();
    program(5, 0xffff_ffff, 0xffff_ffff);
    expect([readRegister(0x1a), readRegister(0x1b)]).toEqual([0x0001_afff, 0xffff_0000]);
  });
  test("the window takes 32-bit writes only, and any part can be read", () => {
    const { registers, readRegister, writeRegister } = bench();
    writeRegister(0x10, 0x0001_0041);
    registers.write(0x10, 1, 0x42);
    registers.write(0x12, 2, 0);
    expect(readRegister(0x10)).toBe(0x0001_0041);
    expect([registers.read(0x00, 1), registers.read(0x10, 1), registers.read(0x12, 2), registers.read(0x20, 4), registers.read(0x14, 4)]).toEqual([0x10, 0x41, 1, 0, 0]);
  });
  test("an 8-byte access reaches the register at its low half", () => {
    const { registers } = bench();
    const pair = new Uint32Array(2);
    registers.write64(0, 1, 0xffff_ffff);
    registers.read64(0x10, pair);
    expect([...pair]).toEqual([0x0017_0020, 0]);
  });
  test("reset masks everything and brings the ID back", () => {
    const { ioapic, program, writeRegister, readRegister } = bench({ id: 2 });
    program(1, 0x8041, 0x0500_0000);
    writeRegister(0, 0x0900_0000);
    ioapic.reset();
    expect([readRegister(0), readRegister(2), readRegister(0x12), readRegister(0x13)]).toEqual([0x0200_0000, 0x0200_0000, 0x0001_0000, 0]);
  });
  test.each([
    [{ pins: 0 }, "An I/O APIC of 0 pins is impossible; it has 1 to 120."],
    [{ pins: 121 }, "An I/O APIC of 121 pins"],
    [{ id: 16 }, "An I/O APIC's ID is 0 to 15, not 16."],
  ])("%o is refused", (options, message) => {
    expect(() => bench(options)).toThrow(message);
  });
  test.each([-1, 24, 1.5])("there is no pin %d", (pin) => {
    expect(() => {
      bench().ioapic.setPin(pin, true);
    }).toThrow(`This I/O APIC has no pin ${pin}; its pins are 0 to 23.`);
  });
});

describe("edge-triggered inputs", () => {
  test("each rising edge sends one message", () => {
    const { ioapic, sent, program } = bench();
    program(4, 0x0041, 0x0500_0000);
    for (const level of [true, true, false, true, false]) ioapic.setPin(4, level);
    expect(sent).toEqual([
      { requester: 0xff00, address: 0xfee0_5000, data: 0x4041 },
      { requester: 0xff00, address: 0xfee0_5000, data: 0x4041 },
    ]);
  });
  test("an edge is lost while masked", () => {
    const { ioapic, sent, program } = bench();
    program(4, 0x1_0041);
    ioapic.setPin(4, true);
    program(4, 0x0041);
    expect(sent).toEqual([]);
    ioapic.setPin(4, false);
    ioapic.setPin(4, true);
    expect(sent).toHaveLength(1);
  });
  test("delivery status shows a message on its way", () => {
    const during: number[] = [];
    const ioapic: IoApicModel = new IoApicModel({ requester: 0, send: () => during.push(ioapic.registers.read(0x10, 4)) });
    ioapic.registers.write(0, 4, 0x10);
    ioapic.registers.write(0x10, 4, 0x41);
    ioapic.setPin(0, true);
    expect([during, ioapic.registers.read(0x10, 4)]).toEqual([[0x1041], 0x41]);
  });
});

describe("level-triggered inputs", () => {
  test("one message until the EOI, and another if the input is still active then", () => {
    const { ioapic, sent, program, readRegister } = bench();
    program(9, 0x8061);
    ioapic.setPin(9, true);
    ioapic.setPin(9, true);
    expect([sent.length, readRegister(0x22)]).toEqual([1, 0xc061]);
    ioapic.endOfInterrupt(0x61);
    expect([sent.length, readRegister(0x22)]).toEqual([2, 0xc061]);
    ioapic.setPin(9, false);
    ioapic.endOfInterrupt(0x61);
    expect([sent.length, readRegister(0x22)]).toEqual([2, 0x8061]);
    expect(sent[0]?.data).toBe(0xc061);
  });
  test("an EOI of another vector ends nothing", () => {
    const { ioapic, sent, program } = bench();
    program(9, 0x8061);
    ioapic.setPin(9, true);
    ioapic.endOfInterrupt(0x62);
    expect(sent).toHaveLength(1);
  });
  test("all entries of the vector end together", () => {
    const { ioapic, sent, program } = bench();
    program(9, 0x8061);
    program(10, 0x8061);
    ioapic.setPin(9, true);
    ioapic.setPin(10, true);
    ioapic.endOfInterrupt(0x61);
    expect(sent).toHaveLength(4);
  });
  test("a level that came while masked is sent when the mask goes", () => {
    const { ioapic, sent, program } = bench();
    program(9, 0x1_8061);
    ioapic.setPin(9, true);
    expect(sent).toHaveLength(0);
    program(9, 0x8061);
    expect(sent).toHaveLength(1);
  });
  test("the mask holds back the repetition after an EOI", () => {
    const { ioapic, sent, program } = bench();
    program(9, 0x8061);
    ioapic.setPin(9, true);
    program(9, 0x1_8061);
    ioapic.endOfInterrupt(0x61);
    expect(sent).toHaveLength(1);
  });
  test("switching to edge and back clears remote IRR", () => {
    const { ioapic, sent, program, readRegister } = bench({ version: 0x11 });
    program(9, 0x8061);
    ioapic.setPin(9, true);
    ioapic.setPin(9, false);
    program(9, 0x1_0061);
    expect(readRegister(0x22)).toBe(0x1_0061);
    program(9, 0x8061);
    ioapic.setPin(9, true);
    expect(sent).toHaveLength(2);
  });
  test.each([
    [0x20, 2],
    [0x11, 1],
  ] as const)("the EOI register exists from version 20h on: version %i, %i messages", (version, messages) => {
    const { ioapic, sent, program, registers } = bench({ version });
    program(9, 0x8061);
    ioapic.setPin(9, true);
    registers.write(0x40, 4, 0x61);
    expect(sent).toHaveLength(messages);
  });
  test.each([2, 4, 5, 7])("delivery mode %d is edge-triggered whatever the entry says", (mode) => {
    const { ioapic, sent, program } = bench();
    program(9, 0x8000 | (mode << 8));
    ioapic.setPin(9, true);
    ioapic.setPin(9, false);
    ioapic.setPin(9, true);
    expect(sent.map(({ data }) => data)).toEqual([0x4000 | (mode << 8), 0x4000 | (mode << 8)]);
  });
});

describe("messages of the I/O APIC", () => {
  test("in compatibility format say what the entry says", () => {
    const { ioapic, sent, program } = bench();
    program(0, 0x8941, 0x0f00_0000);
    ioapic.setPin(0, true);
    const interrupt = newInterrupt();
    decodeMessage(sent[0] ?? { address: 0, data: 0 }, interrupt);
    expect(interrupt).toEqual({ vector: 0x41, deliveryMode: 1, destination: 0x0f, destinationMode: "logical", trigger: "level", redirectionHint: true });
  });
  test("in remappable format name the entry's index (VT-d §5.1.5.1)", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 1 }), (index, V, TM) => {
        const { ioapic, sent, program } = bench();
        const entry = IO_APIC_ENTRY_REMAPPABLE.encode({ V, TM, Format: 1, INDEX_14_0: index & 0x7fff, INDEX_15: index >>> 15 });
        program(0, entry[0] ?? 0, entry[1] ?? 0);
        ioapic.setPin(0, true);
        expect(REMAPPABLE_ADDRESS.decode(Uint32Array.of(sent[0]?.address ?? 0))).toEqual({ DontCare: 0, SHV: 0, Format: 1, Base: 0xfee, HANDLE_14_0: index & 0x7fff, HANDLE_15: index >>> 15 });
      }),
    );
  });
  test("masks agree with the layout", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), fc.integer({ min: 0, max: 0xffff_ffff }), (low, high) => {
        const fields = IO_APIC_ENTRY.decode(Uint32Array.of(low, high));
        expect([low & VECTOR, (low & DELIVERY_MODE) >>> 8, (low & LOGICAL) >>> 11, (low & PENDING) >>> 12, (low & REMOTE_IRR) >>> 14, (low & LEVEL) >>> 15, (low & MASKED) >>> 16]).toEqual([fields.INTVEC, fields.DELMOD, fields.DESTMOD, fields.DELIVS, fields.RIRR, fields.TRIGGER, fields.MASK]);
        expect(isLevel(low)).toBe(fields.TRIGGER === 1 && fields.DELMOD <= 1);
        expect((messageAddress(low, high) >>> 12) & 0xff).toBe(fields.DEST);
        expect((messageAddress(low, high) >>> 4) & 0xff).toBe(fields.EDID);
        expect(messageData(low) & 0x7ff).toBe(low & 0x7ff);
      }),
    );
    const writable = IO_APIC_ENTRY.encode({ INTVEC: 0xff, DELMOD: 7, DESTMOD: 1, INTPOL: 1, TRIGGER: 1, MASK: 1, EDID: 0xff, DEST: 0xff });
    expect([WRITABLE_LOW, WRITABLE_HIGH]).toEqual([...writable]);
  });
});

describe("any use of the I/O APIC", () => {
  test("never throws, and remote IRR is set exactly while a level-triggered message is not ended", () => {
    const action = fc.oneof(
      fc.record({ kind: fc.constant("pin" as const), pin: fc.integer({ min: 0, max: 3 }), value: fc.integer({ min: 0, max: 1 }) }),
      fc.record({ kind: fc.constant("program" as const), pin: fc.integer({ min: 0, max: 3 }), value: fc.constantFrom(0x8041, 0x0041, 0x1_8041, 0x8042, 0x8441, 0x8141) }),
      fc.record({ kind: fc.constant("end" as const), pin: fc.constant(0), value: fc.constantFrom(0x41, 0x42) }),
      fc.record({ kind: fc.constant("noise" as const), pin: fc.integer({ min: 0, max: 0x50 }), value: fc.integer({ min: 0, max: 0xffff_ffff }) }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
        const { ioapic, program, readRegister, registers } = bench({ pins: 4 });
        for (const { kind, pin, value } of actions) {
          if (kind === "pin") ioapic.setPin(pin, value === 1);
          else if (kind === "program") program(pin, value);
          else if (kind === "end") ioapic.endOfInterrupt(value);
          else registers.write(pin, 1, value);
        }
        for (let pin = 0; pin < 4; pin++) {
          const low = readRegister(0x10 + 2 * pin);
          expect((low & REMOTE_IRR) !== 0 && !isLevel(low)).toBe(false);
          expect(low & PENDING).toBe(0);
        }
      }),
    );
  });
});
