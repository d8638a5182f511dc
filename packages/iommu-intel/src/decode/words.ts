/** A number of the input with its place. */
export interface Word {
  readonly value: bigint;
  /** Bits that its digits can hold. */
  readonly bits: number;
  readonly offset: number;
}

const TOKEN = /(?:0x)?[0-9a-f_]+(?::(?:0x)?[0-9a-f_]+)*/giy;
const SKIP = /[\s,;|=[\](){}]+|\bqw[0-7]\b\s*[=:]?/iy;

const valueOf = (token: string): { value: bigint; bits: number } | undefined => {
  const digits = token.replace(/0x|_/gi, "").split(":");
  if (digits.some((part) => part === "")) return undefined;
  // With colons, as the kernel prints an entry: the high quadword first, each of 64 bits.
  if (digits.length === 1) return { value: BigInt(`0x${digits[0] as string}`), bits: (digits[0] as string).replace(/^0+(?=.)/, "").length * 4 };
  if (digits.some((part) => part.length > 16)) return undefined;
  return { value: digits.reduce((sum, part) => (sum << 64n) | BigInt(`0x${part}`), 0n), bits: 64 * digits.length };
};

/** Most digits that any structure here needs: 512 bits, and as many separators. */
const LONGEST = 160;

/**
 * Hexadecimal numbers of a text that holds nothing else (labels such as qw0= may stand between), or undefined.
 * A number joined by colons has its high part first.
 */
export const parseWords = (text: string): Word[] | undefined => {
  const words: Word[] = [];
  for (let at = 0; at < text.length; ) {
    SKIP.lastIndex = at;
    const skipped = SKIP.exec(text)?.[0];
    if (skipped) {
      at += skipped.length;
      continue;
    }
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text)?.[0];
    if (!token || token.length > LONGEST) return undefined;
    const parsed = valueOf(token);
    if (!parsed) return undefined;
    words.push({ ...parsed, offset: at });
    at += token.length;
  }
  return words;
};

/** Why a text gives no structures of a width, as a sentence. */
export class WordsError extends Error {
  override readonly name = "WordsError";
}

/**
 * Structures of `width` bits from a text of hexadecimal numbers: each number is a whole structure when it is longer than
 * 64 bits or the structure is not; else quadwords follow each other, the low one first, as in memory.
 * @throws WordsError that says what is wrong with the text
 */
export const structuresOf = (text: string, width: number, name: string): Word[] => {
  const words = parseWords(text);
  if (!words) throw new WordsError(`A ${name} is given in hexadecimal (${width / 4} digits, or ${Math.max(1, width / 64)} quadwords with the low one first); the text has something else in it.`);
  if (words.length === 0) throw new WordsError(`There is no number in the text; a ${name} has ${width} bits.`);
  const tooWide = words.find(({ bits, value }) => bits > width && value >> BigInt(width) !== 0n);
  if (tooWide) throw new WordsError(`0x${tooWide.value.toString(16).slice(0, 40)} does not fit the ${width} bits of a ${name}.`);
  if (width <= 64 || words.every(({ bits }) => bits > 64)) return words;
  const parts = Math.ceil(width / 64);
  if (words.length % parts !== 0 && !words.some(({ bits }) => bits > 64)) throw new WordsError(`A ${name} has ${parts} quadwords; the text has ${words.length}.`);
  const whole: Word[] = [];
  for (let i = 0; i < words.length; ) {
    const first = words[i] as Word;
    if (first.bits > 64) {
      whole.push(first);
      i++;
      continue;
    }
    const group = words.slice(i, i + parts);
    if (group.length < parts || group.some(({ bits }) => bits > 64)) throw new WordsError(`A ${name} has ${parts} quadwords; the text mixes quadwords and longer numbers.`);
    whole.push({ value: group.reduceRight((sum, { value }) => (sum << 64n) | value, 0n), bits: width, offset: first.offset });
    i += parts;
  }
  return whole;
};
