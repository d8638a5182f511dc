import type { DecodedStructure, Fact, Finding } from "./decoded.ts";

/** Characters of a line that are looked at; no kernel line is longer. */
const LINE_LIMIT = 2048;

/** The parts of a line that were captured, by position. */
type Captures = readonly (string | undefined)[];

/** What a recognised line gives. */
export interface LineResult {
  readonly structures: readonly DecodedStructure[];
  readonly findings: readonly Finding[];
}

/** A line format. The pattern is looked for anywhere in a line: loggers put time, host and level before it. */
export interface LineFormat {
  readonly pattern: RegExp;
  readonly read: (captures: Captures, offset: number, name: string) => LineResult;
}

export const big = (digits: string | undefined): bigint => BigInt(`0x${digits ?? "0"}`);

/** A line without bits: what it says, by key. */
export const lineOf = (name: string, offset: number, facts: Readonly<Record<string, Fact>>, meaning: readonly string[], findings: readonly Finding[] = []): LineResult => ({ structures: [{ name, offset, fields: [], facts, meaning }], findings });

/** Lines of a text with their offsets, without copying the text. */
export function* linesOf(text: string): Generator<{ readonly line: string; readonly offset: number }> {
  for (let at = 0; at <= text.length; ) {
    const end = text.indexOf("\n", at);
    const stop = end < 0 ? text.length : end;
    yield { line: text.slice(at, Math.min(stop, at + LINE_LIMIT)), offset: at };
    at = stop + 1;
  }
}
