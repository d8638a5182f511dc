import type { FunctionAddress } from "@iommu-lab/pci-bus";
import type { FileTree } from "./tree/file-tree.ts";
import type { LspciFunction } from "./lspci/lspci-function.ts";

/** One decoded line of a function's `resource` file: start and end inclusive, flags as the kernel prints them. */
export interface HostResource {
  readonly start: bigint;
  readonly end: bigint;
  readonly flags: bigint;
}

/** One PCI function of a real host, as far as the source shows it. */
export interface HostFunction {
  readonly address: FunctionAddress;
  /** The bridge above it: from the sysfs path, else from bus numbers; undefined on a root bus. */
  readonly parent: FunctionAddress | undefined;
  readonly physicalFunction?: FunctionAddress | undefined;
  /** The VMD endpoint whose requester ID its DMA carries, for functions of a VMD domain. */
  readonly dmaFunction?: FunctionAddress | undefined;
  /** Configuration space as far as it could be read: 64 bytes without root, 256, or 4096. */
  readonly config?: Uint8Array | undefined;
  /** What an lspci text printed about it. */
  readonly printed?: LspciFunction | undefined;
  readonly vendor: number | undefined;
  readonly device: number | undefined;
  readonly subsystemVendor?: number | undefined;
  readonly subsystemDevice?: number | undefined;
  /** 24 bits. */
  readonly classCode?: number | undefined;
  readonly revision?: number | undefined;
  readonly driver?: string | undefined;
  /** The IOMMU unit the kernel linked it to, such as "dmar0". */
  readonly iommu?: string | undefined;
  /** Number of the IOMMU group the kernel put it in. */
  readonly group?: number | undefined;
  readonly resources?: readonly HostResource[] | undefined;
  readonly resetMethods?: readonly string[] | undefined;
  readonly bootVga?: boolean | undefined;
}

/** An IOMMU group as the kernel shows it. */
export interface RecordedGroup {
  readonly id: number;
  /** "DMA", "DMA-FQ", "identity", … */
  readonly type?: string | undefined;
  readonly reservedRegions: readonly string[];
  /** Members that are no PCI functions, such as "AMDI0020:00". */
  readonly others: readonly string[];
}

/** Something the source does not contain, and what follows from that. */
export interface MissingInput {
  readonly what: string;
  readonly consequence: string;
}

/** A real host, read from any source. Nothing in it is guessed: what is not there is in `missing`. */
export interface HostSnapshot {
  /** Where it was read from, for messages. */
  readonly origin: string;
  readonly kind: "sysfs" | "lspci";
  readonly functions: readonly HostFunction[];
  /** The kernel's groups by number; undefined when the source does not show any. */
  readonly groups: ReadonlyMap<number, RecordedGroup> | undefined;
  /** ACPI tables by signature; a second one of a kind gets a number. */
  readonly acpi: ReadonlyMap<string, Uint8Array>;
  readonly commandLine: string | undefined;
  /** Kernel release, such as "6.1.0-56-amd64". */
  readonly kernelRelease: string | undefined;
  readonly dmesg: string | undefined;
  /** IOMMU units under /sys/class/iommu, such as "dmar0". */
  readonly iommus: readonly string[];
  /** The files it was read from; undefined for a text. */
  readonly files?: FileTree | undefined;
  readonly missing: readonly MissingInput[];
  readonly warnings: readonly string[];
}

/** The input is none of the things that can be read, or is too damaged. */
export class SnapshotError extends Error {
  override readonly name = "SnapshotError";
}
