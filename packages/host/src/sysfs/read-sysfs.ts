import { compareAddresses, formatAddress, parseAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { HostFunction, HostResource, HostSnapshot, MissingInput, RecordedGroup } from "../snapshot.ts";
import { baseName, readNumber, readText, realPath, type FileTree } from "../tree/file-tree.ts";

const DEVICES = "sys/bus/pci/devices";
const GROUPS = "sys/kernel/iommu_groups";
const TABLES = "sys/firmware/acpi/tables";

/** Whether the tree looks like a Linux host. */
export const hasSysfs = (tree: FileTree): boolean => tree.list(DEVICES).length > 0;

const ROOT_BUS = /^pci[0-9a-f]{4,8}:[0-9a-f]{2}$/;

/**
 * The bridge above, from a resolved path ".../0000:00:1c.0/0000:02:00.0", and the VMD endpoint that a root bus
 * hangs under: ".../0000:00:0e.0/pci10000:e0/10000:e0:06.0".
 */
const parentsFromPath = (path: string): { parent: FunctionAddress | undefined; dmaFunction: FunctionAddress | undefined; placed: boolean } => {
  const parts = path.split("/");
  const above = parts.at(-2) ?? "";
  const root = parts.findLastIndex((part) => ROOT_BUS.test(part));
  return { parent: parseAddress(above), dmaFunction: parseAddress(parts[root - 1] ?? ""), placed: parseAddress(above) !== undefined || ROOT_BUS.test(above) };
};

const readResources = (tree: FileTree, folder: string): HostResource[] | undefined => {
  const text = readText(tree, `${folder}/resource`);
  if (text === undefined) return undefined;
  return text
    .split("\n")
    .map((line) => /^(0x[0-9a-f]{1,16}) (0x[0-9a-f]{1,16}) (0x[0-9a-f]{1,16})$/i.exec(line.trim()))
    .filter((match) => match !== null)
    .map(([, start = "0", end = "0", flags = "0"]) => ({ start: BigInt(start), end: BigInt(end), flags: BigInt(flags) }));
};

const linkName = (tree: FileTree, path: string): string | undefined => {
  const target = tree.link(path);
  return target === undefined ? undefined : baseName(target);
};

const readFunction = (tree: FileTree, name: string, address: FunctionAddress): { fn: HostFunction; placed: boolean } => {
  const folder = realPath(tree, `${DEVICES}/${name}`);
  // A link that leads out of the tree or in a circle is not followed by other means.
  if (folder === undefined) return { placed: false, fn: { address, parent: undefined, vendor: undefined, device: undefined } };
  const { parent, dmaFunction, placed } = parentsFromPath(folder);
  const physical = parseAddress(linkName(tree, `${folder}/physfn`) ?? "");
  const group = linkName(tree, `${folder}/iommu_group`);
  const config = tree.read(`${folder}/config`);
  const resets = readText(tree, `${folder}/reset_method`);
  const boot = readText(tree, `${folder}/boot_vga`);
  return {
    placed,
    fn: {
      address,
      parent,
      physicalFunction: physical,
      dmaFunction,
      config: config && config.length > 0 ? config : undefined,
      vendor: readNumber(tree, `${folder}/vendor`) ?? word(config, 0),
      device: readNumber(tree, `${folder}/device`) ?? word(config, 2),
      subsystemVendor: readNumber(tree, `${folder}/subsystem_vendor`),
      subsystemDevice: readNumber(tree, `${folder}/subsystem_device`),
      classCode: readNumber(tree, `${folder}/class`) ?? classOf(config),
      revision: readNumber(tree, `${folder}/revision`) ?? config?.[8],
      driver: linkName(tree, `${folder}/driver`),
      iommu: linkName(tree, `${folder}/iommu`),
      group: group !== undefined && /^\d+$/.test(group) ? Number(group) : undefined,
      resources: readResources(tree, folder),
      resetMethods: resets?.split(" ").filter((method) => method !== ""),
      bootVga: boot === undefined ? undefined : boot.trim() === "1",
    },
  };
};

const word = (config: Uint8Array | undefined, at: number): number | undefined => (config && config.length >= at + 2 ? (config[at] as number) | ((config[at + 1] as number) << 8) : undefined);
const classOf = (config: Uint8Array | undefined): number | undefined => (config && config.length >= 12 ? ((config[11] as number) << 16) | ((config[10] as number) << 8) | (config[9] as number) : undefined);

/** Parent from bus numbers, for trees whose device folders are not links into the hierarchy. */
const parentFromBuses = (functions: readonly HostFunction[], of: HostFunction): FunctionAddress | undefined => {
  let best: HostFunction | undefined;
  for (const bridge of functions) {
    const config = bridge.config;
    if (!config || config.length < 64 || ((config[14] as number) & 0x7f) !== 1 || bridge.address.domain !== of.address.domain) continue;
    const bus = of.address.requester >> 8;
    const [secondary, subordinate] = [config[0x19] as number, config[0x1a] as number];
    if (secondary > 0 && secondary <= bus && bus <= subordinate && (!best || secondary > ((best.config as Uint8Array)[0x19] as number))) best = bridge;
  }
  return best?.address;
};

const readGroups = (tree: FileTree, functions: readonly HostFunction[]): ReadonlyMap<number, RecordedGroup> | undefined => {
  const groups = new Map<number, RecordedGroup>();
  for (const name of tree.list(GROUPS)) {
    if (!/^\d+$/.test(name)) continue;
    groups.set(Number(name), {
      id: Number(name),
      type: readText(tree, `${GROUPS}/${name}/type`),
      reservedRegions: readText(tree, `${GROUPS}/${name}/reserved_regions`)?.split("\n").filter((line) => line !== "") ?? [],
      others: tree.list(`${GROUPS}/${name}/devices`).filter((member) => !parseAddress(member)),
    });
  }
  for (const { group } of functions) if (group !== undefined && !groups.has(group)) groups.set(group, { id: group, reservedRegions: [], others: [] });
  return groups.size > 0 ? groups : undefined;
};

/** Group numbers of functions whose folder has no link, from the members listed under each group. */
const groupsFromMembers = (tree: FileTree): ReadonlyMap<string, number> => {
  const found = new Map<string, number>();
  for (const name of tree.list(GROUPS)) if (/^\d+$/.test(name)) for (const member of tree.list(`${GROUPS}/${name}/devices`)) found.set(member, Number(name));
  return found;
};

const readTables = (tree: FileTree): ReadonlyMap<string, Uint8Array> => {
  const tables = new Map<string, Uint8Array>();
  for (const name of tree.list(TABLES)) {
    const bytes = tree.read(`${TABLES}/${name}`);
    if (bytes && bytes.length >= 36) tables.set(name, bytes);
  }
  return tables;
};

const findMissing = (tree: FileTree, functions: readonly HostFunction[], tables: ReadonlyMap<string, Uint8Array>, dmesg: string | undefined): MissingInput[] => {
  const missing: MissingInput[] = [];
  const without = functions.filter((f) => !f.config);
  const short = functions.filter((f) => f.config && f.config.length < 256);
  if (without.length > 0) missing.push({ what: `configuration space of ${count(without)}`, consequence: "their capabilities, and so their isolation, are unknown" });
  if (short.length > 0) missing.push({ what: `configuration space past the first 64 bytes of ${count(short)} (read without root)`, consequence: "their capabilities, and so their isolation, are unknown" });
  if (tables.size === 0) missing.push({ what: tree.list(TABLES).length > 0 ? "ACPI tables (they are listed, but only root may read them)" : "ACPI tables", consequence: "which functions an IOMMU covers is not read from DMAR or IVRS" });
  if (dmesg === undefined) missing.push({ what: "the kernel log (dmesg)", consequence: "messages about ACS quirks and faults are not seen" });
  return missing;
};

const count = (functions: readonly HostFunction[]): string => (functions.length === 1 && functions[0] ? formatAddress(functions[0].address) : `${functions.length} functions`);

const releaseFrom = (text: string | undefined): string | undefined => /Linux version (\S+)/.exec(text ?? "")?.[1];

/** Reads a host from its /sys, /proc, ACPI tables and kernel log. Partial trees are fine; `missing` says what is not there. */
export const readSysfs = (tree: FileTree, warnings: readonly string[] = []): HostSnapshot => {
  const members = groupsFromMembers(tree);
  const read = tree
    .list(DEVICES)
    .map((name) => ({ name, address: parseAddress(name) }))
    .filter((entry): entry is { name: string; address: FunctionAddress } => entry.address !== undefined)
    .map(({ name, address }) => readFunction(tree, name, address));
  const all = read.map(({ fn }) => fn);
  const functions = read
    .map(({ fn, placed }) => ({
      ...fn,
      group: fn.group ?? members.get(formatAddress(fn.address)),
      parent: placed ? fn.parent : parentFromBuses(all, fn),
    }))
    .sort((a, b) => compareAddresses(a.address, b.address));
  const acpi = readTables(tree);
  const dmesg = readText(tree, "dmesg.txt") ?? readText(tree, "dmesg") ?? readText(tree, "var/log/dmesg");
  return {
    origin: tree.name,
    kind: "sysfs",
    files: tree,
    functions,
    groups: readGroups(tree, functions),
    acpi,
    commandLine: readText(tree, "proc/cmdline") ?? /Command line: (.*)/.exec(dmesg ?? "")?.[1],
    kernelRelease: readText(tree, "proc/sys/kernel/osrelease") ?? releaseFrom(readText(tree, "proc/version")) ?? releaseFrom(dmesg),
    dmesg,
    iommus: tree.list("sys/class/iommu"),
    missing: findMissing(tree, functions, acpi, dmesg),
    warnings,
  };
};
