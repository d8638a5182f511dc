import type { AnyLayout } from "../bench/tables.ts";
import { bitOf, flip, withWords, type Edits } from "../entries/edits.ts";
import { MODES } from "./modes.ts";
import type { WalkSettings } from "./settings.ts";
import type { WalkStep } from "./steps.ts";

/** Bits that say that an entry is there: a second-stage entry has no bit for it, only rights. */
const PRESENT = ["P", "PR", "V", "LP"] as const;

const clear = (words: readonly number[], bit: number): number[] => (bitOf(words, bit) === 1 ? flip(words, bit) : [...words]);

/** The words of an entry that is not there any more. */
const withoutPresent = (layout: AnyLayout, words: readonly number[]): number[] => {
  const name = PRESENT.find((each) => each in layout.fields);
  const field = name === undefined ? undefined : layout.fields[name];
  return field ? clear(words, field.lsb) : [0, 1, 2].reduce<number[]>((left, bit) => clear(left, bit), [...words]);
};

/** A bit that must be 0: one that no field has, or the highest of an address, which is above every width here. */
const reservedBit = (layout: AnyLayout): number => {
  for (let bit = 0; bit < layout.width; bit++) if (bitOf(layout.reserved, bit) === 1) return bit;
  return 51;
};

/** Edits that break a step's entry; undefined where it has none. */
export const breakEntry = (edits: Edits, { step, kind }: WalkStep, how: "present" | "reserved"): Edits | undefined => {
  if (!kind || step.address === undefined || !step.raw) return undefined;
  const bit = reservedBit(kind.layout);
  return withWords(edits, step.address, how === "present" ? withoutPresent(kind.layout, step.raw) : bitOf(step.raw, bit) === 1 ? step.raw : flip(step.raw, bit));
};

/** The address with a bit set that its tables do not translate. */
export const beyondWidth = ({ mode, address }: WalkSettings): string => {
  const { levels, vendor } = MODES[mode];
  const bits = levels === 0 ? (vendor === "intel" ? 46 : 48) : Math.min(63, 12 + 9 * levels);
  return `0x${(BigInt(address) | (1n << BigInt(bits))).toString(16)}`;
};
