/** How statements of lspci map to named fields: small parts that consume the text they explain, until nothing may be left. */
import type { DecodedCapability } from "../../src/capabilities/index.ts";

/** Value of a field by its path "Register.Field", undefined where there is none. */
export type FieldReader = (path: string) => number | undefined;

export interface Outcome {
  /** What is not explained yet. */
  rest: string;
  /** Fields compared. */
  compared: number;
  readonly problems: string[];
}

/** Explains a piece of a statement. `$1` in paths is the label's first group. */
export type Part = (outcome: Outcome, read: FieldReader) => void;

export interface Rule {
  readonly label: RegExp;
  readonly parts: readonly Part[];
}

const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`);

/** `Name+` and `Name-` of the map; a path with "!" in front is printed inverted. `within` limits the search to its first group. */
export const flags =
  (map: Readonly<Record<string, string>>, within?: RegExp): Part =>
  (outcome, read) => {
    const scope = within ? within.exec(outcome.rest) : null;
    if (within && !scope) return;
    let text = scope ? (scope[1] ?? "") : outcome.rest;
    for (const [name, path] of Object.entries(map)) {
      const match = new RegExp(`(^|[\\s,;(])${escaped(name)}([+-])(?=[\\s,;)]|$)`).exec(text);
      if (!match) continue;
      const value = read(path.replace("!", ""));
      const expected = (value === 1) !== path.startsWith("!");
      if (value === undefined || expected !== (match[2] === "+")) outcome.problems.push(`${name}${match[2] ?? ""} but ${path} is ${value}`);
      outcome.compared++;
      text = text.replace(match[0], match[1] === "(" ? "(" : " ");
    }
    outcome.rest = scope ? outcome.rest.replace(scope[0], ` ${text} `) : text;
  };

/** Text that `pattern` finds: its first group must be what `say` makes of the fields' values. */
export const says =
  (pattern: RegExp, paths: readonly string[], say: (...values: number[]) => string | number): Part =>
  (outcome, read) => {
    const match = pattern.exec(outcome.rest);
    if (!match) return;
    const values = paths.map(read);
    const expected = values.includes(undefined) ? "nothing: a field is not there" : String(say(...(values as number[])));
    if (expected !== (match[1] ?? match[0])) outcome.problems.push(`"${match[0]}" but ${paths.join(", ")} (${values.join(", ")}) say "${expected}"`);
    outcome.compared += paths.length;
    outcome.rest = outcome.rest.replace(match[0], " ");
  };

/** Words that carry no value. */
export const words =
  (pattern: RegExp): Part =>
  (outcome) => {
    outcome.rest = outcome.rest.replace(pattern, " ");
  };

export const rule = (label: RegExp, ...parts: Part[]): Rule => ({ label, parts });

export const hex =
  (width: number) =>
  (value: number): string =>
    value.toString(16).padStart(width, "0");
export const decimal = (value: number): string => String(value);
export const oneOf =
  (names: readonly string[], otherwise = "Unknown") =>
  (value: number): string =>
    names[value] ?? otherwise;

/** Fields of a decoded capability by path. */
export const readerOf = (capability: DecodedCapability): FieldReader => {
  const values = new Map(capability.registers.flatMap((register) => register.fields.map((field) => [`${register.name}.${field.name}`, field.value])));
  return (path) => values.get(path);
};

/** Holds one statement against the first rule whose label it begins with. */
export const explain = (statement: string, rules: readonly Rule[], read: FieldReader): Outcome => {
  for (const { label, parts } of rules) {
    const match = label.exec(statement);
    if (!match) continue;
    const outcome: Outcome = { rest: statement.slice(match[0].length), compared: 0, problems: [] };
    for (const part of parts) part(outcome, (path) => read(path.replace("$1", match[1] ?? "")));
    if (outcome.rest.replaceAll(/[\s,;]+/g, "") !== "") outcome.problems.push(`nothing explains "${outcome.rest.trim()}" in "${statement}"`);
    return outcome;
  }
  return { rest: statement, compared: 0, problems: [`no rule for "${statement}"`] };
};
