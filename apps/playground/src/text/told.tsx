import { signal } from "@preact/signals";
import type { VNode } from "preact";
import type { PhraseBook } from "./phrase-book.ts";
import type { Language } from "./words.ts";

const opened = signal<{ readonly language: Language; readonly book: PhraseBook } | undefined>(undefined);

/** Loads what the packages say in a language; English needs nothing. Without a network, when it was never loaded, English stays. */
export const openPhrases = async (language: Language): Promise<void> => {
  if (language === "en" || opened.value?.language === language) return;
  try {
    const [{ openPhraseBook }, { PHRASES }] = await Promise.all([import("./phrase-book.ts"), import("./phrases/index.ts")]);
    opened.value = { language, book: openPhraseBook(PHRASES, language) };
  } catch {
    opened.value = { language, book: { tell: () => undefined } };
  }
};

/** Whether texts of the packages can be told in a language now. */
export const phrasesAreOpen = (language: Language): boolean => language === "en" || opened.value?.language === language;

/** A text of the packages in a language; undefined when there are no words for it. */
const toldIn = (text: string, language: Language): string | undefined => (language === "en" ? text : opened.value?.language === language ? opened.value.book.tell(text) : undefined);

/** A text of the packages in a language, or in English when there are no words for it. */
export const tell = (text: string, language: Language): string => toldIn(text, language) ?? text;

/** The same in the page, marked where it stays English. */
export const Told = ({ text, language }: { readonly text: string; readonly language: Language }): VNode => {
  const told = toldIn(text, language);
  return told === undefined ? <span lang="en">{text}</span> : <>{told}</>;
};
