/** One named field of a structure in memory or of a register; bit 0 is the least significant bit of the first byte. */
export interface Field {
  /** Most significant bit, counted from the structure's start. */
  readonly msb: number;
  /** Least significant bit. */
  readonly lsb: number;
  /** What the field says, in a sentence. */
  readonly text: string;
  /** Meanings of single values, where the specification names them. */
  readonly values?: Readonly<Record<number, string>>;
}

/** A field of one bit. */
export const bit = (at: number, text: string, values?: Readonly<Record<number, string>>): Field => bits(at, at, text, values);

/**
 * A field from `msb` down to `lsb`, in the manuals' order. At most 52 bits wide, so that its value is an exact number.
 * @throws RangeError when the bits are reversed or too many
 */
export const bits = (msb: number, lsb: number, text: string, values?: Readonly<Record<number, string>>): Field => {
  if (!Number.isInteger(msb) || !Number.isInteger(lsb) || lsb < 0 || msb < lsb) throw new RangeError(`Field bits ${msb}:${lsb} are not in the order msb, lsb.`);
  if (msb - lsb >= 52) throw new RangeError(`Field bits ${msb}:${lsb} are ${msb - lsb + 1} bits wide; a field has at most 52 (use two fields).`);
  return values ? { msb, lsb, text, values } : { msb, lsb, text };
};

/** Width of a field in bits. */
export const widthOf = (field: Field): number => field.msb - field.lsb + 1;

/** What a value of the field means, or undefined where the specification gives single values no name. */
export const meaningOf = (field: Field, value: number): string | undefined => field.values?.[value];
