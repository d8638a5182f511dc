import { toBytes, type FileTree } from "@iommu-lab/host";
import { FolderTree } from "./folder-tree.ts";

/** The kernel log, when this user may read it. */
const readDmesg = (): string | undefined => {
  const { spawnSync } = process.getBuiltinModule("node:child_process");
  const result = spawnSync("dmesg", [], { encoding: "utf8", timeout: 5000, maxBuffer: 64 * 1024 * 1024 });
  return result.status === 0 && result.stdout !== "" ? result.stdout : undefined;
};

/** Who may open VFIO's files, as ls -l shows it; names and times are left out. */
const vfioModes = (): string | undefined => {
  const { readdirSync, statSync } = process.getBuiltinModule("node:fs");
  try {
    return readdirSync("/dev/vfio", { withFileTypes: true }).filter((entry) => entry.isCharacterDevice()).map(({ name }) => `c${modeText(statSync(`/dev/vfio/${name}`).mode)} 1 owner group 0, 0 ${name}`).join("\n");
  } catch {
    return undefined;
  }
};

const modeText = (mode: number): string => Array.from("rwxrwxrwx", (letter, i) => ((mode >> (8 - i)) & 1 ? letter : "-")).join("");

/** This machine's /sys, /proc, ACPI tables and kernel log. */
export const liveTree = (): FileTree => {
  const dmesg = readDmesg();
  const texts = [["dmesg.txt", dmesg], ["dev/vfio.ls", vfioModes()]] as const;
  return new FolderTree("this host", "/", new Map(texts.flatMap(([path, text]) => (text === undefined ? [] : [[path, toBytes(text)] as const]))));
};
