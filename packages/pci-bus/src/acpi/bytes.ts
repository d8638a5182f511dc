import type { Field, Layout } from "@iommu-lab/memory/layout";

type AnyLayout = Layout<Readonly<Record<string, Field>>>;

/** The bytes at `at` as little-endian 32-bit words, zeros after the end. */
export const wordsAt = (bytes: Uint8Array, at: number, width: number): Uint32Array => {
  const words = new Uint32Array(Math.ceil(width / 32));
  for (let i = 0; i < width / 8; i++) words[i >>> 2] = ((words[i >>> 2] as number) | ((bytes[at + i] ?? 0) << (8 * (i & 3)))) >>> 0;
  return words;
};

/** Words as little-endian bytes, cut to the layout's width. */
export const bytesOf = (words: Uint32Array, width: number): Uint8Array => Uint8Array.from({ length: width / 8 }, (_, i) => ((words[i >>> 2] as number) >>> (8 * (i & 3))) & 0xff);

/** The bytes of a structure with only the bits that its layout reserves, or undefined when all are zero. */
export const reservedBytes = (layout: AnyLayout, words: Uint32Array): Uint8Array | undefined =>
  layout.reservedIn(words) < 0 ? undefined : bytesOf(Uint32Array.from(layout.reserved, (mask, i) => (words[i] as number) & mask), layout.width);

/** A 64-bit value from its halves. */
export const wide = (low: number, high: number): bigint => (BigInt(high) << 32n) | BigInt(low);

/** The halves of a 64-bit value. @throws RangeError when it is none */
export const halves = (what: string, value: number | bigint): readonly [low: number, high: number] => {
  if (typeof value === "number" && !Number.isSafeInteger(value)) throw new RangeError(`${what} is ${value}; it is an exact integer below 2^64.`);
  const exact = BigInt(value);
  if (exact < 0n || exact >= 1n << 64n) throw new RangeError(`${what} is ${exact < 0n ? "negative" : `0x${exact.toString(16)}`}; it is below 2^64.`);
  return [Number(exact & 0xffff_ffffn), Number(exact >> 32n)];
};
