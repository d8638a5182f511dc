import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MmioHandler } from "../src/index.ts";
import { register, RegisterFile, ro, rsvdp, rsvdz, rw, rw1c, rw1s, sticky, wo, type FieldAccess, type RegisterField } from "../src/registers/index.ts";

const makers = { ro, rw, rw1c, rw1s, wo, rsvdz, rsvdp };

// Arbitrary registers, not of any specification: 8 to 64 bits wide, with gaps between them.
const IDENTITY = register("ID", 0x00, 16, { VENDOR: ro(15, 0, "Vendor") }, { reset: 0x8086, spec: "none" });
const STATUS = register("STATUS", 0x02, 16, { A: rw1c(0, "Low byte"), B: sticky(rw1c(8, "High byte")), C: ro(9, "Constant") }, { reset: { C: 1 }, spec: "none" });
const COMMAND = register("COMMAND", 0x04, 32, { GO: wo(31, "Starts"), ENABLE: rw(0, "Enables"), MODE: sticky(rw(9, 8, "Mode", { 0: "off", 2: "fast" })) }, { spec: "none" });
const WIDE = register("WIDE", 0x0c, 64, { LOW: rw(11, 0, "Low"), ADDRESS: rw(63, 12, "Page number") }, { spec: "none" });
const FLAGS = register("FLAGS", 0x14, 8, { SET: rw1s(3, 0, "Set only"), KEPT: rsvdp(7, 4, "Reserved") }, { reset: 0x50, spec: "none" });
const file = (options = {}): RegisterFile<typeof IDENTITY | typeof STATUS | typeof COMMAND | typeof WIDE | typeof FLAGS> => new RegisterFile([IDENTITY, STATUS, COMMAND, WIDE, FLAGS], options);

const pair = new Uint32Array(2);
const read = (registers: MmioHandler, offset: number, size: 1 | 2 | 4 | 8): bigint => {
  if (size !== 8) return BigInt(registers.read(offset, size));
  registers.read64(offset, pair);
  return (BigInt(pair[1] as number) << 32n) | BigInt(pair[0] as number);
};

describe("RegisterFile (PCIe §7.4 register types)", () => {
  test("any registers and any accesses do what a model of single bits does", () => {
    const access = fc.constantFrom<FieldAccess>("ro", "rw", "rw1c", "rw1s", "wo", "rsvdz", "rsvdp");
    const bits = fc.array(fc.option(fc.record({ access, sticky: fc.boolean(), reset: fc.boolean() }), { freq: 4 }), { minLength: 192, maxLength: 192 });
    const widths = fc.constantFrom([64, 64, 64], [32, 32, 64, 32, 32], [8, 8, 16, 32, 8, 16, 8, 64, 32], [16, 16, 8, 8, 16, 64, 64]);
    const step = fc.record({ write: fc.boolean(), offset: fc.integer({ min: 0, max: 30 }), size: fc.constantFrom(1 as const, 2 as const, 4 as const, 8 as const), value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), reset: fc.constantFrom(undefined, undefined, undefined, undefined, "cold" as const, "warm" as const) });
    fc.assert(
      fc.property(bits, widths, fc.array(step, { maxLength: 30 }), (rules, layoutOfFile, steps) => {
        let at = 0;
        const placed: ReturnType<typeof register>[] = [];
        for (const [n, width] of layoutOfFile.entries()) {
          if (width > 8 && at % Math.min(width / 8, 4) !== 0) at = Math.ceil(at / Math.min(width / 8, 4)) * Math.min(width / 8, 4);
          const fields: Record<string, RegisterField> = {};
          const reset: Record<string, number> = {};
          for (let i = 0; i < width; i++) {
            const rule = rules[at * 8 + i];
            if (!rule) continue;
            const field = makers[rule.access](i, "bit");
            fields[`B${i}`] = rule.sticky ? sticky(field) : field;
            reset[`B${i}`] = rule.reset ? 1 : 0;
          }
          placed.push(register(`R${n}`, at, width, fields, { reset, spec: "none" }));
          at += width / 8;
        }
        const covered = (bit: number): boolean => placed.some(({ offset, width }) => bit >= offset * 8 && bit < offset * 8 + width);
        const rule = (bit: number) => (covered(bit) ? rules[bit] : undefined);
        const state = Array.from({ length: 400 }, (_, bit) => rule(bit)?.reset ?? false);
        const registers = new RegisterFile(placed, { size: 28 });
        for (const { write, offset, size, value, reset } of steps) {
          if (reset) {
            registers.reset(reset);
            for (const bit of state.keys()) if (!(reset === "warm" && rule(bit)?.sticky)) state[bit] = rule(bit)?.reset ?? false;
          } else if (write) {
            if (size === 8) registers.write64(offset, Number(value & 0xffff_ffffn), Number(value >> 32n));
            else registers.write(offset, size, Number(value & ((1n << BigInt(8 * size)) - 1n)));
            for (let i = 0; i < 8 * size; i++) {
              const one = ((value >> BigInt(i)) & 1n) === 1n;
              const kind = rule(offset * 8 + i)?.access;
              if (kind === "rw" || kind === "wo") state[offset * 8 + i] = one;
              if (kind === "rw1c" && one) state[offset * 8 + i] = false;
              if (kind === "rw1s" && one) state[offset * 8 + i] = true;
            }
          }
          let want = 0n;
          for (let i = 0; i < 8 * size; i++) {
            const kind = rule(offset * 8 + i)?.access;
            if (kind !== undefined && kind !== "wo" && kind !== "rsvdz" && state[offset * 8 + i]) want |= 1n << BigInt(i);
          }
          expect(read(registers, offset, size)).toBe(want);
        }
      }),
      { numRuns: 150 },
    );
  });

  test("a write of one byte clears no RW1C bit of another byte", () => {
    const registers = file();
    registers.set("STATUS", "A", 1);
    registers.set("STATUS", "B", 1);
    registers.write(0x02, 1, 0xff);
    expect(registers.get("STATUS", "A")).toBe(0);
    expect(registers.get("STATUS", "B")).toBe(1);
    registers.write(0x00, 4, 0x0100_0000);
    expect(registers.read(0x02, 2)).toBe(0x200);
  });

  test("the model's set and get pass the access rules; a command reads 0 but stays visible to the model", () => {
    const registers = file();
    registers.write(0x04, 4, 0xffff_ffff);
    expect(registers.read(0x04, 4)).toBe(0x301);
    expect(registers.get("COMMAND", "GO")).toBe(1);
    registers.set("ID", "VENDOR", 0x1022);
    expect(registers.read(0, 2)).toBe(0x1022);
    registers.load("COMMAND", pair);
    expect([...pair]).toEqual([0x8000_0301, 0]);
  });

  test("a field across two words is one number", () => {
    const registers = file();
    registers.set("WIDE", "ADDRESS", 2 ** 52 - 3);
    expect(registers.get("WIDE", "ADDRESS")).toBe(2 ** 52 - 3);
    expect(read(registers, 0x0c, 8)).toBe((2n ** 52n - 3n) << 12n);
    expect(registers.get("WIDE", "LOW")).toBe(0);
    expect(registers.read(0x14, 1)).toBe(0x50);
  });

  test("hooks get the register and its words before and after, once per register and access, lowest first", () => {
    const log: string[] = [];
    const registers = file({
      onRead: ({ name }: { name: string }) => log.push(`read ${name}`),
      onWrite: ({ name }: { name: string }, old: Uint32Array, now: Uint32Array) => log.push(`${name} ${[...old, "→", ...now].map((word) => word.toString(16)).join(" ")}`),
    });
    registers.write64(0x0c, 0x1234_5678, 0x9abc_def0);
    registers.write(0x10, 4, 1);
    registers.write64(0x00, 0x0000_0000, 0x8000_0001);
    registers.read(0x00, 4);
    registers.read64(0x10, pair);
    expect(log).toEqual(["WIDE 0 0 → 12345678 9abcdef0", "WIDE 12345678 9abcdef0 → 12345678 1", "ID 8086 0 → 8086 0", "STATUS 200 0 → 200 0", "COMMAND 0 0 → 80000001 0", "read ID", "read STATUS", "read WIDE", "read FLAGS"]);
  });

  test("a read hook can bring the register up to date", () => {
    const registers = file({
      onRead: () => {
        registers.set("ID", "VENDOR", 0xabcd);
      },
    });
    expect(registers.read(1, 1)).toBe(0xab);
  });

  test("what a write hook sets is not undone by the same access to the next register", () => {
    const low = register("LOW", 0, 16, { BUSY: rw1c(0, "Busy") }, { spec: "none" });
    const high = register("HIGH", 2, 16, { ANY: rw(0, "Any") }, { spec: "none" });
    const registers = new RegisterFile<typeof low | typeof high>([low, high], {
      onWrite: ({ name }) => {
        if (name === "LOW") registers.set("LOW", "BUSY", 1);
      },
    });
    registers.write(0, 4, 0x0001_0001);
    expect([registers.get("LOW", "BUSY"), registers.get("HIGH", "ANY")]).toEqual([1, 1]);
  });

  test("a warm reset keeps sticky fields, a cold reset nothing", () => {
    const registers = file();
    registers.write(0x04, 4, 0x301);
    registers.set("STATUS", "B", 1);
    registers.reset("warm");
    expect([registers.get("COMMAND", "MODE"), registers.get("COMMAND", "ENABLE"), registers.get("STATUS", "B")]).toEqual([3, 0, 1]);
    registers.reset("cold");
    expect([registers.get("COMMAND", "MODE"), registers.get("STATUS", "B"), registers.get("STATUS", "C")]).toEqual([0, 0, 1]);
  });

  test("offsets without a register, and past the file, read 0 and drop writes", () => {
    const registers = file();
    for (const offset of [0x08, 0x18, 0x1000, -4]) {
      registers.write(offset, 4, 0xffff_ffff);
      expect(registers.read(offset, 4)).toBe(0);
    }
  });
});

describe("register", () => {
  test("mistakes in a declaration are refused", () => {
    expect(() => register("X", 2, 32, {}, { spec: "none" })).toThrow("X is at offset 2; a 32-bit register is at a multiple of 4 bytes.");
    expect(() => register("X", 0, 8, { A: rw(8, "past the end") }, { spec: "none" })).toThrow("Field A of X ends at bit 8; the structure has 8 bits.");
    expect(() => register("X", 0, 8, { A: rw(0, "one") }, { reset: 2, spec: "none" })).toThrow("X resets to 0x2, which sets bits that no field declares");
    expect(() => register("X", 0, 8, {}, { reset: 256, spec: "none" })).toThrow("not an unsigned integer of 8 bits");
    const two = register("Y", 0, 8, {}, { spec: "none" });
    expect(() => new RegisterFile([two, register("X", 0, 16, {}, { spec: "none" })])).toThrow("Registers Y and X overlap at offset 0x0.");
    expect(() => new RegisterFile([two, two])).toThrow("Two registers are named Y");
    expect(() => new RegisterFile([two], { size: 2 })).toThrow("the size is a multiple of 4");
    expect(() => {
      file().set("COMMAND", "MODE", 4);
    }).toThrow("MODE of COMMAND is 4; it has 2 bits.");
  });
});
