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

const PROC_FILES = ["proc/cmdline", "proc/version", "proc/cpuinfo", "proc/meminfo", "proc/iomem", "proc/ioports", "proc/interrupts", "proc/modules", "etc/os-release", "etc/initramfs-tools/modules", "etc/mkinitcpio.conf", "etc/modules", "sys/kernel/security/lockdown", "dev/vfio.ls", "dmesg.txt"] as const;
/** Folders of small configuration files about modules. */
const CONFIGURATION = ["etc/modprobe.d", "etc/dracut.conf.d", "etc/mkinitcpio.conf.d", "etc/modules-load.d"] as const;
const SYS_FILES = ["sys/module/kvm/parameters/ignore_msrs", "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "sys/module/vfio_iommu_type1/parameters/dma_entry_limit", "sys/module/iommufd/parameters/allow_unsafe_interrupts", "sys/module/vfio_pci/parameters/disable_vga", "sys/module/vfio_pci/parameters/disable_idle_d3", "sys/class/dmi/id/board_name", "sys/class/dmi/id/board_vendor", "sys/class/dmi/id/bios_version", "sys/class/dmi/id/bios_date", "sys/class/dmi/id/bios_vendor", "sys/class/dmi/id/product_name", "sys/class/dmi/id/sys_vendor", "dev/vga_arbiter.first-read"] as const;

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

  /** Those lines of a text that match, each as `shortened` leaves it; no file where the host has none. */
  lines(path: string, pattern: RegExp, shortened: (line: string) => string): void {
    const bytes = this.#from.read(path);
    if (!bytes) return;
    const kept = toText(bytes).split("\n").filter((line) => pattern.test(line)).map(shortened);
    const { text, count } = redactText(kept.join("\n"));
    this.redacted += count;
    this.tree.addFile(path, `${text}\n`);
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

/** Units of the IOMMU with their capability registers. */
const recordUnits = (recorder: Recorder, from: FileTree): void => {
  for (const unit of recorder.names("sys/class/iommu")) {
    recorder.link(`sys/class/iommu/${unit}`);
    const folder = realPath(from, `sys/class/iommu/${unit}`);
    for (const name of folder === undefined ? [] : ["intel-iommu/cap", "intel-iommu/ecap", "intel-iommu/version", "amd-iommu/cap", "amd-iommu/features"]) recorder.text(`${folder ?? ""}/${name}`);
  }
};

const VITAL = /^\/dev\/\S+ (?:\/|\/boot|\/boot\/efi|\/usr|\/var|\/home) \S+ /;
const DEFAULT_ROUTE = /^\S+\t00000000\t/;
const OPTIONS = /^(?:# )?CONFIG_(?:VFIO|IOMMU|INTEL_IOMMU|AMD_IOMMU|IRQ_REMAP|SYSFB|DRM_SIMPLEDRM|FB_EFI|FB_VESA)\w*[= ]/;

/** Which disks and network functions the system runs on, and how its kernel was built: no more lines than that takes. */
const recordUse = (recorder: Recorder, from: FileTree): void => {
  recorder.lines("proc/mounts", VITAL, (line) => line.split(" ").slice(0, 3).join(" ").concat(" rw 0 0"));
  recorder.lines("proc/net/route", DEFAULT_ROUTE, (line) => line.split("\t").slice(0, 2).join("\t"));
  for (const folder of ["sys/block", "sys/class/net"]) for (const name of recorder.names(folder)) if (redactText(name).count === 0) recorder.link(`${folder}/${name}`);
  const release = /Linux version (\S+)/.exec(toText(from.read("proc/version") ?? new Uint8Array()))?.[1];
  if (release !== undefined) recorder.lines(`boot/config-${release}`, OPTIONS, (line) => line);
  for (const folder of CONFIGURATION) for (const name of recorder.names(folder)) recorder.text(`${folder}/${name}`);
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
  recordUnits(recorder, from);
  recordUse(recorder, from);
  for (const table of recorder.names("sys/firmware/acpi/tables")) if (/^[A-Z0-9]{4}\d*$/.test(table) && !PRIVATE_TABLES.has(table.slice(0, 4))) recorder.binary(`sys/firmware/acpi/tables/${table}`);
  for (const path of [...PROC_FILES, ...SYS_FILES]) recorder.text(path);
  return { tree: recorder.tree, functions: names.length, redacted: recorder.redacted, missing: readSysfs(recorder.tree).missing };
};
