import * as v from "valibot";
import { parseAddress } from "../requester-id.ts";

const HEXADECIMAL = /^0x[0-9a-fA-F]{1,13}$/;

/** A whole number from 0 to 2^53 - 1: a JSON number, or hexadecimal text such as "0xfed90000". */
export const whole = (what: string) => {
  // Where one of the two has the right type, a union passes its complaint on instead of its own.
  const rule = `${what} is a whole number from 0: 16, or "0x10".`;
  return v.union([v.pipe(v.number(), v.safeInteger(rule), v.minValue(0, rule)), v.pipe(v.string(), v.regex(HEXADECIMAL, rule), v.transform(Number), v.safeInteger(rule))], rule);
};

/** A whole number of at most `bits` bits. */
export const field = (what: string, bits: number) => v.pipe(whole(what), v.maxValue(2 ** bits - 1, `${what} has ${bits} bits.`));

/** The address of a function as text: "0000:01:00.0", or without the segment. */
export const functionAddress = v.pipe(
  v.string("A function's address is text: \"0000:01:00.0\"."),
  v.check((text) => parseAddress(text) !== undefined, "This is no address of a PCI function; one is written dddd:bb:dd.f, such as \"0000:01:00.0\"."),
);

/** Bytes as hexadecimal digits; white space between them is allowed. */
export const hexBytes = (most: number) =>
  v.pipe(
    v.string("Bytes are text of hexadecimal digits."),
    v.regex(/^(\s*[0-9a-fA-F]{2})*\s*$/, "Bytes are pairs of hexadecimal digits."),
    v.check((text) => text.replaceAll(/\s/g, "").length <= 2 * most, `There are at most ${most} bytes here.`),
  );
