import type { MachineInput } from "@iommu-lab/pci-bus/machine";

type FunctionInput = MachineInput["hostBridges"][number]["functions"][number];
type IommuInput = Omit<MachineInput["iommus"][number], "vendor">;

/** A machine for scenarios, before its vendor and name are known. */
export type LaboratoryInput = Omit<MachineInput, "format" | "version" | "name" | "iommus"> & { readonly iommus: IommuInput[] };

/** What differs from the ordinary laboratory. */
export interface LaboratoryOptions {
  /** Of the kernel. Default: the IOMMU on. */
  readonly commandLine?: string;
  readonly kernel?: string;
  /** Default: one for everything. */
  readonly iommus?: IommuInput[];
  /** Bytes. Default 1 GiB. */
  readonly memory?: number;
  readonly processors?: number;
  readonly apic?: "xapic" | "x2apic";
  /** Functions of the root bus beside the host bridge; default: a card behind each of two root ports with ACS. */
  readonly functions?: readonly FunctionInput[];
  readonly firmware?: MachineInput["firmware"];
}

/** A card with a ring of descriptors, MSI-X and function-level reset. */
export const CARD = { at: "00.0", vendor: 0x1af4, device: 0x10f0, classCode: 0x02_0000, bars: [{ index: 0, kind: "memory64", size: 0x4000 }], capabilities: { msix: { vectors: 4 }, functionLevelReset: true, powerManagement: true }, behaviour: "stream" } as const satisfies FunctionInput;

/** A root port with something in its slot. */
export const slot = (at: string, bus: number, below: readonly FunctionInput[], more: { readonly acs?: boolean; readonly ari?: boolean; readonly subordinateBus?: number } = {}): FunctionInput => ({
  at, kind: "root-port", vendor: 0x1b36, device: 0x000c, classCode: 0x06_0400, capabilities: { acs: more.acs ?? true, ari: more.ari ?? false }, secondaryBus: bus, subordinateBus: more.subordinateBus ?? bus, below: [...below],
});

/** A machine of 1 GiB with two cards, each behind a root port of its own. */
export const laboratory = (options: LaboratoryOptions = {}): LaboratoryInput => ({
  kernel: { version: options.kernel ?? "6.12", commandLine: options.commandLine ?? "intel_iommu=on" },
  firmware: options.firmware ?? { kind: "uefi" },
  processors: { count: options.processors ?? 4, apic: options.apic ?? "x2apic" },
  memory: options.memory ?? 2 ** 30,
  iommus: options.iommus ?? [{}],
  hostBridges: [{ functions: [{ at: "00.0", vendor: 0x8086, device: 0x29c0, classCode: 0x06_0000 }, ...(options.functions ?? [slot("01.0", 1, [CARD]), slot("02.0", 2, [CARD])])] }],
});
