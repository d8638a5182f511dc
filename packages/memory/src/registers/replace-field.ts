import type { Field } from "../layout/field.ts";

/** Replaces the bits of `field`, counted from bit `base` of `words`, by `value`, which must fit; all other bits stay. Allocates nothing. */
export const replaceField = (words: Uint32Array, base: number, field: Field, value: number): void => {
  const last = base + field.msb;
  let rest = value;
  for (let position = base + field.lsb; position <= last; ) {
    const shift = position & 31;
    const room = Math.min(32 - shift, last - position + 1);
    const scale = 2 ** room;
    const part = rest % scale;
    const index = position >>> 5;
    const mask = ((scale - 1) << shift) >>> 0;
    words[index] = ((words[index] as number) & ~mask) | (part << shift); // the caller's field lies inside words
    rest = (rest - part) / scale;
    position += room;
  }
};

/** The value of `field`, counted from bit `base` of `words`. Allocates nothing. */
export const extractField = (words: Uint32Array, base: number, field: Field): number => {
  const last = base + field.msb;
  let value = 0;
  let scale = 1;
  for (let position = base + field.lsb; position <= last; ) {
    const shift = position & 31;
    const room = Math.min(32 - shift, last - position + 1);
    const size = 2 ** room;
    value += (((words[position >>> 5] as number) >>> shift) % size) * scale; // the caller's field lies inside words
    scale *= size;
    position += room;
  }
  return value;
};
