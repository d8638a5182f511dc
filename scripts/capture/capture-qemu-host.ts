/**
 * Makes the captured hosts in packages/host/src/bundled/captured: boots Debian's kernel in QEMU on each topology,
 * runs the built `iommu snapshot` inside, and stores the result as JSON that can be read and compared.
 *
 *   pnpm build
 *   node --conditions=@iommu-lab/source scripts/capture/capture-qemu-host.ts [NAME…] [--cache FOLDER] [--out FOLDER]
 *
 * Names are those in topologies.ts; without one, all are made. Needs Debian (apt-get download; nothing is installed)
 * and the package qemu-system-x86. The kernel (70 MB) is kept in the cache folder for the next run.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { gunzipSync } from "node:zlib";
import { readSysfs, readTar, reportGroups } from "../../packages/host/src/index.ts";
import { capturedTree } from "../../packages/host/src/bundled/captured-host.ts";
import { capturedJson } from "./captured-json.ts";
import { debianBusybox, debianKernel } from "../../apps/cli/src/guest/debian-kernel.ts";
import { GuestFailure } from "../../apps/cli/src/guest/failure.ts";
import { initramfs, type GuestFiles } from "./initramfs.ts";
import { runGuest } from "./run-guest.ts";
import { topologies, type Topology } from "./topologies.ts";

const root = resolve(import.meta.dirname, "../..");

const built = (path: string, remedy: string): string => {
  if (!existsSync(join(root, path))) throw new GuestFailure(`${path} is missing; run ${remedy} first.`);
  return realpathSync(join(root, path));
};

const qemuVersion = (): string => {
  const { error, stdout } = spawnSync("qemu-system-x86_64", ["--version"], { encoding: "utf8" });
  const version = error ? undefined : /version (\d+\.\d+)/.exec(stdout)?.[1];
  if (version === undefined) throw new GuestFailure("qemu-system-x86_64 cannot be run; Debian has it in the package qemu-system-x86.");
  return version;
};

const unzipped = (archive: Uint8Array): Uint8Array => {
  try {
    return gunzipSync(archive);
  } catch {
    throw new GuestFailure("The capture was damaged on its way over the serial port; run this again.");
  }
};

const capture = async (topology: Topology, guest: GuestFiles, qemu: string, work: string, out: string): Promise<void> => {
  const archive = await runGuest(topology, guest.kernel, initramfs(topology, guest, built("node_modules/.bin/node", "pnpm install"), built("apps/cli/dist/main.js", "pnpm build")), work);
  const { tree } = await readTar(topology.name, unzipped(archive));
  const { kernelRelease, functions } = readSysfs(tree);
  const date = new Date().toISOString().slice(0, 10);
  const json = capturedJson(tree, `Captured by iommu snapshot in QEMU ${qemu} (${topology.machine.split(",")[0] ?? ""}), Debian's Linux ${kernelRelease ?? "of unknown release"}, ${topology.kernelParameters}; ${date}.`);
  const text = `${JSON.stringify(json, undefined, 1)}\n`;
  writeFileSync(join(out, `${topology.name}.json`), text);
  const report = reportGroups(readSysfs(capturedTree(topology.name, json)));
  console.log(`${topology.name}: ${functions.length} functions, ${report.groups.length} groups ${report.mode}, ${(text.length / 1024).toFixed(0)} KiB`);
};

const main = async (): Promise<void> => {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { cache: { type: "string", default: join(homedir(), ".cache/iommu-lab-capture") }, out: { type: "string", default: join(root, "packages/host/src/bundled/captured") } } });
  const unknown = positionals.find((name) => !topologies.some((topology) => topology.name === name));
  if (unknown !== undefined) throw new GuestFailure(`There is no topology "${unknown}"; there are ${topologies.map(({ name }) => name).join(", ")}.`);
  const qemu = qemuVersion();
  const source = { cache: resolve(values.cache) };
  const guest: GuestFiles = { ...debianKernel(source), busybox: debianBusybox(source) };
  mkdirSync(values.out, { recursive: true });
  const work = mkdtempSync(join(tmpdir(), "iommu-lab-"));
  try {
    for (const topology of topologies) if (positionals.length === 0 || positionals.includes(topology.name)) await capture(topology, guest, qemu, work, values.out);
  } finally {
    rmSync(work, { recursive: true });
  }
};

try {
  await main();
} catch (error) {
  if (!(error instanceof GuestFailure)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
