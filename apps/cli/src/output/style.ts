import { styleText } from "node:util";

type Format = Parameters<typeof styleText>[0];

/** Colours text for a terminal; leaves it alone when standard output is none, or NO_COLOR is set. */
export const style = (format: Format, text: string): string => styleText(format, text, { stream: process.stdout });

/** One sentence on standard error, so that standard output stays what was asked for. */
export const warn = (text: string): void => {
  process.stderr.write(`${styleText("yellow", "warning:", { stream: process.stderr })} ${printable(text)}\n`);
};

/** Text from a stranger's file without control characters: nothing that a terminal would obey. */
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
export const printable = (text: string): string => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "?");

/** One JSON value, alone on standard output. Big integers become lower-case hexadecimal strings. */
export const printJson = (value: unknown): void => {
  process.stdout.write(`${JSON.stringify(value, (_key, item: unknown) => (typeof item === "bigint" ? `0x${item.toString(16)}` : item), 2)}\n`);
};

export const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};
