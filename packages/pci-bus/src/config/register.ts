import type { Field, Layout, Values } from "@iommu-lab/memory/layout";

/** A layout's fields, whatever they are called. */
export type Fields = Readonly<Record<string, Field>>;

/**
 * What configuration writes do to a register. A field that is named nowhere is read-only; writes of it are dropped.
 * PCIe §7.4 "Configuration Register Types".
 */
export interface RegisterAccess<K extends string = string> {
  /** RW: takes what is written. */
  readonly writable?: readonly K[] | "all";
  /** RW1C: a one that is written clears the bit, a zero leaves it. */
  readonly writeOneToClear?: readonly K[] | "all";
  /** RWS, RW1CS, ROS: neither hot reset nor function-level reset touches it. */
  readonly sticky?: readonly K[] | "all";
  /** Not sticky, but one of the fields that PCIe §6.6.2 "Function Level Reset" excepts; a reset of the bus does reset it. */
  readonly keptByFunctionReset?: readonly K[] | "all";
}

/** One register: where it stands in its structure, what its bits are, and what writes do to them. */
export interface ConfigRegister<F extends Fields = Fields> {
  /** Bytes from the start of the capability, or of configuration space. */
  readonly at: number;
  readonly layout: Layout<F>;
  readonly access: RegisterAccess<keyof F & string>;
}

/** The registers of one structure by the specification's names. */
export type RegisterMap = Readonly<Record<string, ConfigRegister>>;

/** Values for some fields of some registers; what is left out is zero. */
export type RegisterValues<R extends RegisterMap> = { readonly [K in keyof R]?: Partial<Values<R[K]["layout"]["fields"]>> };

/** Places a layout in a structure. */
export const register = <F extends Fields>(at: number, layout: Layout<F>, access: RegisterAccess<keyof F & string> = {}): ConfigRegister<F> => ({ at, layout, access });

/** Keeps those names for which the hardware has the feature: enable bits of absent features are hardwired to zero. */
export const present = <K extends string>(features: Readonly<Record<K, number | boolean | undefined>>): K[] => (Object.keys(features) as K[]).filter((name) => features[name]);

/** Four parallel images of a structure: its bytes and, bit for bit, what writes and resets do to them. */
export interface RegisterImage {
  readonly bytes: Uint8Array;
  readonly writable: Uint8Array;
  readonly writeOneToClear: Uint8Array;
  readonly sticky: Uint8Array;
  readonly keptByFunctionReset: Uint8Array;
}

/** A blank image of `length` bytes: all zero and read-only. */
export const blankImage = (length: number): RegisterImage => ({
  bytes: new Uint8Array(length),
  writable: new Uint8Array(length),
  writeOneToClear: new Uint8Array(length),
  sticky: new Uint8Array(length),
  keptByFunctionReset: new Uint8Array(length),
});

/** Puts the low `count` bytes of `words` at `at`, little-endian. */
const putWords = (into: Uint8Array, at: number, words: Uint32Array, count: number): void => {
  for (let i = 0; i < count; i++) into[at + i] = ((words[i >>> 2] as number) >>> (8 * (i & 3))) & 0xff;
};

const onesIn = (layout: Layout<Fields>, names: readonly string[] | "all" | undefined): Uint32Array => {
  const ones: Record<string, number> = {};
  for (const [name, { msb, lsb }] of Object.entries(layout.fields)) if (names === "all" || names?.includes(name)) ones[name] = 2 ** (msb - lsb + 1) - 1;
  return layout.encode(ones);
};

/**
 * Writes one register's value and masks into an image.
 * @throws RangeError when it ends past the image, or a value does not fit its field
 */
export const putRegister = (image: RegisterImage, { at, layout, access }: ConfigRegister, values: Readonly<Record<string, number | undefined>> = {}): void => {
  const count = layout.width / 8;
  if (at + count > image.bytes.length) throw new RangeError(`${layout.name} at offset 0x${at.toString(16)} ends past its structure of 0x${image.bytes.length.toString(16)} bytes.`);
  putWords(image.bytes, at, layout.encode(values), count);
  putWords(image.writable, at, onesIn(layout, access.writable), count);
  putWords(image.writeOneToClear, at, onesIn(layout, access.writeOneToClear), count);
  putWords(image.sticky, at, onesIn(layout, access.sticky), count);
  putWords(image.keptByFunctionReset, at, onesIn(layout, access.keptByFunctionReset), count);
};

/** Reads the 32-bit words of a register out of configuration bytes; bytes past the end read as all ones, as on the bus. */
export const wordsAt = (bytes: Uint8Array, at: number, width: number): Uint32Array => {
  const count = width / 8;
  const words = new Uint32Array(Math.ceil(count / 4));
  for (let i = 0; i < count; i++) words[i >>> 2] = (words[i >>> 2] as number) | ((bytes[at + i] ?? 0xff) << (8 * (i & 3)));
  return words;
};
