/**
 * What the packages say, in the page's other languages: by the English text, with `{0}`, `{1}`, … or a name in braces for what is put into it. The
 * packages speak English alone; a text that is not here is shown as it is and marked so, and a test finds it.
 */
export type Phrases = Readonly<Record<string, readonly [es: string, zh: string]>>;
