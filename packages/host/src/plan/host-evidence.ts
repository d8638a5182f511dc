import { formatAddress } from "@iommu-lab/pci-bus";
import { decodeDmar, DmarError, type DmarTable } from "@iommu-lab/iommu-intel/dmar";
import { reportGroups, type GroupsReport } from "../groups/groups-report.ts";
import type { HostFunction, HostSnapshot } from "../snapshot.ts";
import { readText, realPath } from "../tree/file-tree.ts";

/** Header type 1 or 2: the kernel passes it over when it asks whether a group can be assigned. */
export const isBridge = (f: HostFunction): boolean => (f.config && f.config.length > 14 ? ((f.config[14] as number) & 0x7f) !== 0 : (f.classCode ?? 0) >>> 8 === 0x0604 || f.printed?.buses !== undefined);

/** Class and subclass, 16 bits; 0 when unknown. */
export const classOf = (f: HostFunction): number => (f.classCode ?? 0) >>> 8;

export const isDisplay = (f: HostFunction): boolean => classOf(f) >>> 8 === 0x03;

/** Integrated Intel graphics. */
export const isIgd = (f: HostFunction): boolean => isDisplay(f) && f.vendor === 0x8086 && formatAddress(f.address) === "0000:00:02.0";

export const nameOf = (f: HostFunction): string => formatAddress(f.address);

const dmarOf = (snapshot: HostSnapshot): DmarTable | undefined => {
  const bytes = snapshot.acpi.get("DMAR");
  try {
    return bytes && decodeDmar(bytes);
  } catch (error) {
    if (error instanceof DmarError) return undefined;
    throw error;
  }
};

/** What a snapshot shows of its host, as far as plans ask. */
export class HostEvidence {
  readonly snapshot: HostSnapshot;
  readonly dmar: DmarTable | undefined;
  readonly #options: readonly string[];
  #groups: GroupsReport | undefined;

  constructor(snapshot: HostSnapshot) {
    this.snapshot = snapshot;
    this.dmar = dmarOf(snapshot);
    this.#options = (snapshot.commandLine ?? "").split(/\s+/).filter((word) => word !== "");
  }

  /** The kernel's groups, else the computed ones. */
  get groups(): GroupsReport {
    return (this.#groups ??= reportGroups(this.snapshot, "auto"));
  }

  /** A file of the host as text. */
  text(path: string): string | undefined {
    const { files } = this.snapshot;
    const real = files && realPath(files, path);
    return files && real !== undefined ? readText(files, real) : undefined;
  }

  /** The first kernel option that matches. */
  option(pattern: RegExp): string | undefined {
    return this.#options.find((word) => pattern.test(word));
  }

  /** Whether the kernel translates DMA now; undefined when it is not shown. */
  get active(): boolean | undefined {
    const { iommus, groups, kind, dmesg = "" } = this.snapshot;
    if (iommus.length > 0 || (groups && groups.size > 0) || /DMAR: Intel\(R\) Virtualization Technology for Directed I\/O|Adding to iommu group \d/.test(dmesg)) return true;
    return kind === "sysfs" || /DMAR: IOMMU disabled|DMAR: No DMAR devices found/.test(dmesg) ? false : undefined;
  }

  /** Whose IOMMU it is, or would be. */
  get vendor(): "intel" | "amd" | undefined {
    const { acpi, iommus } = this.snapshot;
    if (acpi.has("DMAR") || iommus.some((name) => name.startsWith("dmar"))) return "intel";
    if (acpi.has("IVRS") || iommus.some((name) => name.startsWith("ivhd"))) return "amd";
    const cpu = /^vendor_id\s*:\s*(\S+)/m.exec(this.text("proc/cpuinfo") ?? "")?.[1];
    if (cpu === "GenuineIntel") return "intel";
    if (cpu === "AuthenticAMD" || cpu === "HygonGenuine") return "amd";
    const root = this.snapshot.functions.find((f) => nameOf(f) === "0000:00:00.0")?.vendor;
    return root === 0x8086 ? "intel" : root === 0x1022 ? "amd" : undefined;
  }

  /** Kernel version, [major, minor]. */
  get kernel(): readonly [number, number] | undefined {
    const match = /^(\d+)\.(\d+)/.exec(this.snapshot.kernelRelease ?? "");
    return match ? [Number(match[1]), Number(match[2])] : undefined;
  }

  /** The host's memory in MiB. */
  get memory(): number | undefined {
    const match = /^MemTotal:\s*(\d+) kB/m.exec(this.text("proc/meminfo") ?? "");
    return match ? Math.floor(Number(match[1]) / 1024) : undefined;
  }

  /** Members of the function's group other than itself; undefined when the group cannot be told. */
  groupOf(f: HostFunction): readonly HostFunction[] | undefined {
    const name = nameOf(f);
    const group = this.groups.groups.find(({ devices }) => devices.some((address) => formatAddress(address) === name));
    if (!group) return undefined;
    const members = new Set(group.devices.map(formatAddress));
    return this.snapshot.functions.filter((other) => other !== f && members.has(nameOf(other)));
  }
}
