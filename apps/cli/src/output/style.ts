import { styleText } from "node:util";
import { printable } from "./printable.ts";

type Format = Parameters<typeof styleText>[0];

/** Colours text for a terminal; leaves it alone when standard output is none, or NO_COLOR is set. */
export const style = (format: Format, text: string): string => styleText(format, text, { stream: process.stdout });

/** One sentence on standard error, so that standard output stays what was asked for. */
export const warn = (text: string): void => {
  process.stderr.write(`${styleText("yellow", "warning:", { stream: process.stderr })} ${printable(text)}\n`);
};

/** One JSON value, alone on standard output. Big integers become lower-case hexadecimal strings; terminals obey U+0080 to U+009F too. */
export const printJson = (value: unknown): void => {
  const text = JSON.stringify(value, (_key, item: unknown) => (typeof item === "bigint" ? `0x${item.toString(16)}` : item), 2);
  process.stdout.write(`${text.replace(/[\u007f-\u009f]/g, (character) => `\\u00${character.charCodeAt(0).toString(16)}`)}\n`);
};

export const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};
