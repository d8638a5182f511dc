import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpioArchive, type CpioEntry } from "../../apps/cli/src/guest/cpio.ts";
import type { KernelFiles } from "../../apps/cli/src/guest/debian-kernel.ts";
import { GuestFailure } from "../../apps/cli/src/guest/failure.ts";
import { modulesOf } from "../../apps/cli/src/guest/kernel-modules.ts";
import type { Topology } from "./topologies.ts";

/** What a guest is made of. */
export interface GuestFiles extends KernelFiles {
  readonly busybox: string;
}

const file = (path: string, from: string): CpioEntry => ({ kind: "file", path, mode: 0o755, bytes: readFileSync(from) });
const folder = (path: string): CpioEntry => ({ kind: "folder", path, mode: 0o755 });

/** Shared libraries of a program, where its loader looks for them. */
const libraries = (program: string): string[] => {
  const { status, stdout } = spawnSync("ldd", [program], { encoding: "utf8" });
  if (status !== 0) throw new GuestFailure(`ldd ${program} failed, so its libraries are not known.`);
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1] ?? "");
};

/**
 * Boots, loads modules, switches virtual functions on, captures, writes the archive to the second serial port
 * between two marks, powers off. Virtual functions get no driver: a controller without queues would only time out.
 */
const initScript = (topology: Topology, modules: readonly string[]): string => `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
${modules.map((name) => `insmod /modules/${name}`).join("\n")}
sleep 3
${topology.virtualFunctions.map(([address, count]) => `echo 0 > /sys/bus/pci/devices/${address}/sriov_drivers_autoprobe\necho ${count} > /sys/bus/pci/devices/${address}/sriov_numvfs`).join("\n")}
stty -F /dev/ttyS1 raw 115200
/bin/node /iommu.js snapshot -o /host.tar.gz
{ echo BEGIN; base64 /host.tar.gz; echo END; } > /dev/ttyS1
sync
poweroff -f
`;

const APPLETS = ["sh", "mount", "insmod", "sleep", "echo", "stty", "base64", "sync", "poweroff", "dmesg"] as const;

/** The guest's root file system: busybox, Node with its libraries, the built command, modules, /init. */
export const initramfs = (topology: Topology, guest: GuestFiles, node: string, command: string): Uint8Array => {
  const modules = modulesOf(guest.modules, topology.modules);
  const shared = libraries(node);
  const libraryFolders = new Set(shared.flatMap((path) => path.split("/").slice(1, -1).map((_, i, parts) => parts.slice(0, i + 1).join("/"))));
  return cpioArchive([
    ...["bin", "dev", "proc", "sys", "modules"].map(folder),
    ...[...libraryFolders].filter((path) => path !== "bin").map(folder),
    file("bin/busybox", guest.busybox),
    ...APPLETS.map((applet): CpioEntry => ({ kind: "link", path: `bin/${applet}`, mode: 0o777, target: "busybox" })),
    file("bin/node", node),
    ...shared.map((path) => file(path.slice(1), path)),
    file("iommu.js", command),
    ...modules.map(({ name, bytes }): CpioEntry => ({ kind: "file", path: `modules/${name}`, mode: 0o644, bytes })),
    { kind: "file", path: "init", mode: 0o755, bytes: Buffer.from(initScript(topology, modules.map(({ name }) => name))) },
  ]);
};
