/** Languages of the page. Register names, kernel lines and code are in none of them. */
export const LANGUAGES = ["en", "es", "zh"] as const;
export type Language = (typeof LANGUAGES)[number];

/** What a language calls itself. */
export const LANGUAGE_NAMES: Readonly<Record<Language, string>> = { en: "English", es: "Español", zh: "中文" };

/** A text in every language; `{name}` is a hole, the same ones in each. */
export type Entry = readonly [en: string, es: string, zh: string];
export type WordTable = Readonly<Record<string, Entry>>;
type Holes = Readonly<Record<string, string | number>>;

/** Texts by key: `say("title")`, `say("steps", { count: 3 })`. */
export type Say<T extends WordTable> = (key: keyof T & string, holes?: Holes) => string;

const fill = (template: string, holes: Holes): string => template.replace(/\{(\w+)\}/g, (whole, name: string) => (name in holes ? String(holes[name]) : whole));

/** Every table that was made, for the test that looks for what is missing. */
export const TABLES: WordTable[] = [];

/** Declares texts; a missing language does not compile. */
export const words = <const T extends WordTable>(table: T): ((language: Language) => Say<T>) => {
  TABLES.push(table);
  return (language) => (key, holes = {}) => fill(table[key]![LANGUAGES.indexOf(language)]!, holes);
};
