import { formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import { parseCommandLine, type IommuParameters } from "@iommu-lab/pci-bus/groups";
import { decodeIvrs, type IvrsTable } from "@iommu-lab/iommu-amd/ivrs";
import { decodeDmar, type DmarTable } from "@iommu-lab/iommu-intel/dmar";
import { reportGroups, type GroupsReport } from "../groups/groups-report.ts";
import type { HostFunction, HostSnapshot } from "../snapshot.ts";
import { readText, realPath } from "../tree/file-tree.ts";
import type { GuestDomain } from "./guest-domain.ts";
import { HostLog } from "./host-log.ts";
import { seen, type DoctorEvidence } from "./rule.ts";

/** Whether something is the case, and what says so. */
export interface Known {
  readonly answer: "yes" | "no" | "unknown";
  readonly evidence: readonly DoctorEvidence[];
}

const table = <T>(bytes: Uint8Array | undefined, decode: (bytes: Uint8Array) => T): T | undefined => {
  if (!bytes) return undefined;
  try {
    return decode(bytes);
  } catch {
    // A damaged table says nothing; the rules about tables tell of it.
    return undefined;
  }
};

const CONFIGURATION = ["etc/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d"] as const;
const TABLES = "sys/firmware/acpi/tables";

/** A host as rules look at it: its snapshot, and what several rules conclude from it. */
export class HostView {
  readonly snapshot: HostSnapshot;
  readonly log: HostLog | undefined;
  readonly parameters: IommuParameters;
  readonly dmar: DmarTable | undefined;
  readonly ivrs: IvrsTable | undefined;
  /** The VM that the functions are for, where one was given. */
  readonly guest: GuestDomain | undefined;
  readonly #byAddress: ReadonlyMap<string, HostFunction>;
  readonly #roms: ReadonlyMap<string, Uint8Array>;
  #report: GroupsReport | undefined;
  #compared: GroupsReport | undefined;

  constructor(snapshot: HostSnapshot, guest?: GuestDomain, roms: ReadonlyMap<string, Uint8Array> = new Map()) {
    this.#roms = roms;
    this.snapshot = snapshot;
    this.guest = guest;
    this.log = snapshot.dmesg === undefined ? undefined : new HostLog(snapshot.dmesg, "dmesg");
    this.parameters = parseCommandLine(snapshot.commandLine ?? "");
    this.dmar = table(snapshot.acpi.get("DMAR"), decodeDmar);
    this.ivrs = table(snapshot.acpi.get("IVRS"), decodeIvrs);
    this.#byAddress = new Map(snapshot.functions.map((f) => [formatAddress(f.address), f]));
  }

  at(address: FunctionAddress | string): HostFunction | undefined {
    return this.#byAddress.get(typeof address === "string" ? address : formatAddress(address));
  }

  /** Names of ACPI tables that firmware has: their names are seen even where only root may read them. */
  get tableNames(): readonly string[] {
    return [...new Set([...this.snapshot.acpi.keys(), ...(this.snapshot.files?.list(TABLES) ?? [])])];
  }

  /** A file's text. */
  text(path: string): string | undefined {
    const { files } = this.snapshot;
    return files && readText(files, path);
  }

  /** The first line of a file that matches. */
  lineOf(path: string, pattern: RegExp): DoctorEvidence | undefined {
    const lines = this.text(path)?.split("\n") ?? [];
    const at = lines.findIndex((line) => pattern.test(line.slice(0, 4096)));
    return at < 0 ? undefined : seen(path, (lines[at] as string).slice(0, 240).trim(), at + 1);
  }

  /** A file in a function's folder of sysfs. */
  functionText(f: HostFunction, name: string): string | undefined {
    const { files } = this.snapshot;
    const folder = files && realPath(files, `sys/bus/pci/devices/${formatAddress(f.address)}`);
    return files && folder !== undefined ? readText(files, `${folder}/${name}`) : undefined;
  }

  /** Lines of modprobe's configuration that match. */
  configuration(pattern: RegExp): DoctorEvidence[] {
    const { files } = this.snapshot;
    return CONFIGURATION.flatMap((folder) => (files?.list(folder) ?? []).filter((name) => name.endsWith(".conf")).flatMap((name) => this.lineOf(`${folder}/${name}`, pattern) ?? []));
  }

  /** Whether the kernel's configuration is among the files. */
  get hasKernelConfig(): boolean {
    return this.#configPaths().some((path) => this.text(path) !== undefined);
  }

  /** A line of the kernel's configuration. */
  kernelConfig(pattern: RegExp): DoctorEvidence | undefined {
    return this.#configPaths().flatMap((path) => this.lineOf(path, pattern) ?? [])[0];
  }

  /** A dump of a function's ROM: given by the caller, or a file in its folder. */
  romOf(f: HostFunction): Uint8Array | undefined {
    const { files } = this.snapshot;
    const folder = files && realPath(files, `sys/bus/pci/devices/${formatAddress(f.address)}`);
    return this.#roms.get(formatAddress(f.address)) ?? (files && folder !== undefined ? files.read(`${folder}/rom`) : undefined);
  }

  #configPaths(): string[] {
    return [`boot/config-${this.snapshot.kernelRelease ?? ""}`, "proc/config", "config"];
  }

  /** A file of an IOMMU unit. */
  classText(unit: string, name: string): string | undefined {
    const { files } = this.snapshot;
    const folder = files && realPath(files, `sys/class/iommu/${unit}`);
    return files && folder !== undefined ? readText(files, `${folder}/${name}`) : undefined;
  }

  /** The kernel option that matches, as evidence. */
  option(pattern: RegExp): DoctorEvidence | undefined {
    const word = this.snapshot.commandLine?.split(/\s+/).find((each) => pattern.test(each));
    return word === undefined ? undefined : seen("proc/cmdline", word.slice(0, 240), 1);
  }

  /** Whether the kernel is at least this version; undefined when it is not known. */
  kernelAtLeast(major: number, minor: number): boolean | undefined {
    const match = /^(\d+)\.(\d+)/.exec(this.snapshot.kernelRelease ?? "");
    return match ? Number(match[1]) > major || (Number(match[1]) === major && Number(match[2]) >= minor) : undefined;
  }

  /** Whose IOMMU it is, or would be. */
  get vendor(): "intel" | "amd" | "other" | undefined {
    const names = this.tableNames;
    if (names.includes("DMAR")) return "intel";
    if (names.includes("IVRS")) return "amd";
    const cpu = /^vendor_id\s*:\s*(\S+)/m.exec(this.text("proc/cpuinfo") ?? "")?.[1];
    if (cpu === "GenuineIntel") return "intel";
    if (cpu === "AuthenticAMD" || cpu === "HygonGenuine") return "amd";
    if (this.otherIommu) return "other";
    const root = this.at("0000:00:00.0")?.vendor;
    return root === 0x8086 ? "intel" : root === 0x1022 ? "amd" : undefined;
  }

  /** An IOMMU that is not of x86: its name. */
  get otherIommu(): DoctorEvidence | undefined {
    const unit = this.snapshot.iommus.find((name) => /smmu|^tce|^iommu-phb|riscv/i.test(name));
    if (unit !== undefined) return seen("sys/class/iommu", unit);
    return this.tableNames.includes("IORT") ? seen(TABLES, "IORT") : this.log?.find(/arm-smmu|pci_bus .*: Configuring PE for bus/);
  }

  /** Whether the kernel translates DMA by an IOMMU. */
  get active(): Known {
    const { snapshot, log } = this;
    if (snapshot.iommus.length > 0) return { answer: "yes", evidence: [seen("sys/class/iommu", snapshot.iommus.join(" "))] };
    if (snapshot.groups && snapshot.groups.size > 0) return { answer: "yes", evidence: [seen(snapshot.kind === "sysfs" ? "sys/kernel/iommu_groups" : "lspci", `${snapshot.groups.size} IOMMU groups`)] };
    const on = log?.find(/DMAR: Intel\(R\) Virtualization Technology for Directed I\/O|AMD-Vi: Interrupt remapping enabled|Adding to iommu group \d|iommu: Adding device .* to group/);
    if (on) return { answer: "yes", evidence: [on] };
    if (snapshot.kind === "sysfs") return { answer: "no", evidence: [seen("sys/class/iommu", "no unit"), seen("sys/kernel/iommu_groups", "no group")] };
    const off = log?.find(/DMAR: IOMMU disabled|DMAR: No DMAR devices found/);
    return off ? { answer: "no", evidence: [off] } : { answer: "unknown", evidence: [] };
  }

  /** The kernel's groups explained, or the computed ones. */
  get groups(): GroupsReport {
    return (this.#report ??= reportGroups(this.snapshot, "auto"));
  }

  /** The kernel's groups beside the computed ones. */
  get compared(): GroupsReport {
    return (this.#compared ??= reportGroups(this.snapshot, "compare"));
  }

  /** Whether it is a virtual machine. */
  get virtual(): DoctorEvidence | undefined {
    return this.lineOf("proc/cpuinfo", /^flags\s*:.*\bhypervisor\b/) ?? this.log?.find(/Hypervisor detected: |DMI: QEMU|Booting paravirtualized kernel on KVM/);
  }
}
