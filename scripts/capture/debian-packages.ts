import { spawnSync } from "node:child_process";
import { existsSync, globSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { CaptureFailure } from "./failure.ts";

/** Files of Debian packages that a guest is made of. */
export interface GuestFiles {
  readonly kernel: string;
  /** Folder with the kernel's modules. */
  readonly modules: string;
  readonly busybox: string;
}

const run = (command: string, args: readonly string[], cwd?: string): string => {
  const result = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (result.error) throw new CaptureFailure(`${command} cannot be run (${result.error.message}); a Debian system has it.`);
  if (result.status !== 0) throw new CaptureFailure(`${command} ${args.join(" ")} failed: ${result.stderr.trim().split("\n").at(-1) ?? ""}`);
  return result.stdout;
};

/** The package that `linux-image-amd64` stands for. */
const kernelPackage = (): string => {
  const name = /^\s*Depends: (linux-image-\S+)/m.exec(run("apt-cache", ["depends", "linux-image-amd64"]))?.[1];
  if (name === undefined) throw new CaptureFailure("apt-cache knows no linux-image-amd64; run apt-get update on a Debian system for x86-64.");
  return name;
};

/** Unpacks a package into the cache, without installing it; returns the folder. */
const unpacked = (cache: string, name: string): string => {
  const folder = join(cache, name);
  if (existsSync(folder)) return folder;
  mkdirSync(cache, { recursive: true });
  run("apt-get", ["download", name], cache);
  const [archive] = globSync(`${name}_*.deb`, { cwd: cache });
  if (archive === undefined) throw new CaptureFailure(`apt-get download ${name} left no package in ${cache}.`);
  run("dpkg-deb", ["-x", archive, folder], cache);
  return folder;
};

const only = (folder: string, pattern: string): string => {
  const [found] = globSync(pattern, { cwd: folder });
  if (found === undefined) throw new CaptureFailure(`${folder} holds no ${pattern}.`);
  return join(folder, found);
};

/** Downloads Debian's kernel and its static busybox into `cache`, unless they are there. @throws CaptureFailure */
export const guestFiles = (cache: string): GuestFiles => {
  const kernel = unpacked(cache, kernelPackage());
  const busybox = unpacked(cache, "busybox-static");
  return { kernel: only(kernel, "boot/vmlinuz-*"), modules: only(kernel, "lib/modules/*"), busybox: only(busybox, "bin/busybox") };
};
