import { toBytes, type FileTree } from "@iommu-lab/host";
import { FolderTree } from "./folder-tree.ts";

/** The kernel log, when this user may read it. */
const readDmesg = (): string | undefined => {
  const { spawnSync } = process.getBuiltinModule("node:child_process");
  const result = spawnSync("dmesg", [], { encoding: "utf8", timeout: 5000, maxBuffer: 64 * 1024 * 1024 });
  return result.status === 0 && result.stdout !== "" ? result.stdout : undefined;
};

/** This machine's /sys, /proc, ACPI tables and kernel log. */
export const liveTree = (): FileTree => {
  const dmesg = readDmesg();
  return new FolderTree("this host", "/", dmesg === undefined ? new Map() : new Map([["dmesg.txt", toBytes(dmesg)]]));
};
