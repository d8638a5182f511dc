import { parseAddress } from "@iommu-lab/pci-bus";
import { readSysfs } from "../sysfs/read-sysfs.ts";
import type { MissingInput } from "../snapshot.ts";
import { realPath, type FileTree } from "../tree/file-tree.ts";
import { MemoryTree } from "../tree/memory-tree.ts";
import { toBytes, toText } from "../tree/text.ts";
import { blankSerialNumber, redactText } from "./redact.ts";

/** What a capture holds and what it could not. */
export interface Capture {
  readonly tree: MemoryTree;
  readonly functions: number;
  /** Serial numbers and MAC addresses that were blanked. */
  readonly redacted: number;
  readonly missing: readonly MissingInput[];
}

const DEVICES = "sys/bus/pci/devices";

/** Files of a function's folder that later questions need; `rom` and `vpd` are left out: size, and serial numbers. */
const FUNCTION_FILES = [
  "config", "vendor", "device", "subsystem_vendor", "subsystem_device", "class", "revision", "resource", "irq", "enable", "boot_vga", "reset_method", "numa_node",
  "local_cpulist", "dma_mask_bits", "consistent_dma_mask_bits", "d3cold_allowed", "power_state", "current_link_speed", "current_link_width", "max_link_speed", "max_link_width",
  "ari_enabled", "sriov_numvfs", "sriov_totalvfs", "sriov_offset", "sriov_stride", "sriov_vf_device", "secondary_bus_number", "subordinate_bus_number", "driver_override", "modalias", "label",
] as const;
const FUNCTION_LINKS = ["driver", "iommu_group", "iommu", "physfn", "firmware_node"] as const;

const PROC_FILES = ["proc/cmdline", "proc/version", "proc/cpuinfo", "proc/meminfo", "proc/iomem", "proc/ioports", "proc/interrupts", "proc/modules", "dmesg.txt"] as const;
const SYS_FILES = ["sys/module/kvm/parameters/ignore_msrs", "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "sys/class/dmi/id/board_name", "sys/class/dmi/id/board_vendor", "sys/class/dmi/id/bios_version", "sys/class/dmi/id/bios_date", "sys/class/dmi/id/bios_vendor", "sys/class/dmi/id/product_name", "sys/class/dmi/id/sys_vendor", "dev/vga_arbiter.first-read"] as const;

/** Tables with licence keys stay where they are. */
const PRIVATE_TABLES = new Set(["MSDM", "SLIC"]);

/** Copies from a tree what a snapshot holds, redacting on the way. */
class Recorder {
  readonly tree: MemoryTree;
  redacted = 0;
  readonly #from: FileTree;

  constructor(from: FileTree) {
    this.#from = from;
    this.tree = new MemoryTree(from.name);
  }

  binary(path: string): void {
    const bytes = this.#from.read(path);
    if (bytes) this.tree.addFile(path, bytes);
  }

  config(path: string): void {
    const bytes = this.#from.read(path);
    if (!bytes) return;
    const blanked = blankSerialNumber(bytes);
    if (blanked) this.redacted++;
    this.tree.addFile(path, blanked ?? bytes);
  }

  text(path: string): void {
    const bytes = this.#from.read(path);
    if (!bytes) return;
    const { text, count } = redactText(toText(bytes));
    this.redacted += count;
    this.tree.addFile(path, count > 0 ? toBytes(text) : bytes);
  }

  link(path: string): void {
    const target = this.#from.link(path);
    if (target !== undefined) this.tree.addLink(path, target);
  }

  names(path: string): readonly string[] {
    return this.#from.list(path);
  }
}

const recordFunction = (recorder: Recorder, from: FileTree, name: string): void => {
  recorder.link(`${DEVICES}/${name}`);
  const folder = realPath(from, `${DEVICES}/${name}`);
  if (folder === undefined) return;
  for (const file of FUNCTION_FILES) {
    if (file === "config") recorder.config(`${folder}/${file}`);
    else recorder.text(`${folder}/${file}`);
  }
  for (const link of FUNCTION_LINKS) recorder.link(`${folder}/${link}`);
};

const recordGroups = (recorder: Recorder): void => {
  for (const group of recorder.names("sys/kernel/iommu_groups")) {
    const folder = `sys/kernel/iommu_groups/${group}`;
    recorder.text(`${folder}/type`);
    recorder.text(`${folder}/reserved_regions`);
    for (const member of recorder.names(`${folder}/devices`)) recorder.link(`${folder}/devices/${member}`);
  }
};

/**
 * Captures a host into a tree of its own: the same paths, serial numbers and MAC addresses blanked.
 * @param progress told after each function
 */
export const captureHost = (from: FileTree, progress?: (done: number, total: number) => void): Capture => {
  const recorder = new Recorder(from);
  const names = from.list(DEVICES).filter((name) => parseAddress(name) !== undefined);
  for (const [i, name] of names.entries()) {
    recordFunction(recorder, from, name);
    progress?.(i + 1, names.length);
  }
  recordGroups(recorder);
  for (const unit of recorder.names("sys/class/iommu")) recorder.link(`sys/class/iommu/${unit}`);
  for (const table of recorder.names("sys/firmware/acpi/tables")) if (/^[A-Z0-9]{4}\d*$/.test(table) && !PRIVATE_TABLES.has(table.slice(0, 4))) recorder.binary(`sys/firmware/acpi/tables/${table}`);
  for (const path of [...PROC_FILES, ...SYS_FILES]) recorder.text(path);
  return { tree: recorder.tree, functions: names.length, redacted: recorder.redacted, missing: readSysfs(recorder.tree).missing };
};
