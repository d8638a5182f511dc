import { hex } from "../address.ts";
import { layout, type Layout, type Values } from "../layout/layout.ts";
import type { RegisterField } from "./register-field.ts";

/** Fields of a register by name. */
export type RegisterFields = Readonly<Record<string, RegisterField>>;

/** A register as its specification declares it. Bits that no field declares behave as `rsvdz`: they read 0, and writes to them are dropped. */
export interface Register<N extends string = string, F extends RegisterFields = RegisterFields> {
  /** The specification's mnemonic. */
  readonly name: N;
  /** Bytes from the start of its register file. */
  readonly offset: number;
  /** Width in bits. */
  readonly width: RegisterWidth;
  readonly fields: F;
  /** Where it is specified. */
  readonly spec: string;
  /** Its bits as a layout: decode for people, getters for the words that hooks receive. */
  readonly layout: Layout<F>;
  /** Value after a cold reset, as words. */
  readonly reset: readonly number[];
}

export type RegisterWidth = 8 | 16 | 32 | 64;

/** What else a register says. */
export interface RegisterOptions<F extends RegisterFields> {
  /** Value after a cold reset: the whole register as a number of at most 53 bits, or by field. Default 0. */
  readonly reset?: number | Partial<Values<F>>;
  /** Where it is specified, such as "VT-d §11.4.9". */
  readonly spec: string;
}

const resetWords = <F extends RegisterFields>(declared: Layout<F>, reset: number | Partial<Values<F>>): number[] => {
  const words = typeof reset === "number" ? Uint32Array.of(reset % 2 ** 32, Math.floor(reset / 2 ** 32)) : declared.encode(reset, new Uint32Array(2));
  if (typeof reset === "number" && (!Number.isSafeInteger(reset) || reset < 0 || reset >= 2 ** declared.width))
    throw new RangeError(`${declared.name} resets to ${reset}, which is not an unsigned integer of ${declared.width} bits and at most 53; give the fields by name.`);
  if (declared.reservedIn(words) >= 0) throw new RangeError(`${declared.name} resets to ${hex(reset as number)}, which sets bits that no field declares; declare them, as ro or rsvdp.`);
  return [...words];
};

/**
 * Declares a register.
 * @param name   the specification's mnemonic, such as "FSTS_REG"
 * @param offset bytes from the start of its register file, a multiple of its width; of 4 for a 64-bit register
 * @param width  8, 16, 32 or 64 bits
 * @param fields made with `ro`, `rw`, `rw1c`, `rw1s`, `wo`, `rsvdz`, `rsvdp` and `sticky`; they may not overlap
 * @throws RangeError when the offset is not aligned, a field does not fit or overlaps, or the reset value sets undeclared bits
 */
export const register = <const N extends string, const F extends RegisterFields>(name: N, offset: number, width: RegisterWidth, fields: F, options: RegisterOptions<F>): Register<N, F> => {
  const alignment = Math.min(width / 8, 4);
  if (!Number.isInteger(offset) || offset < 0 || offset % alignment !== 0) throw new RangeError(`${name} is at offset ${offset}; a ${width}-bit register is at a multiple of ${alignment} bytes.`);
  const declared = layout(name, width, options.spec, fields);
  return { name, offset, width, fields, spec: options.spec, layout: declared, reset: resetWords(declared, options.reset ?? 0) };
};
