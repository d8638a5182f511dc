import type { Phrases } from "./phrases/phrases.ts";
import { LANGUAGES, type Language } from "./words.ts";

/** Tells English texts in one language. */
export interface PhraseBook {
  /** Undefined when there are no words for it. */
  readonly tell: (text: string) => string | undefined;
}

/** A phrase: what stands between its holes, and the names of those. */
interface Phrase {
  readonly literals: readonly string[];
  readonly holes: readonly string[];
  readonly told: string;
  /** Letters of its own: the more, the surer it is the right one. */
  readonly weight: number;
}

type Values = ReadonlyMap<string, string>;

/** Texts within texts go no deeper; longer ones are nobody's sentences; so many ways to read one are tried; so many answers are remembered. */
const [DEEPEST, LONGEST, MOST_PARTS, MOST_TRIES, REMEMBERED] = [5, 4_000, 24, 20_000, 4_096];
/** Long texts are given fewer: characters that are looked at in all. */
const MOST_LOOKED_AT = 4_000_000;
/** A phrase with so many letters of its own is the right one, also where what fills it has no words. */
const SURE = 12;
const HOLE = /\{(\w+)\}/;
const SENTENCE_END = /(?<=[.:;!?]) (?=\S)/;
/** Where a text begins that follows another one without a word between them. */
const JOINT = /[ ,:;(]/;
/** A kernel's line stays as it is, whatever it looks like. */
const KERNEL_LINE = /^\[ *\d+\.\d+\]/;
/** Two plain words in a row: something that should have been told. */
const ENGLISH = /(?<![\w/.-])[A-Za-z]?[a-z]{1,} [a-z]{2,}(?![\w/-])/;

const firstWord = (text: string): string | undefined => /^[^ ]+(?= )/.exec(text)?.[0];

const readPhrase = (key: string, told: string): Phrase => {
  const parts = key.split(HOLE);
  const literals = parts.filter((_, i) => i % 2 === 0);
  return { literals, holes: parts.filter((_, i) => i % 2 === 1), told, weight: literals.join("").replaceAll(/[^A-Za-z]/g, "").length };
};

/** Where the text after a hole may begin. */
function* endsOf(text: string, literal: string, from: number): Generator<number> {
  if (literal !== "") {
    for (let at = text.indexOf(literal, from); at >= 0; at = text.indexOf(literal, at + 1)) yield at;
    return;
  }
  for (let at = from; at < text.length; at++) if (JOINT.test(text[at] ?? "")) yield at;
  yield text.length;
}

/** Whether a phrase's own words stand in a text, in their order. */
const fits = ({ literals }: Phrase, text: string): boolean => {
  if (!text.startsWith(literals[0] ?? "") || !text.endsWith(literals.at(-1) ?? "")) return false;
  let at = 0;
  for (const literal of literals) {
    const found = text.indexOf(literal, at);
    if (found < 0) return false;
    at = found + literal.length;
  }
  return true;
};

/** Every way in which a phrase's holes can be filled so that it becomes a text, the shortest first; each look costs a try. */
function* readings({ literals, holes }: Phrase, text: string, mayTry: () => boolean): Generator<Values> {
  const [first = "", last = ""] = [literals[0], literals.at(-1)];
  if (text.length < first.length + last.length) return;
  const inner = text.slice(0, text.length - last.length);
  const fill = function* (i: number, at: number, values: Values): Generator<Values> {
    const hole = holes[i];
    if (hole === undefined) {
      if (at === inner.length) yield values;
      return;
    }
    const isLast = i === holes.length - 1;
    const literal = isLast ? "" : (literals[i + 1] ?? "");
    for (const end of isLast ? [inner.length] : endsOf(inner, literal, at)) {
      if (!mayTry()) return;
      const value = inner.slice(at, end);
      if ((values.get(hole) ?? value) === value) yield* fill(i + 1, end + literal.length, new Map(values).set(hole, value));
    }
  };
  yield* fill(0, first.length, new Map());
}

/** Opens the book in a language. */
export const openPhraseBook = (phrases: Phrases, language: Exclude<Language, "en">): PhraseBook => {
  const column = LANGUAGES.indexOf(language) - 1;
  const comma = language === "zh" ? "、" : ", ";
  const whole = new Map<string, string>();
  const byFirstWord = new Map<string | undefined, Phrase[]>();
  /** Without a word of their own: a text is one of these only when it is nothing else. */
  const frames: Phrase[] = [];
  for (const [key, told] of Object.entries(phrases)) {
    const phrase = readPhrase(key, told[column]!);
    if (phrase.holes.length === 0) {
      whole.set(key, phrase.told);
      continue;
    }
    if (phrase.weight === 0) {
      frames.push(phrase);
      continue;
    }
    const word = firstWord(phrase.literals[0] ?? "");
    byFirstWord.set(word, [...(byFirstWord.get(word) ?? []), phrase]);
  }
  for (const list of byFirstWord.values()) list.sort((a, b) => b.weight - a.weight);

  const read = (text: string): string | undefined => {
    let tries = Math.min(MOST_TRIES, Math.floor(MOST_LOOKED_AT / (text.length + 1)));
    const seen = new Map<string, string | undefined>();

    const tellValue = (value: string, depth: number): string | undefined => {
      const told = tellText(value, depth);
      if (told !== undefined) return told;
      if (!ENGLISH.test(value)) return value;
      const members = value.split(", ").map((member, _, { length }) => (length > 1 && length <= MOST_PARTS ? tellText(member, depth) : undefined));
      return members.every((member) => member !== undefined) ? members.join(comma) : undefined;
    };

    /** The phrase that a text is, by the first reading of which everything can be told; else by the first reading of a sure one. */
    const tellPhrase = (text: string, depth: number): string | undefined => {
      const exact = whole.get(text);
      if (exact !== undefined || depth > DEEPEST) return exact;
      return tellOneOf([...(byFirstWord.get(firstWord(text)) ?? []), ...(byFirstWord.get(undefined) ?? [])], text, depth);
    };

    const tellOneOf = (candidates: readonly Phrase[], text: string, depth: number): string | undefined => {
      let next: string | undefined;
      for (const phrase of candidates) {
        if (!fits(phrase, text)) continue;
        for (const values of readings(phrase, text, () => tries-- > 0)) {
          const told = new Map([...values].map(([hole, value]) => [hole, tellValue(value, depth + 1)]));
          const filled = (): string => phrase.told.replaceAll(/\{(\w+)\}/g, (_, hole: string) => told.get(hole) ?? values.get(hole) ?? "");
          if ([...told.values()].every((value) => value !== undefined)) return filled();
          if (phrase.weight >= SURE) next ??= filled();
        }
      }
      return next;
    };

    /** A phrase, or several in a row; names stay as they are. */
    const tellText = (text: string, depth: number): string | undefined => {
      if (seen.has(text)) return seen.get(text);
      const told = tellPhrase(text, depth) ?? (depth > DEEPEST ? undefined : (tellSentences(text, depth) ?? tellOneOf(frames, text, depth))) ?? (/[a-z]{2}/.test(text) ? undefined : text);
      seen.set(text, told);
      return told;
    };

    const tellSentences = (text: string, depth: number): string | undefined => {
      const sentences = text.split(SENTENCE_END);
      if (sentences.length < 2 || sentences.length > MOST_PARTS) return undefined;
      const told: string[] = [];
      for (let from = 0; from < sentences.length; ) {
        let to = sentences.length;
        let piece: string | undefined;
        const run = (): string => sentences.slice(from, to).join(" ");
        // Some follow another sentence whenever they are said: they bring their blank along.
        while (to > from && (piece = tellPhrase(run(), depth + 1) ?? tellPhrase(` ${run()}`, depth + 1)?.trim()) === undefined) to--;
        const sentence = sentences[from]!;
        if (piece === undefined && ENGLISH.test(sentence)) return undefined;
        told.push(piece ?? sentence);
        from = piece === undefined ? from + 1 : to;
      }
      return language === "zh" ? told.join(" ").replaceAll(/(?<=[。；：！？]) /g, "") : told.join(" ");
    };

    return tellText(text, 0) ?? (ENGLISH.test(text) ? undefined : text);
  };

  const known = new Map<string, string | undefined>();
  return {
    tell: (text) => {
      if (text.length > LONGEST || KERNEL_LINE.test(text)) return undefined;
      if (!known.has(text)) {
        if (known.size >= REMEMBERED) known.clear();
        known.set(text, read(text));
      }
      return known.get(text);
    },
  };
};
