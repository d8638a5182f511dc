import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GuestFailure } from "../../apps/cli/src/guest/failure.ts";
import type { Topology } from "./topologies.ts";

const TIMEOUT = 5 * 60 * 1000;

const lastLines = (path: string): string => (existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n").slice(-15).join("\n") : "");

/** Runs QEMU to its end. */
const finished = async (args: readonly string[], console: string): Promise<void> => {
  const qemu = spawn("qemu-system-x86_64", args, { stdio: ["ignore", "ignore", "pipe"], timeout: TIMEOUT });
  let complaint = "";
  qemu.stderr.on("data", (text: Buffer) => (complaint += text.toString()));
  const ended = await new Promise<number | null>((resolve, reject) => {
    qemu.on("error", (error) => {
      reject(new GuestFailure(`qemu-system-x86_64 cannot be run (${error.message}); Debian has it in the package qemu-system-x86.`));
    });
    qemu.on("close", resolve);
  });
  if (ended === null) throw new GuestFailure(`The guest did not power off within ${TIMEOUT / 1000} s; its console ended:\n${lastLines(console)}`);
  if (ended !== 0) throw new GuestFailure(`qemu-system-x86_64 ended with ${ended}: ${complaint.trim()}`);
};

/**
 * Boots a kernel on a topology and returns the archive that `iommu snapshot` made in it.
 * @param work folder for the guest's files
 * @throws GuestFailure when QEMU is missing, the guest hangs, or no whole archive arrived
 */
export const runGuest = async (topology: Topology, kernel: string, root: Uint8Array, work: string): Promise<Uint8Array> => {
  const [initrd, console, output] = ["initramfs", "console", "output"].map((name) => join(work, `${topology.name}.${name}`)) as [string, string, string];
  writeFileSync(initrd, root);
  await finished(
    [
      ["-machine", topology.machine, "-cpu", "max", "-m", "1024", "-nodefaults", "-display", "none", "-no-reboot"],
      ["-serial", `file:${console}`, "-serial", `file:${output}`],
      ["-kernel", kernel, "-initrd", initrd, "-append", `console=ttyS0 ${topology.kernelParameters}`],
      topology.devices,
    ].flat(),
    console,
  );
  const archive = /^BEGIN$([^]*?)^END$/m.exec(existsSync(output) ? readFileSync(output, "latin1") : "")?.[1];
  if (archive === undefined) throw new GuestFailure(`The guest powered off without handing over a capture; its console ended:\n${lastLines(console)}`);
  return Buffer.from(archive, "base64");
};
