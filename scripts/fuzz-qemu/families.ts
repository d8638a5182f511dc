import { interruptProgram } from "./intel/interrupts.ts";
import { legacyProgram } from "./intel/legacy.ts";
import { queueProgram } from "./intel/queue.ts";
import { registerProgram } from "./intel/registers.ts";
import { scalableProgram } from "./intel/scalable.ts";
import type { Program } from "./program.ts";

const FAMILIES: readonly ((seed: number) => Program)[] = [legacyProgram, scalableProgram, interruptProgram, queueProgram, registerProgram, legacyProgram];

/** The program of a seed: the same each time. Seeds in a row go through all families. */
export const programOf = (seed: number): Program => (FAMILIES[seed % FAMILIES.length] ?? legacyProgram)(seed);
