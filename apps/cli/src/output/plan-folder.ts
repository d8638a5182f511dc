import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { PlanFile } from "@iommu-lab/host/plan";
import { CommandError, ExitCode } from "../exit-code.ts";

const failure = (folder: string, error: unknown): CommandError => new CommandError(ExitCode.BadInput, `Cannot write ${folder}: ${error instanceof Error ? error.message : String(error)}.`);

const namesIn = (folder: string): readonly string[] => {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw failure(folder, error);
  }
};

/** @throws CommandError when the folder holds something already: a plan never replaces files */
export const requireEmpty = (folder: string): void => {
  if (namesIn(folder).length > 0) throw new CommandError(ExitCode.BadInput, `${folder} is not empty; give a new folder with --out.`);
};

/** Writes a plan's files into a folder that is made for them. */
export const writePlanFolder = (folder: string, files: readonly PlanFile[]): void => {
  try {
    for (const { path, text, mode } of files) {
      const at = join(folder, path);
      mkdirSync(dirname(at), { recursive: true });
      writeFileSync(at, text, { mode, flag: "wx" });
    }
  } catch (error) {
    throw failure(folder, error);
  }
};
