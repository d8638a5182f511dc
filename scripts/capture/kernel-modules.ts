import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { CaptureFailure } from "./failure.ts";

/** A module's name as the kernel compares it: file names may have either dash. */
const plain = (name: string): string => name.replaceAll("-", "_");

/** What a module's own information section says it needs. */
const dependencies = (path: string): string[] => {
  const value = /\0depends=([^\0]*)\0/.exec(readFileSync(path, "latin1"))?.[1] ?? "";
  return value === "" ? [] : value.split(",");
};

/**
 * Files of modules and of all they need, in the order in which they can be loaded.
 * An unpacked kernel package has no modules.dep yet, so the modules are asked themselves.
 * @param folder lib/modules/RELEASE
 * @throws CaptureFailure when a module is not there
 */
export const moduleFiles = (folder: string, names: readonly string[]): string[] => {
  const files = new Map(globSync("kernel/**/*.ko", { cwd: folder }).map((path) => [plain(basename(path, ".ko")), join(folder, path)]));
  const order = new Set<string>();
  const add = (name: string): void => {
    const path = files.get(plain(name));
    if (path === undefined) throw new CaptureFailure(`${folder} has no module ${name}.`);
    if (order.has(path)) return;
    for (const needed of dependencies(path)) add(needed);
    order.add(path);
  };
  for (const name of names) add(name);
  return [...order];
};
