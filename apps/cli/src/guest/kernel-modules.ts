import { spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { GuestFailure } from "./failure.ts";

/** A module to be loaded. */
export interface KernelModule {
  /** File name, ending in .ko. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

const XZ = ".xz";
/** The largest module there is has a few MiB. */
const LARGEST = 2 ** 26;

/** A module's name as the kernel compares it: file names may have either dash. */
const plain = (name: string): string => name.replaceAll("-", "_");

/** Newer kernels come with their modules compressed. */
const contents = (path: string): Uint8Array => {
  if (!path.endsWith(XZ)) return readFileSync(path);
  const { error, status, stdout } = spawnSync("xz", ["-dc", path], { maxBuffer: LARGEST });
  if (error || status !== 0) throw new GuestFailure(`xz cannot unpack ${path}; Debian has it in the package xz-utils.`);
  return stdout;
};

/** What a module's own information section says it needs. */
const dependencies = (bytes: Uint8Array): string[] => {
  const value = /\0depends=([^\0]*)\0/.exec(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1"))?.[1] ?? "";
  return value === "" ? [] : value.split(",");
};

/** Names of what is built into a kernel. */
const builtIn = (folder: string): ReadonlySet<string> => {
  const [list] = globSync("modules.builtin", { cwd: folder });
  return new Set(list === undefined ? [] : readFileSync(join(folder, list), "utf8").split("\n").map((path) => plain(basename(path, ".ko"))));
};

/**
 * Modules and all they need, in the order in which they can be loaded; what is built in is left out.
 * An unpacked kernel package has no modules.dep yet, so the modules are asked themselves.
 * @param folder lib/modules/RELEASE
 * @throws GuestFailure when a module is not there
 */
export const modulesOf = (folder: string, names: readonly string[]): KernelModule[] => {
  const files = new Map(globSync("kernel/**/*.ko{,.xz}", { cwd: folder }).map((path) => [plain(basename(basename(path, XZ), ".ko")), join(folder, path)]));
  const present = builtIn(folder);
  const order = new Map<string, KernelModule>();
  const add = (name: string): void => {
    const key = plain(name);
    if (present.has(key) || order.has(key)) return;
    const path = files.get(key);
    if (path === undefined) throw new GuestFailure(`${folder} has no module ${name}.`);
    const bytes = contents(path);
    for (const needed of dependencies(bytes)) add(needed);
    order.set(key, { name: `${key}.ko`, bytes });
  };
  for (const name of names) add(name);
  return [...order.values()];
};
