import { bundledHosts, readBundled } from "@iommu-lab/host/bundled";
import { hasSysfs, readSysfs, reportGroups } from "@iommu-lab/host";
import { ExitCode } from "../exit-code.ts";
import { liveTree } from "../input/live-host.ts";
import { PciNames } from "../names/pci-ids.ts";
import { groupsText } from "../output/groups-text.ts";
import { print, style } from "../output/style.ts";

/** `iommu demo`: what this machine's IOMMU makes of its devices; on a machine without one, a bundled host. */
export const runDemo = (): ExitCode => {
  const names = PciNames.load();
  const tree = liveTree();
  const live = hasSysfs(tree) ? readSysfs(tree) : undefined;
  if (live?.groups) {
    print(`This machine has ${live.iommus.length} IOMMU ${live.iommus.length === 1 ? "unit" : "units"} (${live.iommus.join(", ") || "not named in /sys/class/iommu"}).`);
    print(groupsText(reportGroups(live), live, names));
  } else {
    const host = bundledHosts[0];
    print(live ? `This machine has ${live.functions.length} PCI functions, but its kernel made no IOMMU groups: ${whyNone(live.acpi)}.` : "This machine shows no PCI functions.");
    print(style("bold", `\nInstead, a bundled host: ${host.title}.`));
    print(`${host.provenance}\n`);
    const snapshot = readBundled(host.name);
    print(groupsText(reportGroups(snapshot, "auto"), snapshot, names));
  }
  print(`\n${style("bold", "What to try next")}
  iommu groups --compare                      does the kernel agree with the rules?
  iommu pci                                   the PCI tree; iommu pci 00:01.0 decodes one function
  sudo iommu snapshot -o host.tar.gz          capture a machine, then: iommu groups --from host.tar.gz
  lspci -D -nn -vvv | iommu groups --from -   from lspci text, also as people paste it
  iommu --help                                everything there is`);
  return ExitCode.Fine;
};

const whyNone = (acpi: ReadonlyMap<string, Uint8Array>): string =>
  acpi.has("DMAR") || acpi.has("IVRS") ? "firmware offers an IOMMU, the kernel does not use it (intel_iommu=on is missing, or it was switched off)" : acpi.size > 0 ? "firmware has no DMAR or IVRS table, so the IOMMU is off in its setup or not there" : "firmware's tables cannot be read here, so whether there is an IOMMU is not known";
