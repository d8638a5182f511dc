import { commandProgram } from "./amd/command-program.ts";
import { interruptProgram as amdInterruptProgram } from "./amd/interrupts.ts";
import { registerProgram as amdRegisterProgram } from "./amd/registers.ts";
import { translationProgram } from "./amd/translation.ts";
import { interruptProgram } from "./intel/interrupts.ts";
import { legacyProgram } from "./intel/legacy.ts";
import { queueProgram } from "./intel/queue.ts";
import { registerProgram } from "./intel/registers.ts";
import { scalableProgram } from "./intel/scalable.ts";
import type { Program } from "./program.ts";

type Vendor = Program["machine"]["vendor"];

const FAMILIES: Readonly<Record<Vendor, readonly ((seed: number) => Program)[]>> = {
  intel: [legacyProgram, scalableProgram, interruptProgram, queueProgram, registerProgram, legacyProgram],
  amd: [translationProgram, amdInterruptProgram, translationProgram, commandProgram, amdRegisterProgram],
};

/** Whose program a seed is. */
export const vendorOf = (seed: number): Vendor => (seed % 2 === 0 ? "intel" : "amd");

/** The program of a seed: the same each time. Seeds in a row alternate between the vendors, and go through all families of each. */
export const programOf = (seed: number): Program => {
  const families = FAMILIES[vendorOf(seed)];
  const family = families[Math.floor(seed / 2) % families.length];
  if (family === undefined) throw new RangeError(`There is no program of seed ${seed}.`);
  return family(seed);
};
