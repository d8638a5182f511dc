import type { HostFunction } from "../snapshot.ts";
import { rivalDrivers, udevRules, WRITTEN_BY } from "./early-binding.ts";
import { nameOf } from "./host-evidence.ts";
import { nixString } from "./quote.ts";

/** What the module sets. */
export interface NixosInput {
  readonly functions: readonly HostFunction[];
  readonly kernelOptions: readonly string[];
  readonly vfioOptions: readonly string[];
  /** MiB; undefined without huge pages. */
  readonly hugepages: number | undefined;
}

const indented = (text: string): string => text.trimEnd().split("\n").map((line) => `    ${line}`).join("\n");

/** A NixOS module: the same as the files of other distributions. */
export const nixosModule = ({ functions, kernelOptions, vfioOptions, hugepages }: NixosInput): string => {
  const modprobe = [...(vfioOptions.length > 0 ? [`options vfio-pci ${vfioOptions.join(" ")}`] : []), ...rivalDrivers(functions).map((driver) => `softdep ${driver} pre: vfio-pci`)];
  return `# ${WRITTEN_BY}
{ config, lib, ... }:
{
  boot.kernelParams = [ ${kernelOptions.map(nixString).join(" ")} ];
  # Before the modules of displays.
  boot.initrd.kernelModules = lib.mkBefore [ "vfio_pci" "vfio" "vfio_iommu_type1" ];
  boot.extraModprobeConfig = ''
${indented(modprobe.join("\n"))}
  '';
  # By address, in the early system and later.
  boot.initrd.preDeviceCommands = lib.mkIf (!config.boot.initrd.systemd.enable) ''
    for address in ${functions.map(nameOf).join(" ")}; do
      echo vfio-pci > /sys/bus/pci/devices/$address/driver_override
    done
  '';
  boot.initrd.services.udev.rules = ''
${indented(udevRules(functions))}
  '';
  services.udev.extraRules = ''
${indented(udevRules(functions))}
  '';
${hugepages === undefined ? "" : `  boot.kernel.sysctl."vm.nr_hugepages" = ${Math.ceil(hugepages / 2)};\n`}}
`;
};
