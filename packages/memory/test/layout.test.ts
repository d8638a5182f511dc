import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bit, bits, layout, meaningOf, widthOf, type Field } from "../src/layout/index.ts";

const toBigint = (words: Uint32Array): bigint => words.reduceRight((value, word) => (value << 32n) | BigInt(word), 0n);
const toWords = (value: bigint, count: number): Uint32Array => Uint32Array.from({ length: count }, (_, i) => Number((value >> BigInt(32 * i)) & 0xffff_ffffn));

/** Disjoint fields of 1 to 52 bits in a structure of 160 bits. */
const fields = fc.array(fc.tuple(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 1, max: 52 })), { minLength: 1, maxLength: 12 }).map((steps) => {
  const declared: Record<string, Field> = {};
  let position = 0;
  for (const [gap, width] of steps) {
    const lsb = position + gap;
    if (lsb + width > 160) break;
    declared[`F${lsb}`] = bits(lsb + width - 1, lsb, "arbitrary");
    position = lsb + width;
  }
  return declared;
});

describe("layout", () => {
  test("every field of every width at every position reads and writes as shifts of one big number do", () => {
    for (let width = 1; width <= 52; width++)
      for (let lsb = 0; lsb < 70; lsb++) {
        const one = layout("one", 128, "none", { F: bits(lsb + width - 1, lsb, "arbitrary") });
        const value = 2 ** width - 1 - (width > 3 ? 2 : 0);
        const shifted = BigInt(value) << BigInt(lsb);
        expect(toBigint(one.encode({ F: value }))).toBe(shifted);
        expect(one.get.F(toWords(shifted, 4))).toBe(value);
        const others = (2n ** 128n - 1n) ^ ((2n ** BigInt(width) - 1n) << BigInt(lsb));
        expect(one.get.F(toWords(others, 4))).toBe(0);
        expect(toBigint(Uint32Array.from(one.reserved))).toBe(others);
      }
  });

  test("decode, get and reserved agree with a big number for any fields and any words", () => {
    fc.assert(
      fc.property(fields, fc.bigInt({ min: 0n, max: 2n ** 160n - 1n }), fc.integer({ min: 0, max: 3 }), (declared, value, at) => {
        const structure = layout("arbitrary", 160, "none", declared);
        const words = new Uint32Array(at + 5);
        words.set(toWords(value, 5), at);
        const decoded = structure.decode(words, at);
        let undeclared = value;
        for (const [name, field] of Object.entries(declared)) {
          const mask = 2n ** BigInt(widthOf(field)) - 1n;
          expect(decoded[name]).toBe(Number((value >> BigInt(field.lsb)) & mask));
          expect(structure.get[name]?.(words, at)).toBe(decoded[name]);
          undeclared &= ~(mask << BigInt(field.lsb));
        }
        expect(structure.reservedIn(words, at)).toBe([...toWords(undeclared, 5)].findIndex((word) => word !== 0));
        const encoded = new Uint32Array(at + 6).fill(0xffff_ffff);
        structure.encode(decoded, encoded, at);
        expect(toBigint(encoded.slice(at, at + 5))).toBe(value ^ undeclared);
        expect(encoded[at + 5]).toBe(0xffff_ffff);
      }),
      { numRuns: 300 },
    );
  });

  test("reserved bits end where a structure of 8, 16 or 24 bits ends", () => {
    expect(layout("byte", 8, "none", { A: bit(0, "lowest") }).reserved).toEqual([0xfe]);
    expect(layout("half", 16, "none", {}).reserved).toEqual([0xffff]);
    expect(layout("odd", 40, "none", { A: bits(39, 32, "last byte") }).reserved).toEqual([0xffff_ffff, 0]);
  });

  test("mistakes in a declaration and values that do not fit are refused", () => {
    expect(() => bits(3, 4, "reversed")).toThrow("Field bits 3:4 are not in the order msb, lsb.");
    expect(() => bits(52, 0, "too wide")).toThrow("53 bits wide; a field has at most 52");
    expect(() => layout("X", 32, "none", { A: bits(4, 0, "a"), B: bits(8, 4, "b") })).toThrow("Fields A and B of X overlap at bit 4.");
    expect(() => layout("X", 32, "none", { A: bit(32, "past") })).toThrow("Field A of X ends at bit 32; the structure has 32 bits.");
    const structure = layout("X", 32, "none", { A: bits(1, 0, "a") });
    for (const value of [4, -1, 0.5, NaN]) expect(() => structure.encode({ A: value })).toThrow(`A of X is ${value}; it has 2 bits.`);
    const unknown: Record<string, number> = { B: 1 };
    expect(() => structure.encode(unknown)).toThrow("X has no field B.");
  });

  test("single values have meanings where the field names them", () => {
    const field = bits(3, 2, "Translation type", { 0: "second-stage", 2: "pass-through" });
    expect(meaningOf(field, 2)).toBe("pass-through");
    expect(meaningOf(field, 3)).toBeUndefined();
    expect(meaningOf(bit(0, "plain"), 0)).toBeUndefined();
  });
});
