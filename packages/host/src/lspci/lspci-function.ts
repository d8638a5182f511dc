import type { FunctionAddress } from "@iommu-lab/pci-bus";

/** One capability as lspci prints it. */
export interface LspciCapability {
  /** Offset in configuration space; 0x100 and up: extended. */
  readonly offset: number;
  /** Version of an extended capability. */
  readonly version?: number | undefined;
  /** The rest of the `Capabilities:` line, wrapped parts joined. */
  readonly title: string;
  /** The lines below it, trimmed, wrapped parts joined. */
  readonly lines: readonly string[];
}

/** One function as an lspci text shows it; what the text does not show is undefined. */
export interface LspciFunction {
  readonly address: FunctionAddress;
  /** The title line without the address. */
  readonly title: string;
  /** Class name, such as "PCI bridge". */
  readonly className?: string | undefined;
  /** Vendor and device name in one, as printed. */
  readonly name?: string | undefined;
  /** 24 bits where the programming interface is printed, else its low byte is 0. */
  readonly classCode?: number | undefined;
  readonly vendor?: number | undefined;
  readonly device?: number | undefined;
  readonly subsystemVendor?: number | undefined;
  readonly subsystemDevice?: number | undefined;
  readonly revision?: number | undefined;
  /** "denied": `<access denied>`, the text was not made as root; "not-shown": no -v. */
  readonly capabilitiesShown: "yes" | "denied" | "not-shown";
  readonly capabilities: readonly LspciCapability[];
  /** PCI Express device/port type, 0 to 15, from the Express capability's title. */
  readonly portType?: number | undefined;
  /** From "Access Control Services": capability and control words where their lines are printed (-vv). */
  readonly acs?: { readonly offset: number; readonly capability: number | undefined; readonly control: number | undefined } | undefined;
  /** Bridges. */
  readonly buses?: { readonly primary: number; readonly secondary: number; readonly subordinate: number } | undefined;
  readonly iommuGroup?: number | undefined;
  readonly driver?: string | undefined;
  readonly modules?: readonly string[] | undefined;
  /** From the SR-IOV capability of a physical function. */
  readonly virtualFunctions?: { readonly count: number; readonly offset: number; readonly stride: number } | undefined;
  /** The hex dump of -x, -xxx or -xxxx, as many bytes as stand there. */
  readonly config?: Uint8Array | undefined;
}

/** One machine's functions in one text. */
export interface LspciHost {
  readonly functions: readonly LspciFunction[];
  /** Parent-child relations drawn by -t, child to parent, where the text has a tree. */
  readonly tree?: ReadonlyMap<string, string> | undefined;
  /** What else the same text shows. */
  readonly commandLine?: string | undefined;
  readonly kernelRelease?: string | undefined;
  readonly dmesg?: string | undefined;
  /** Groups from a listing of /sys/kernel/iommu_groups in the text: address text to number. */
  readonly groupListing?: ReadonlyMap<string, number> | undefined;
  /** What is damaged or odd: a sentence each. */
  readonly warnings: readonly string[];
}
