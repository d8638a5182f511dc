import { interruptProgram } from "./interrupts.ts";
import { legacyProgram } from "./legacy.ts";
import type { Program } from "./program.ts";
import { queueProgram } from "./queue.ts";
import { registerProgram } from "./registers.ts";
import { scalableProgram } from "./scalable.ts";

const FAMILIES: readonly ((seed: number) => Program)[] = [legacyProgram, scalableProgram, interruptProgram, queueProgram, registerProgram, legacyProgram];

/** The program of a seed: the same each time. Seeds in a row go through all families. */
export const programOf = (seed: number): Program => (FAMILIES[seed % FAMILIES.length] ?? legacyProgram)(seed);
