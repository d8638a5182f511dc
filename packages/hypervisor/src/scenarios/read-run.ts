import * as v from "valibot";
import { runEndSchema, runEventSchema, runFormatSchema, type RunEvent } from "./run-schema.ts";
import type { ScenarioResult } from "./scenario.ts";

/** A line of an event file that cannot be read: says which, and what is wrong with it. */
export class RunError extends Error {
  override readonly name = "RunError";
  /** Counted from 1. */
  readonly line: number;
  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

/** A run as its event file tells it. */
export interface RecordedRun {
  readonly events: readonly RunEvent[];
  readonly result: ScenarioResult;
}

const valueOf = (text: string, line: number): unknown => {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new RunError(line, `not JSON (${error instanceof Error ? error.message : String(error)})`);
  }
};

const read = <S extends v.GenericSchema>(schema: S, value: unknown, line: number): v.InferOutput<S> => {
  const found = v.safeParse(schema, value, { abortEarly: true });
  if (found.success) return found.output;
  const [issue] = found.issues;
  const path = issue.path?.map(({ key }) => String(key)).join(".") ?? "";
  throw new RunError(line, path === "" ? issue.message : `${path}: ${issue.message}`);
};

const isEnd = (value: unknown): boolean => typeof value === "object" && value !== null && "kind" in value && value.kind === "result";

/**
 * Reads an event file: the format first, events, the result last.
 * @param lines the file's lines in order, or its whole text
 * @throws RunError for the first line that is wrong, and for a file that ends before its result
 */
export const readRun = (lines: string | Iterable<string>): RecordedRun => {
  const events: RunEvent[] = [];
  let result: ScenarioResult | undefined;
  let [line, begun, machines] = [0, false, 0];
  for (const text of typeof lines === "string" ? lines.split("\n") : lines) {
    line++;
    if (text.trim() === "") continue;
    const value = valueOf(text, line);
    if (result) throw new RunError(line, "the result is the last line, and there is another");
    if (!begun) read(runFormatSchema, value, line);
    // What is unknown in it was JSON.
    else if (isEnd(value)) result = read(runEndSchema, value, line).result as ScenarioResult;
    else {
      const event = read(runEventSchema, value, line);
      if (event.kind === "machine" && event.machine !== machines++) throw new RunError(line, `machine: this is machine ${machines - 1} of the run, not ${event.machine}`);
      if ("machine" in event && event.machine >= machines) throw new RunError(line, `machine: there is no machine ${event.machine} yet`);
      events.push(event);
    }
    begun = true;
  }
  if (!result) throw new RunError(line, begun ? "the file ends before the result of the run" : "the file is empty");
  return { events, result };
};
