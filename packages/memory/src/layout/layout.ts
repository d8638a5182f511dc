import type { Field } from "./field.ts";

/** Field values by name. */
export type Values<F extends Readonly<Record<string, Field>>> = { readonly [K in keyof F]: number };

/** Reads one field from the words of a structure that starts at word `at`. */
export type Getter = (words: Uint32Array, at?: number) => number;

/**
 * A bit layout declared once: decoding, encoding and reserved-bit masks all come from this table,
 * so the model, the decoders for people and the documentation cannot drift apart.
 * Structures are little-endian and held as 32-bit words, the way the bus moves them.
 */
export interface Layout<F extends Readonly<Record<string, Field>>> {
  /** The specification's name of the structure. */
  readonly name: string;
  /** Size of the structure in bits. */
  readonly width: number;
  /** Where it is specified. */
  readonly spec: string;
  readonly fields: F;
  /** Per 32-bit word, the bits that no field declares. */
  readonly reserved: readonly number[];
  /** One getter per field with shift and mask fixed: for warm paths. */
  readonly get: { readonly [K in keyof F]: Getter };
  /** Every field by name. Makes an object: for people and tests, not for the translation path. */
  decode(words: Uint32Array, at?: number): Values<F>;
  /**
   * Writes the given fields, zero for the others, zero in reserved bits.
   * @throws RangeError when a value is not an unsigned integer that fits its field
   */
  encode(values: Partial<Values<F>>, words?: Uint32Array, at?: number): Uint32Array;
  /** Index of the first word with a reserved bit set, or -1. */
  reservedIn(words: Uint32Array, at?: number): number;
}

/** 2^n for the 0 ≤ n ≤ 52 that occur; multiplication keeps values above 2^31 unsigned and exact. */
const power = (n: number): number => 2 ** n;

const getterOf = ({ msb, lsb }: Field): Getter => {
  const first = lsb >>> 5;
  const last = msb >>> 5;
  const shift = lsb & 31;
  const width = msb - lsb + 1;
  if (first === last) {
    const mask = width === 32 ? 0xffff_ffff : power(width) - 1;
    return (words, at = 0) => (((words[at + first] as number) >>> shift) & mask) >>> 0;
  }
  const lowWidth = 32 - shift;
  const scale = power(lowWidth);
  if (last === first + 1) {
    const highWidth = width - lowWidth;
    const highMask = highWidth === 32 ? 0xffff_ffff : power(highWidth) - 1;
    return (words, at = 0) => ((words[at + first] as number) >>> shift) + (((words[at + last] as number) & highMask) >>> 0) * scale;
  }
  const topWidth = width - lowWidth - 32;
  const topMask = power(topWidth) - 1;
  return (words, at = 0) => ((words[at + first] as number) >>> shift) + (words[at + first + 1] as number) * scale + (((words[at + last] as number) & topMask) >>> 0) * scale * 0x1_0000_0000;
};

/** Puts the low bits of `value` into `words` from bit `lsb` on; the target bits must be zero. */
const put = (words: Uint32Array, at: number, { msb, lsb }: Field, value: number): void => {
  let rest = value;
  for (let position = lsb; position <= msb; ) {
    const shift = position & 31;
    const room = Math.min(32 - shift, msb - position + 1);
    const part = rest % power(room);
    const index = at + (position >>> 5);
    words[index] = (words[index] as number) + part * power(shift);
    rest = (rest - part) / power(room);
    position += room;
  }
};

const reservedMasks = (width: number, fields: readonly Field[]): number[] => {
  const masks = new Uint32Array(Math.ceil(width / 32)).fill(0xffff_ffff);
  if (width % 32) masks[masks.length - 1] = power(width % 32) - 1;
  for (const { msb, lsb } of fields)
    for (let position = lsb; position <= msb; position++) {
      const index = position >>> 5;
      masks[index] = (masks[index] as number) & ~(1 << (position & 31));
    }
  return [...masks];
};

/**
 * Declares a bit layout.
 * @param name   the specification's name of the structure
 * @param width  its size in bits, a multiple of 8
 * @param spec   where it is specified, such as "PCIe §7.7.8"
 * @param fields made with `bit` and `bits`; they may not overlap
 * @throws RangeError when a field overlaps another or ends past the structure
 */
export const layout = <const F extends Readonly<Record<string, Field>>>(name: string, width: number, spec: string, fields: F): Layout<F> => {
  const entries = Object.entries(fields) as [keyof F & string, Field][];
  const sorted = entries.toSorted((a, b) => a[1].lsb - b[1].lsb);
  for (const [i, [key, field]] of sorted.entries()) {
    if (field.msb >= width) throw new RangeError(`Field ${key} of ${name} ends at bit ${field.msb}; the structure has ${width} bits.`);
    const next = sorted[i + 1];
    if (next && next[1].lsb <= field.msb) throw new RangeError(`Fields ${key} and ${next[0]} of ${name} overlap at bit ${next[1].lsb}.`);
  }
  const words = Math.ceil(width / 32);
  const get = Object.fromEntries(entries.map(([key, field]) => [key, getterOf(field)])) as { readonly [K in keyof F]: Getter };
  const reserved = reservedMasks(width, Object.values(fields));
  return {
    name,
    width,
    spec,
    fields,
    get,
    reserved,
    decode: (from, at = 0) => Object.fromEntries(entries.map(([key]) => [key, get[key](from, at)])) as Values<F>,
    encode: (values, into = new Uint32Array(words), at = 0) => {
      into.fill(0, at, at + words);
      for (const [key, value] of Object.entries(values) as [keyof F & string, number | undefined][]) {
        if (value === undefined) continue;
        const field = fields[key];
        if (!field) throw new RangeError(`${name} has no field ${key}.`);
        if (!Number.isInteger(value) || value < 0 || value >= power(field.msb - field.lsb + 1)) throw new RangeError(`${key} of ${name} is ${value}; it has ${field.msb - field.lsb + 1} bits.`);
        put(into, at, field, value);
      }
      return into;
    },
    reservedIn: (from, at = 0) => reserved.findIndex((mask, i) => ((from[at + i] as number) & mask) !== 0),
  };
};
