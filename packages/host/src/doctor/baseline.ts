import { formatAddress } from "@iommu-lab/pci-bus";
import type { HostSnapshot } from "../snapshot.ts";
import { readText } from "../tree/file-tree.ts";

/** Something that is not as it was. */
export interface BaselineChange {
  /** "kernel", "firmware", "command line", "IOMMU", "function dddd:bb:dd.f" or "group of dddd:bb:dd.f". */
  readonly what: string;
  readonly before: string;
  readonly after: string;
}

const NOT_SHOWN = "not shown";

const firmwareOf = ({ files }: HostSnapshot): string => {
  const parts = files ? ["bios_vendor", "bios_version", "bios_date"].map((name) => readText(files, `sys/class/dmi/id/${name}`)?.trim()).filter((text) => text !== undefined && text !== "") : [];
  return parts.length > 0 ? parts.join(" ") : NOT_SHOWN;
};

/** The other members of each function's group. */
const companions = (snapshot: HostSnapshot): ReadonlyMap<string, string> => {
  const members = new Map<number, string[]>();
  for (const { address, group } of snapshot.functions) if (group !== undefined) members.set(group, [...(members.get(group) ?? []), formatAddress(address)]);
  return new Map(snapshot.functions.map(({ address, group }) => [formatAddress(address), group === undefined ? "in no group" : (members.get(group) ?? []).join(" ")]));
};

/** What changed between two snapshots of a host: numbers of groups do not count, their members do. */
export const compareWithBaseline = (before: HostSnapshot, after: HostSnapshot): BaselineChange[] => {
  const changes: BaselineChange[] = [];
  const add = (what: string, a: string | undefined, b: string | undefined): void => {
    if (a !== b && a !== NOT_SHOWN && b !== NOT_SHOWN) changes.push({ what, before: a ?? "none", after: b ?? "none" });
  };
  add("kernel", before.kernelRelease ?? NOT_SHOWN, after.kernelRelease ?? NOT_SHOWN);
  add("firmware", firmwareOf(before), firmwareOf(after));
  add("command line", before.commandLine ?? NOT_SHOWN, after.commandLine ?? NOT_SHOWN);
  if (before.kind === "sysfs" && after.kind === "sysfs") add("IOMMU", before.iommus.join(" ") || "off", after.iommus.join(" ") || "off");
  const [old, now] = [companions(before), companions(after)];
  const shown = before.groups !== undefined && after.groups !== undefined;
  for (const name of [...new Set([...old.keys(), ...now.keys()])].sort()) {
    if (old.has(name) !== now.has(name)) add(`function ${name}`, old.has(name) ? "there" : "absent", now.has(name) ? "there" : "absent");
    else if (shown) add(`group of ${name}`, old.get(name), now.get(name));
  }
  return changes;
};
