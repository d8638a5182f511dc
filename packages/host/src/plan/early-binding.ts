import type { HostFunction } from "../snapshot.ts";
import { classOf, nameOf } from "./host-evidence.ts";

/** Where the plan's files live on the host. */
export const BIND_SCRIPT = "/etc/iommu-lab/vfio-bind.sh";
export const UDEV_RULES = "/etc/udev/rules.d/10-iommu-lab-vfio.rules";
export const MODPROBE_CONFIG = "/etc/modprobe.d/iommu-lab-vfio.conf";
export const MODULES_LOAD = "/etc/modules-load.d/iommu-lab-vfio.conf";
export const HUGEPAGES_CONFIG = "/etc/sysctl.d/80-iommu-lab-hugepages.conf";

export const WRITTEN_BY = "Written by iommu plan; its undo.sh removes it.";

/** Drivers of the host that would take such a function first. */
const RIVALS: readonly (readonly [vendor: number | undefined, base: number, sub: number | undefined, drivers: readonly string[]])[] = [
  [0x10de, 0x03, undefined, ["nvidia", "nouveau"]],
  [0x1002, 0x03, undefined, ["amdgpu", "radeon"]],
  [0x8086, 0x03, undefined, ["i915", "xe"]],
  [undefined, 0x04, 0x03, ["snd_hda_intel"]],
  [undefined, 0x0c, 0x03, ["xhci_pci"]],
  [0x10de, 0x0c, 0x80, ["i2c_nvidia_gpu"]],
  [undefined, 0x01, 0x08, ["nvme"]],
];

/** Names of sysfs's `driver` link that differ from the module's. */
const MODULE_OF: Readonly<Record<string, string>> = { xhci_hcd: "xhci_pci", ehci_pci: "ehci_pci", nvidia: "nvidia" };
const NEVER = new Set(["vfio_pci", "pci_stub", "pcieport"]);

/** Modules that must not be loaded before vfio-pci. A driver's name that is no module name is passed over. */
export const rivalDrivers = (functions: readonly HostFunction[]): string[] => {
  const drivers = functions.flatMap((f) => {
    const known = RIVALS.flatMap(([vendor, base, sub, names]) => ((vendor === undefined || f.vendor === vendor) && classOf(f) >>> 8 === base && (sub === undefined || (classOf(f) & 0xff) === sub) ? names : []));
    const own = f.driver !== undefined && /^[\w-]{1,60}$/.test(f.driver) ? [f.driver.replaceAll("-", "_")] : [];
    return [...own.map((name) => MODULE_OF[name] ?? name), ...known];
  });
  return [...new Set(drivers)].filter((name) => !NEVER.has(name)).sort();
};

/** A POSIX shell script that reserves the functions, by address, for vfio-pci. Runs in the early system too: only built-ins of sh. */
export const bindScript = (functions: readonly HostFunction[]): string => `#!/bin/sh
# ${WRITTEN_BY}
# Reserves these functions for vfio-pci by address, then loads it. modprobe runs this in place of loading vfio-pci.
reserve() {
	if [ -e "/sys/bus/pci/devices/$1/driver_override" ]; then
		echo vfio-pci > "/sys/bus/pci/devices/$1/driver_override"
	else
		echo "vfio-bind.sh: $1 is not there" >&2
	fi
}
probe() {
	if [ -e "/sys/bus/pci/devices/$1" ] && [ ! -e "/sys/bus/pci/devices/$1/driver" ] && [ -e /sys/bus/pci/drivers/vfio-pci ]; then
		echo "$1" > /sys/bus/pci/drivers_probe
	fi
}
${functions.map((f) => `reserve ${nameOf(f)}\n`).join("")}if [ "\${1-}" = load ]; then
	modprobe --ignore-install vfio-pci
fi
${functions.map((f) => `probe ${nameOf(f)}\n`).join("")}`;

export const udevRules = (functions: readonly HostFunction[]): string =>
  `# ${WRITTEN_BY}\n${functions.map((f) => `ACTION=="add", SUBSYSTEM=="pci", KERNEL=="${nameOf(f)}", ATTR{driver_override}="vfio-pci"\n`).join("")}`;

/** Order of loading and options; nothing here goes by device ids, which identical cards share. */
export const modprobeConfig = (functions: readonly HostFunction[], options: readonly string[], builtIn: boolean): string => {
  const lines = [`# ${WRITTEN_BY}`];
  if (!builtIn) {
    lines.push(`install vfio-pci /bin/sh ${BIND_SCRIPT} load`);
    if (options.length > 0) lines.push(`options vfio-pci ${options.join(" ")}`);
    lines.push(...rivalDrivers(functions).map((driver) => `softdep ${driver} pre: vfio-pci`));
  } else lines.push("# vfio-pci is part of this kernel: its options are on the kernel's command line, and the early system reserves the functions.");
  return `${lines.join("\n")}\n`;
};

export const modulesLoad = (): string => `# ${WRITTEN_BY}\nvfio-pci\n`;

export const hugepagesConfig = (memory: number): string => `# ${WRITTEN_BY}\n# ${memory} MiB in pages of 2 MiB.\nvm.nr_hugepages = ${Math.ceil(memory / 2)}\n`;
