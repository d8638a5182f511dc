import { baseName, toText, type MemoryTree } from "../../packages/host/src/index.ts";
import type { CapturedBytes, CapturedHost } from "../../packages/host/src/bundled/captured-host.ts";

/** Of a function's folder, what a snapshot is read from. */
const FUNCTION_FILES = new Set(["vendor", "device", "subsystem_vendor", "subsystem_device", "class", "revision", "resource", "reset_method", "boot_vga"]);
const FUNCTION_LINKS = new Set(["driver", "iommu", "iommu_group", "physfn"]);
const TABLES = new Set(["DMAR", "IVRS", "MCFG"]);
const LOG_LINE = /DMAR|AMD-Vi|iommu: |iommu group|\bACS\b|vgaarb/;

const ROW = 16;
const UNUSED = /(?:0x0{16} 0x0{16} 0x0{16}\n)+$/;

const hexRows = (bytes: Uint8Array): CapturedBytes => {
  const rows: Record<string, string> = {};
  for (let at = 0; at < bytes.length; at += ROW) {
    const row = bytes.subarray(at, at + ROW);
    if (row.some((byte) => byte !== 0)) rows[`0x${at.toString(16).padStart(3, "0")}`] = Array.from(row, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  return { size: bytes.length, rows };
};

/** The text to keep of a file, or undefined for a file that is left out. */
const keptText = (path: string, text: string): string | undefined => {
  const name = baseName(path);
  if (path === "dmesg.txt") return text.replace(/^.*\n/gm, (line) => (LOG_LINE.test(line) ? line : ""));
  if (path === "proc/cmdline" || path === "proc/version" || path.startsWith("sys/kernel/iommu_groups/")) return text;
  if (!path.startsWith("sys/devices/") || !FUNCTION_FILES.has(name)) return undefined;
  return name === "resource" ? text.replace(UNUSED, "") : text;
};

const isKeptLink = (path: string): boolean => !path.startsWith("sys/devices/") || FUNCTION_LINKS.has(baseName(path));

type Section<T> = Record<string, Record<string, T>>;

const put = <T>(section: Section<T>, path: string, value: T): void => {
  const slash = path.lastIndexOf("/");
  (section[path.slice(0, Math.max(0, slash))] ??= {})[path.slice(slash + 1)] = value;
};

/**
 * A capture reduced to what `readSysfs` reads: without processor, memory and interrupt lists, tables other than those
 * about IOMMUs and MMCONFIG, log lines about anything else, and the unused last lines of `resource`.
 */
export const capturedJson = (tree: MemoryTree, provenance: string): CapturedHost => {
  const links: Section<string> = {};
  const files: Section<string> = {};
  const config: Record<string, CapturedBytes> = {};
  const tables: Record<string, CapturedBytes> = {};
  for (const path of tree.paths()) {
    const target = tree.link(path);
    const bytes = tree.read(path) ?? new Uint8Array();
    if (target !== undefined) {
      if (isKeptLink(path)) put(links, path, target);
    } else if (path.startsWith("sys/firmware/acpi/tables/")) {
      if (TABLES.has(baseName(path))) tables[baseName(path)] = hexRows(bytes);
    } else if (path.startsWith("sys/devices/") && baseName(path) === "config") config[path.slice(0, -"/config".length)] = hexRows(bytes);
    else {
      const text = keptText(path, toText(bytes));
      if (text !== undefined) put(files, path, text);
    }
  }
  return { provenance, links, files, config, tables };
};
