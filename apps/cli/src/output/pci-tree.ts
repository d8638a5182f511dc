import { busOf, formatAddress, formatRequester } from "@iommu-lab/pci-bus";
import type { HostFunction, HostSnapshot } from "@iommu-lab/host";
import { describeFunction } from "../names/describe.ts";
import type { PciNames } from "../names/pci-ids.ts";
import { printable } from "./printable.ts";
import { style } from "./style.ts";

/** A host's functions by the bridge they are below; undefined: on a root bus. */
const childrenOf = (snapshot: HostSnapshot): Map<string | undefined, HostFunction[]> => {
  const known = new Set(snapshot.functions.map((f) => formatAddress(f.address)));
  const children = new Map<string | undefined, HostFunction[]>();
  for (const f of snapshot.functions) {
    const parent = f.parent && known.has(formatAddress(f.parent)) ? formatAddress(f.parent) : undefined;
    const list = children.get(parent);
    if (list) list.push(f);
    else children.set(parent, [f]);
  }
  return children;
};

/** The tree as people draw it: root buses, and below each bridge what its secondary bus holds. */
export const pciTree = (snapshot: HostSnapshot, names: PciNames): string => {
  const children = childrenOf(snapshot);
  const lines: string[] = [];
  const seen = new Set<string>();
  const visit = (f: HostFunction, indent: string, last: boolean): void => {
    const address = formatAddress(f.address);
    if (seen.has(address)) return;
    seen.add(address);
    lines.push(`${style("dim", `${indent}${last ? "└─ " : "├─ "}`)}${style("cyan", formatRequester(f.address.requester))} ${printable(describeFunction(f, names))}${f.group === undefined ? "" : style("dim", `  group ${f.group}`)}`);
    const below = children.get(address) ?? [];
    for (const [i, child] of below.entries()) visit(child, `${indent}${last ? "   " : "│  "}`, i === below.length - 1);
  };
  const roots = children.get(undefined) ?? [];
  const buses = new Map<string, HostFunction[]>();
  for (const f of roots) {
    const bus = `${f.address.domain.toString(16).padStart(4, "0")}:${busOf(f.address.requester).toString(16).padStart(2, "0")}`;
    buses.set(bus, [...(buses.get(bus) ?? []), f]);
  }
  for (const [bus, members] of buses) {
    lines.push(style("bold", `root bus ${bus}`));
    for (const [i, f] of members.entries()) visit(f, "", i === members.length - 1);
  }
  return lines.join("\n");
};

/** The tree as JSON: a flat list, each function with its parent. */
export const pciTreeJson = (snapshot: HostSnapshot, names: PciNames): object => ({
  origin: snapshot.origin,
  functions: snapshot.functions.map((f) => ({
    address: formatAddress(f.address),
    parent: f.parent ? formatAddress(f.parent) : null,
    ...(f.physicalFunction ? { physicalFunction: formatAddress(f.physicalFunction) } : {}),
    vendor: f.vendor ?? null,
    device: f.device ?? null,
    class: f.classCode ?? null,
    name: describeFunction(f, names),
    driver: f.driver ?? null,
    group: f.group ?? null,
    configBytes: f.config?.length ?? 0,
  })),
  missing: snapshot.missing,
  warnings: snapshot.warnings,
});
