import { spawnSync } from "node:child_process";
import { existsSync, globSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import { GuestFailure } from "./failure.ts";

/** A kernel and the folder of its modules. */
export interface KernelFiles {
  readonly kernel: string;
  readonly modules: string;
}

/** How to get them. */
export interface KernelSource {
  /** Folder to keep them in. */
  readonly cache: string;
  /** A suite of Debian's to take the kernel from, such as bookworm-backports; by default what this machine's apt has. */
  readonly suite?: string;
  /** Nothing is fetched: what is not in the cache is missing. */
  readonly offline?: boolean;
  /** Told what is being done. */
  readonly progress?: (text: string) => void;
}

/** Where a user's caches are. XDG Base Directory Specification. */
export const defaultCache = (): string => join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "iommu-lab");

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const MIRROR = "http://deb.debian.org/debian";

const run = (command: string, args: readonly string[], cwd?: string): string => {
  const result = spawnSync(command, args, { cwd, encoding: "utf8", maxBuffer: 2 ** 26 });
  if (result.error) throw new GuestFailure(`${command} cannot be run (${result.error.message}). On a system that is not Debian's, give a kernel with --kernel and an initial file system with --initrd.`);
  if (result.status !== 0) throw new GuestFailure(`${command} ${args.join(" ")} failed: ${result.stderr.trim().split("\n").at(-1) ?? ""}`);
  return result.stdout;
};

/** Options that make apt look at one suite only, with lists of its own: the machine's own configuration is left alone. */
const ownApt = (cache: string, suite: string): string[] => {
  const folder = join(cache, "apt", suite);
  for (const part of ["lists/partial", "archives/partial"]) mkdirSync(join(folder, part), { recursive: true });
  const list = join(folder, "sources.list");
  writeFileSync(list, `deb [signed-by=${KEYRING}] ${MIRROR} ${suite} main\n`);
  return [["Dir::Etc::sourcelist", list], ["Dir::Etc::sourceparts", "/dev/null"], ["Dir::State::lists", join(folder, "lists")], ["Dir::Cache", folder]].flatMap(([name, value]) => ["-o", `${name}=${value}`]);
};

/** The package that `linux-image-amd64` stands for. */
const kernelPackage = (apt: readonly string[]): string => {
  const name = /^\s*Depends: (linux-image-\S+)/m.exec(run("apt-cache", [...apt, "depends", "linux-image-amd64"]))?.[1];
  if (name === undefined) throw new GuestFailure("apt-cache knows no linux-image-amd64; run apt-get update on a Debian system for x86-64, or give a kernel with --kernel.");
  return name;
};

/** Unpacks a package into the cache, without installing it; returns the folder. */
const unpacked = ({ cache, progress }: KernelSource, apt: readonly string[], name: string): string => {
  const folder = join(cache, name);
  if (existsSync(folder)) return folder;
  // Beside its place first: what was interrupted is not taken for whole.
  const work = join(cache, `${name}.part-${process.pid}`);
  mkdirSync(work, { recursive: true });
  try {
    progress?.(`Fetching Debian's ${name} into ${cache} …`);
    run("apt-get", [...apt, "-q", "download", name], work);
    const [archive] = globSync("*.deb", { cwd: work });
    if (archive === undefined) throw new GuestFailure(`apt-get download ${name} left no package in ${work}.`);
    run("dpkg-deb", ["-x", archive, "unpacked"], work);
    renameSync(join(work, "unpacked"), folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return folder;
};

const only = (folder: string, pattern: string): string => {
  const [found] = globSync(pattern, { cwd: folder });
  if (found === undefined) throw new GuestFailure(`${folder} holds no ${pattern}.`);
  return join(folder, found);
};

/** The newest kernel in the cache of those that no suite was asked for. */
const cachedKernel = (cache: string): string | undefined => {
  const ofSuites = new Set(globSync("apt/*/kernel/*", { cwd: cache }).map((path) => basename(path)));
  return globSync("linux-image-*", { cwd: cache })
    .filter((name) => !name.includes(".part-") && !ofSuites.has(name))
    .toSorted((a, b) => b.localeCompare(a, "en", { numeric: true }))
    .at(0);
};

/** Says which kernel a suite gave the last time, so that a later call needs no network. */
const noteOf = (cache: string, suite: string): string => join(cache, "apt", suite, "kernel");

const kernelFolder = (source: KernelSource): string => {
  const { cache, suite, offline = false, progress } = source;
  if (suite === undefined) {
    const cached = existsSync(cache) ? cachedKernel(cache) : undefined;
    if (cached !== undefined) return join(cache, cached);
    if (offline) throw new GuestFailure(`There is no kernel in ${cache}, and --offline forbids fetching one; give one with --kernel.`);
    return unpacked(source, [], kernelPackage([]));
  }
  const [known] = globSync("linux-image-*", { cwd: noteOf(cache, suite) });
  if (known !== undefined && existsSync(join(cache, known))) return join(cache, known);
  if (offline) throw new GuestFailure(`There is no kernel of ${suite} in ${cache}, and --offline forbids fetching one.`);
  const apt = ownApt(cache, suite);
  progress?.(`Asking Debian what kernel ${suite} has …`);
  run("apt-get", [...apt, "-q", "update"]);
  const name = kernelPackage(apt);
  const folder = unpacked(source, apt, name);
  mkdirSync(join(noteOf(cache, suite), name), { recursive: true });
  return folder;
};

/** Debian's kernel, from the cache or fetched into it. @throws GuestFailure */
export const debianKernel = (source: KernelSource): KernelFiles => {
  const folder = kernelFolder(source);
  return { kernel: only(folder, "boot/vmlinuz-*"), modules: only(folder, "lib/modules/*") };
};

/** Debian's static busybox, likewise. @throws GuestFailure */
export const debianBusybox = (source: KernelSource): string => {
  if (source.offline && !existsSync(join(source.cache, "busybox-static"))) throw new GuestFailure(`There is no busybox-static in ${source.cache}, and --offline forbids fetching it.`);
  return only(unpacked(source, [], "busybox-static"), "bin/busybox");
};
