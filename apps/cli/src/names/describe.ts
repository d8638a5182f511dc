import type { HostFunction } from "@iommu-lab/host";
import type { PciNames } from "./pci-ids.ts";

const digits = (value: number | undefined): string => (value === undefined ? "????" : value.toString(16).padStart(4, "0"));

/** "VGA compatible controller: NVIDIA Corporation GM206 [10de:1402]": what a person calls a function. */
export const describeFunction = (f: HostFunction, names: PciNames): string => {
  const className = (f.classCode === undefined ? undefined : names.className(f.classCode >>> 8)) ?? f.printed?.className ?? (f.classCode === undefined ? "Unknown class" : `Class ${digits(f.classCode >>> 8)}`);
  const known = f.vendor !== undefined && f.device !== undefined ? names.device(f.vendor, f.device) : undefined;
  const name = known ?? f.printed?.name ?? "device";
  return `${className}: ${name} [${digits(f.vendor)}:${digits(f.device)}]`;
};
