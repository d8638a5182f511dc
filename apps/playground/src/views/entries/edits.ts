import type { Tables } from "../bench/tables.ts";
import { RAM } from "../bench/tables.ts";
import { record } from "../view.ts";

/** Words that stand in memory instead of what the bench has built, by their address in hexadecimal. */
export type Edits = Readonly<Record<string, readonly number[]>>;

/** So many entries may be edited at a time. */
const MOST = 64;
/** Words of the largest structure. */
const MOST_WORDS = 16;
const ADDRESS = /^0x[0-9a-f]{1,9}$/;

const isWord = (value: unknown): value is number => typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 32;

/** Reads edits out of anything. */
export const readEdits = (value: unknown): Edits =>
  Object.fromEntries(
    Object.entries(record(value))
      .filter((entry): entry is [string, number[]] => {
        const [address, words] = entry;
        return ADDRESS.test(address) && Number(address) % 4 === 0 && Array.isArray(words) && words.length > 0 && words.length <= MOST_WORDS && words.every(isWord) && Number(address) + 4 * words.length <= RAM;
      })
      .slice(0, MOST),
  );

/** Puts them into memory. */
export const applyEdits = (tables: Tables, edits: Edits): void => {
  for (const [address, words] of Object.entries(edits)) tables.putWords(Number(address), words);
};

export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

/** Edits with other words at an address. */
export const withWords = (edits: Edits, address: number, words: readonly number[]): Edits => ({ ...edits, [hex(address)]: [...words] });

/** Words with one bit turned over. */
export const flip = (words: readonly number[], bit: number): number[] => words.map((word, i) => (i === bit >>> 5 ? (word ^ (1 << (bit & 31))) >>> 0 : word));

/** A bit of words. */
export const bitOf = (words: readonly number[], bit: number): number => ((words[bit >>> 5] ?? 0) >>> (bit & 31)) & 1;

/** Words with bits `msb` to `lsb` replaced. */
export const withField = (words: readonly number[], msb: number, lsb: number, value: bigint): number[] => {
  let result = [...words];
  for (let bit = lsb; bit <= msb; bit++) if (bitOf(result, bit) !== Number((value >> BigInt(bit - lsb)) & 1n)) result = flip(result, bit);
  return result;
};

/** The bits of a field as a number of any width. */
export const fieldValue = (words: readonly number[], msb: number, lsb: number): bigint => {
  let value = 0n;
  for (let bit = msb; bit >= lsb; bit--) value = (value << 1n) | BigInt(bitOf(words, bit));
  return value;
};

/** Words as one number, the highest first, as dumps show them. */
export const wordsText = (words: readonly number[]): string => words.map((word) => word.toString(16).padStart(8, "0")).toReversed().join(" ");
