import type { HostSnapshot } from "../snapshot.ts";
import { readSysfs } from "../sysfs/read-sysfs.ts";
import type { MemoryTree } from "../tree/memory-tree.ts";
import { buildHost } from "./build-host.ts";
import { capturedTree, type CapturedHost } from "./captured-host.ts";
import q35Amd from "./captured/q35-amd-iommu.json" with { type: "json" };
import q35Intel from "./captured/q35-intel-iommu.json" with { type: "json" };
import q35IntelOff from "./captured/q35-intel-iommu-off.json" with { type: "json" };
import { ivyBridgeZ68 } from "./ivy-bridge-z68.ts";

/** A host that comes with the package. */
export interface BundledHost {
  readonly name: string;
  readonly title: string;
  /** Where it comes from: captured, or written from public facts. */
  readonly provenance: string;
  readonly tree: () => MemoryTree;
}

const captured = (name: string, title: string, data: CapturedHost): BundledHost => ({ name, title, provenance: data.provenance, tree: () => capturedTree(name, data) });

/** The hosts that come with the package; the first is the one to show. */
export const bundledHosts = [
  {
    name: ivyBridgeZ68.name,
    title: "Core i7-3770 on an ASUS P8Z68-V, integrated graphics and a GeForce GTX 950",
    provenance: "Written from public facts about this machine (datasheets, the board's specification), not captured; the IOMMU is off in its command line, so the groups are what its kernel would make.",
    tree: () => buildHost(ivyBridgeZ68),
  },
  captured("q35-intel-iommu", "Virtual machine with VT-d: ports with and without ACS, a switch, a PCI bridge, virtual functions, and a host bridge that the IOMMU leaves out", q35Intel),
  captured("q35-intel-iommu-off", "The same virtual machine with intel_iommu=off: its kernel made no groups, so they are predicted", q35IntelOff),
  captured("q35-amd-iommu", "Virtual machine with AMD-Vi and iommu=pt: identity domains, and conventional PCI behind two kinds of bridges", q35Amd),
] as const satisfies readonly [BundledHost, ...BundledHost[]];

/** The files of a bundled host. @throws RangeError when there is none of that name */
export const bundledTree = (name: string): MemoryTree => {
  const host = bundledHosts.find((entry) => entry.name === name);
  if (!host) throw new RangeError(`No bundled host is named "${name}"; there are ${bundledHosts.map((entry) => entry.name).join(", ")}.`);
  return host.tree();
};

/** A bundled host, read. @throws RangeError as `bundledTree` */
export const readBundled = (name: string): HostSnapshot => readSysfs(bundledTree(name));
