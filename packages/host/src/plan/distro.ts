import { BIND_SCRIPT, MODPROBE_CONFIG, UDEV_RULES, WRITTEN_BY } from "./early-binding.ts";
import type { Distro } from "./request.ts";

/** A file to put on the host. */
export interface HostFile {
  /** Absolute path on the host. */
  readonly path: string;
  readonly text: string;
  readonly mode: 0o644 | 0o755;
}

/** Shell code of a distribution: each is a list of lines for the plan's scripts, which define run, append_block and append_words. */
export interface DistroSteps {
  readonly files: readonly HostFile[];
  /** Sets the kernel's options: edits of files first. */
  readonly setOptions: readonly string[];
  /** Takes them back, where that is no file. */
  readonly unsetOptions: readonly string[];
  /** Regenerates what is made of the files; after apply and after undo. */
  readonly regenerate: readonly string[];
  /** What the reader must do by hand. */
  readonly byHand: readonly string[];
}

const NONE: DistroSteps = { files: [], setOptions: [], unsetOptions: [], regenerate: [], byHand: [] };

const GRUB_DROP_IN = "/etc/default/grub.d/iommu-lab.cfg";

const grubLine = (options: string): string => `GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT ${options}"`;

const grubDropIn = (options: string): HostFile[] => (options === "" ? [] : [{ path: GRUB_DROP_IN, text: `# ${WRITTEN_BY}\n${grubLine(options)}\n`, mode: 0o644 }]);

const HOOK = `#!/bin/sh
# ${WRITTEN_BY}
# Puts vfio-pci, and what reserves the functions for it, into the early system.
PREREQ=""
case "\${1-}" in
prereqs)
	echo "$PREREQ"
	exit 0
	;;
esac
. /usr/share/initramfs-tools/hook-functions
for file in ${BIND_SCRIPT} ${UDEV_RULES} ${MODPROBE_CONFIG}; do
	mkdir -p "$DESTDIR$(dirname "$file")"
	cp -p "$file" "$DESTDIR$file"
done
force_load vfio_pci
force_load vfio_iommu_type1
`;

const BEFORE_UDEV = `#!/bin/sh
# ${WRITTEN_BY}
# Before udev loads any driver.
case "\${1-}" in
prereqs)
	echo ""
	exit 0
	;;
esac
/bin/sh ${BIND_SCRIPT}
`;

const initramfsTools = (): HostFile[] => [
  { path: "/etc/initramfs-tools/hooks/iommu-lab-vfio", text: HOOK, mode: 0o755 },
  { path: "/etc/initramfs-tools/scripts/init-top/00-iommu-lab-vfio", text: BEFORE_UDEV, mode: 0o755 },
];

const DRACUT_CONFIG: HostFile = {
  path: "/etc/dracut.conf.d/10-iommu-lab-vfio.conf",
  text: `# ${WRITTEN_BY}\n# The spaces inside the quotes are needed.\nforce_drivers+=" vfio vfio_iommu_type1 vfio_pci "\ninstall_items+=" ${BIND_SCRIPT} ${UDEV_RULES} ${MODPROBE_CONFIG} "\n`,
  mode: 0o644,
};

const MKINITCPIO_CONFIG: HostFile = {
  path: "/etc/mkinitcpio.conf.d/iommu-lab-vfio.conf",
  text: `# ${WRITTEN_BY}\n# Before the modules of displays; the rest of your lists is kept.\nMODULES=(vfio_pci vfio vfio_iommu_type1 "\${MODULES[@]}")\nFILES=("\${FILES[@]}" ${BIND_SCRIPT} ${UDEV_RULES} ${MODPROBE_CONFIG})\n`,
  mode: 0o644,
};

const debian = (options: string): DistroSteps => ({ ...NONE, files: [...grubDropIn(options), ...initramfsTools()], regenerate: [...(options === "" ? [] : ["run update-grub"]), "run update-initramfs -u -k all"] });

const fedora = (options: string): DistroSteps => ({
  ...NONE,
  files: [DRACUT_CONFIG],
  setOptions: options === "" ? [] : [`run grubby --update-kernel=ALL --args="${options}"`],
  unsetOptions: options === "" ? [] : [`run grubby --update-kernel=ALL --remove-args="${options}"`],
  regenerate: ["run dracut --force --regenerate-all"],
});

/** Boot loaders are told apart by their files, on the host itself. */
const arch = (options: string): DistroSteps => ({
  ...NONE,
  files: [MKINITCPIO_CONFIG],
  setOptions: options === "" ? [] : [
    "# A unified kernel image takes /etc/kernel/cmdline, systemd-boot its entries, GRUB /etc/default/grub.",
    `if [ -f "$root/etc/kernel/cmdline" ]; then append_words /etc/kernel/cmdline "" "${options}"; fi`,
    `for entry in "$root"/boot/loader/entries/*.conf "$root"/efi/loader/entries/*.conf; do`,
    `\tif [ -f "$entry" ]; then append_words "\${entry#"$root"}" options "${options}"; fi`,
    "done",
    "# The variable is GRUB's, for GRUB to expand.",
    "# shellcheck disable=SC2016",
    `if [ -f "$root/etc/default/grub" ]; then append_block /etc/default/grub '${grubLine(options)}'; fi`,
  ],
  regenerate: ["run mkinitcpio -P", ...(options === "" ? [] : [`if [ -f "$root/etc/default/grub" ]; then run grub-mkconfig -o /boot/grub/grub.cfg; fi`])],
  byHand: ["mkinitcpio's HOOKS must contain modconf, so that the early system has /etc/modprobe.d."],
});

const opensuse = (options: string): DistroSteps => ({
  ...NONE,
  files: [DRACUT_CONFIG],
  setOptions: options === "" ? [] : [
    "# systemd-boot takes /etc/kernel/cmdline, GRUB /etc/default/grub.",
    `if [ -f "$root/etc/kernel/cmdline" ]; then append_words /etc/kernel/cmdline "" "${options}"; fi`,
    "# The variable is GRUB's, for GRUB to expand.",
    "# shellcheck disable=SC2016",
    `if [ -f "$root/etc/default/grub" ]; then append_block /etc/default/grub '${grubLine(options)}'; fi`,
  ],
  regenerate: ["run dracut --force --regenerate-all", ...(options === "" ? [] : ["if command -v sdbootutil >/dev/null 2>&1; then run sdbootutil update-all-entries; else run grub2-mkconfig -o /boot/grub2/grub.cfg; fi"])],
});

const popos = (options: string): DistroSteps => ({
  ...NONE,
  files: initramfsTools(),
  setOptions: options === "" ? [] : [`run kernelstub -a "${options}"`],
  unsetOptions: options === "" ? [] : [`run kernelstub -d "${options}"`],
  regenerate: ["run update-initramfs -u -k all"],
});

const silverblue = (options: string): DistroSteps => {
  const words = options.split(" ").filter((word) => word !== "");
  const tracked = [BIND_SCRIPT, UDEV_RULES, MODPROBE_CONFIG];
  return {
    ...NONE,
    setOptions: [
      ...(words.length === 0 ? [] : [`run rpm-ostree kargs ${words.map((word) => `--append-if-missing=${word}`).join(" ")}`]),
      `run rpm-ostree initramfs --enable --arg=--force-drivers --arg="vfio vfio_iommu_type1 vfio_pci"`,
      `run rpm-ostree initramfs-etc ${tracked.map((path) => `--track=${path}`).join(" ")}`,
    ],
    unsetOptions: [
      ...(words.length === 0 ? [] : [`run rpm-ostree kargs ${words.map((word) => `--delete-if-present=${word}`).join(" ")}`]),
      `run rpm-ostree initramfs-etc ${tracked.map((path) => `--untrack=${path}`).join(" ")}`,
      "run rpm-ostree initramfs --disable",
    ],
    byHand: ["If this host already builds its own initramfs (rpm-ostree initramfs --enable), give its arguments again after undo.sh, which switches that off."],
  };
};

const proxmox = (options: string): DistroSteps => ({
  ...NONE,
  files: [...grubDropIn(options), ...initramfsTools()],
  setOptions: options === "" ? [] : ["# systemd-boot (UEFI with ZFS) takes /etc/kernel/cmdline, GRUB the file under /etc/default/grub.d.", `if [ -f "$root/etc/kernel/cmdline" ]; then append_words /etc/kernel/cmdline "" "${options}"; fi`],
  regenerate: ["run update-initramfs -u -k all", ...(options === "" ? [] : ["if command -v update-grub >/dev/null 2>&1; then run update-grub; fi"]), `if [ -e "$root/etc/kernel/proxmox-boot-uuids" ]; then run proxmox-boot-tool refresh; fi`],
});

const nixos = (): DistroSteps => ({ ...NONE, regenerate: ["run nixos-rebuild boot"], byHand: ["Add ./iommu-lab.nix to the imports of /etc/nixos/configuration.nix before apply.sh, and take it out again before undo.sh."] });

const STEPS: Readonly<Record<Distro, (options: string) => DistroSteps>> = { debian, ubuntu: debian, fedora, arch, opensuse, popos, silverblue, nixos, proxmox };

/** What a distribution needs for the kernel's options and its early system. */
export const distroSteps = (distro: Distro, options: readonly string[]): DistroSteps => STEPS[distro](options.join(" "));
