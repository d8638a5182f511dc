import { hasSysfs, readSysfs } from "@iommu-lab/host";
import { ExitCode } from "../exit-code.ts";
import { liveTree } from "../input/live-host.ts";
import { PciNames } from "../names/pci-ids.ts";
import { printable } from "../output/printable.ts";
import { print, style } from "../output/style.ts";
import { tourMachine } from "../tour/tour-machine.ts";

/** This host in a few lines. */
const hostLines = (): string[] => {
  const tree = liveTree();
  const host = hasSysfs(tree) ? readSysfs(tree) : undefined;
  if (!host) return ["This machine shows no PCI functions."];
  const iommus = host.iommus.length === 0 ? "no IOMMU in use" : `${host.iommus.length} ${host.iommus.length === 1 ? "IOMMU" : "IOMMUs"} (${host.iommus.map(printable).join(", ")})`;
  const first = `This machine: ${host.functions.length} PCI functions, ${iommus}${host.kernelRelease === undefined ? "" : `, Linux ${printable(host.kernelRelease)}`}.`;
  if (host.groups) return [first, `Its kernel made ${host.groups.size} IOMMU groups; iommu groups shows them, and why.`];
  return [first, whyNone(host.acpi)];
};

const whyNone = (acpi: ReadonlyMap<string, Uint8Array>): string =>
  acpi.has("DMAR") || acpi.has("IVRS")
    ? "Firmware offers an IOMMU and the kernel does not use it: intel_iommu=on is missing, or it was switched off."
    : acpi.size > 0
      ? "Firmware has no DMAR or IVRS table: the IOMMU is off in its setup, or there is none."
      : "Firmware's tables cannot be read here, so whether there is an IOMMU is not known.";

/** `iommu demo`: the tour. */
export const runDemo = (): ExitCode => {
  const section = (title: string, lines: readonly string[]): void => {
    print(style("bold", title));
    for (const line of lines) print(`  ${line}`);
    print("");
  };
  section("1. This host", hostLines());
  for (const { title, lines } of tourMachine(PciNames.load())) section(title, lines);
  print(`${style("bold", "What to try next")}
  iommu groups --compare                      does your kernel agree with the rules?
  iommu scenarios                             attacks, translations, interrupts, passthrough, VGA: run one
  iommu run rogue-device --iommu amd          the attack above, with and without an IOMMU, on AMD's
  sudo iommu snapshot -o host.tar.gz          capture a machine, then: iommu machine --from host.tar.gz -o host.json
  iommu boot                                  a real Linux on these models (QEMU is the processor)
  iommu --help                                everything there is`);
  return ExitCode.Fine;
};
