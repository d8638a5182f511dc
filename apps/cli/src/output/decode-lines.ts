import { printable } from "./printable.ts";
import { style } from "./style.ts";

/** An offset at the beginning of a line. */
export const at = (offset: number): string => style("dim", `@${`0x${offset.toString(16)}`.padEnd(6)}`);

/** What was noticed, a line each. */
export const findingLines = (findings: readonly { readonly id: string; readonly offset: number; readonly text: string; readonly severity?: string }[]): string[] =>
  findings.length === 0 ? [] : ["", style("bold", findings.length === 1 ? "1 diagnosis" : `${findings.length} diagnoses`), ...findings.map(({ id, offset, text, severity }) => `${at(offset)} ${style(severity === "note" ? "cyan" : severity === "warning" ? "yellow" : severity === "error" ? "red" : "yellow", id)}: ${printable(text)}`)];
