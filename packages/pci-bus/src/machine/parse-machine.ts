import * as v from "valibot";
import { machineSchema, type MachineDescription } from "./machine-schema.ts";
import { contradictions } from "./contradictions.ts";

/** What is wrong in a description, and where. */
export interface MachineProblem {
  /** "iommus[0].registerBase"; empty for the whole. */
  readonly path: string;
  /** A sentence. */
  readonly text: string;
}

/** A description that is none. `problems` names every mistake. */
export class MachineError extends Error {
  override readonly name = "MachineError";
  readonly problems: readonly MachineProblem[];
  constructor(problems: readonly MachineProblem[]) {
    super(problems.map(({ path, text }) => (path === "" ? text : `${path}: ${text}`)).join("\n"));
    this.problems = problems;
  }
}

/** Nested functions make deep paths; no topology has more bridges above one another than this. */
const DEEPEST = 600;

/** Whether nothing in a value is deeper than so many levels. */
const isWithin = (value: unknown, left: number): boolean => {
  if (left === 0) return false;
  if (typeof value !== "object" || value === null) return true;
  return Object.values(value).every((each) => isWithin(each, left - 1));
};

const pathOf = (issue: v.BaseIssue<unknown>): string => {
  let path = "";
  for (const { key } of issue.path ?? []) path += typeof key === "number" ? `[${key}]` : path === "" ? String(key) : `.${String(key)}`;
  return path;
};

const sentenceOf = (issue: v.BaseIssue<unknown>): string => {
  if (issue.type !== "strict_object") return issue.message;
  const last: unknown = issue.path?.at(-1)?.key;
  const key = typeof last === "string" ? last : "";
  if (issue.expected === "never") return `There is no "${key}" here.`;
  if (issue.path === undefined) return "A machine is a JSON object.";
  return issue.expected === `"${key}"` ? `"${key}" is missing.` : `"${key}" is an object.`;
};

/** A value that breaks several rules is one mistake. */
const firstOfEach = (problems: readonly MachineProblem[]): MachineProblem[] => problems.filter(({ path }, i) => problems.findIndex((other) => other.path === path) === i);

/**
 * Reads a description that was JSON.
 * @throws MachineError with every mistake: wrong types, names that do not exist, and statements that contradict each other
 */
export const parseMachine = (value: unknown): MachineDescription => {
  if (!isWithin(value, DEEPEST)) throw new MachineError([{ path: "", text: `This is nested more than ${DEEPEST} deep; no machine is.` }]);
  const result = v.safeParse(machineSchema, value);
  if (!result.success) throw new MachineError(firstOfEach(result.issues.map((issue) => ({ path: pathOf(issue), text: sentenceOf(issue) }))));
  const problems = contradictions(result.output);
  if (problems.length > 0) throw new MachineError(problems);
  return result.output;
};
