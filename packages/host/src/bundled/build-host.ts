import { formatAddress, parseAddress } from "@iommu-lab/pci-bus";
import { FunctionConfig, type FunctionDescription } from "@iommu-lab/pci-bus/capabilities";
import { MemoryTree } from "../tree/memory-tree.ts";

/** One function of a host to be written. */
export interface BuiltFunction extends FunctionDescription {
  /** dddd:bb:dd.f; must be on the bus of the list it stands in. */
  readonly address: string;
  readonly driver?: string;
  readonly bootVga?: boolean;
  readonly resetMethods?: string;
  /** Bytes that no capability describes, by offset: a chipset's own registers. */
  readonly raw?: Readonly<Record<number, readonly number[]>>;
  /** What its secondary bus holds; only bridges. */
  readonly secondaryBus?: number;
  readonly subordinateBus?: number;
  readonly below?: readonly BuiltFunction[];
}

/** A host to be written: what its files say. */
export interface BuiltHost {
  readonly name: string;
  /** What /proc/version says. */
  readonly version: string;
  readonly commandLine: string;
  readonly dmesg: readonly string[];
  /** Functions on root bus 0 of domain 0. */
  readonly functions: readonly BuiltFunction[];
  readonly tables: Readonly<Record<string, Uint8Array>>;
  readonly files?: Readonly<Record<string, string>>;
}

const u16 = (bytes: Uint8Array, at: number): string => `0x${((bytes[at] as number) | ((bytes[at + 1] as number) << 8)).toString(16).padStart(4, "0")}\n`;

/** The live configuration space a kernel would have left: bus numbers set, decoding on, bus mastering on. */
const configBytes = (f: BuiltFunction): Uint8Array => {
  const config = new FunctionConfig(f);
  config.write(0x04, 2, f.header === 1 ? 0x0107 : 0x0007);
  if (f.header === 1 && f.secondaryBus !== undefined) {
    config.write(0x18, 1, (parseAddress(f.address)?.requester ?? 0) >> 8);
    config.write(0x19, 1, f.secondaryBus);
    config.write(0x1a, 1, f.subordinateBus ?? f.secondaryBus);
  }
  const bytes = config.bytes.slice();
  for (const [offset, values] of Object.entries(f.raw ?? {})) bytes.set(values, Number(offset));
  return bytes;
};

const writeFunction = (tree: MemoryTree, f: BuiltFunction, folder: string): void => {
  const parsed = parseAddress(f.address);
  if (!parsed) throw new RangeError(`"${f.address}" is no PCI address.`);
  const name = formatAddress(parsed);
  const at = `${folder}/${name}`;
  const config = configBytes(f);
  tree.addLink(`sys/bus/pci/devices/${name}`, `../../../${at.slice("sys/".length)}`);
  tree.addFile(`${at}/config`, config);
  tree.addFile(`${at}/vendor`, u16(config, 0));
  tree.addFile(`${at}/device`, u16(config, 2));
  tree.addFile(`${at}/class`, `0x${f.classCode.toString(16).padStart(6, "0")}\n`);
  tree.addFile(`${at}/subsystem_vendor`, `0x${(f.subsystemVendor ?? 0).toString(16).padStart(4, "0")}\n`);
  tree.addFile(`${at}/subsystem_device`, `0x${(f.subsystemDevice ?? 0).toString(16).padStart(4, "0")}\n`);
  if (f.bootVga !== undefined) tree.addFile(`${at}/boot_vga`, f.bootVga ? "1\n" : "0\n");
  if (f.resetMethods !== undefined) tree.addFile(`${at}/reset_method`, `${f.resetMethods}\n`);
  if (f.driver !== undefined) tree.addLink(`${at}/driver`, `${"../".repeat(at.split("/").length - 1)}bus/pci/drivers/${f.driver}`);
  for (const child of f.below ?? []) writeFunction(tree, child, at);
};

/**
 * Writes a host's files from a description, in the form the kernel gives them. For hosts that are known from
 * public facts, and for what-if hosts in tests.
 * @throws RangeError when an address is none
 */
export const buildHost = (host: BuiltHost): MemoryTree => {
  const tree = new MemoryTree(host.name);
  for (const f of host.functions) writeFunction(tree, f, "sys/devices/pci0000:00");
  for (const [signature, bytes] of Object.entries(host.tables)) tree.addFile(`sys/firmware/acpi/tables/${signature}`, bytes);
  tree.addFile("proc/version", `${host.version}\n`);
  tree.addFile("proc/cmdline", `${host.commandLine}\n`);
  tree.addFile("dmesg.txt", `${host.dmesg.join("\n")}\n`);
  for (const [path, text] of Object.entries(host.files ?? {})) tree.addFile(path, text);
  return tree;
};
