import { formatAddress } from "@iommu-lab/pci-bus";
import type { GroupsReport, MemoryTree } from "../src/index.ts";

/** Takes the kernel's groups out of a host's files; with `units` also which IOMMU each function was linked to. */
export const hideAnswers = (tree: MemoryTree, units: boolean): MemoryTree => {
  tree.remove("sys/kernel/iommu_groups");
  if (units) tree.remove("sys/class/iommu");
  for (const path of tree.paths()) if (path.endsWith("/iommu_group") || (units && path.endsWith("/iommu"))) tree.remove(path);
  const dmesg = tree.read("dmesg.txt");
  if (dmesg) tree.addFile("dmesg.txt", new TextDecoder().decode(dmesg).replace(/^.*Adding to iommu group.*\n/gm, ""));
  return tree;
};

/** A partition as sorted lines, for comparison; `only` keeps the functions of a set. */
export const partitionOf = (report: GroupsReport, only?: ReadonlySet<string>): string[] =>
  report.groups
    .map(({ devices }) => devices.map(formatAddress).filter((address) => !only || only.has(address)).sort().join(" "))
    .filter((line) => line !== "")
    .sort();
