import type { GuestDescription } from "./guest.ts";
import type { GuestPort, PlacedFunction } from "./guest-layout.ts";
import { nameOf } from "./host-evidence.ts";
import { shellWord } from "./quote.ts";

const hex = (value: number): string => value.toString(16);

const vfio = (bus: string, { host, device, fn, multifunction }: PlacedFunction): string[] =>
  ["-device", `vfio-pci,host=${nameOf(host)},bus=${bus},addr=${hex(device)}.${fn}${multifunction ? ",multifunction=on" : ""}${fn === 0 ? "" : ",rombar=0"}`];

const port = (each: GuestPort): string[] => {
  const id = `rp${each.index}`;
  const bus = each.bridge ? `br${each.index}` : id;
  return [
    "-device", `pcie-root-port,id=${id},chassis=${each.index},slot=${each.index},bus=pcie.0,addr=${hex(each.device)}.${each.fn}${each.multifunction ? ",multifunction=on" : ""}`,
    ...(each.bridge ? ["-device", `pcie-pci-bridge,id=${bus},bus=${id},addr=0.0`] : []),
    ...each.functions.flatMap((placed) => vfio(bus, placed)),
  ];
};

const processor = (guest: GuestDescription): string =>
  ["host", ...(guest.addressBits === undefined ? [] : ["host-phys-bits=on", `host-phys-bits-limit=${guest.addressBits}`]), ...(guest.os === "windows" ? ["hv-relaxed=on", "hv-vapic=on", "hv-spinlocks=0x1fff"] : []), ...(guest.hideHypervisor ? ["kvm=off", "hv-vendor-id=passthrough"] : [])].join(",");

/** QEMU's arguments, without the program. The guest's IOMMU comes before everything that it translates. */
const qemuArguments = (guest: GuestDescription): string[] => [
  "-name", guest.name,
  "-machine", `q35,accel=kvm${guest.iommu === "intel" ? ",kernel_irqchip=split" : ""}${guest.hugepages ? ",memory-backend=ram" : ""}`,
  "-cpu", processor(guest),
  "-smp", String(guest.processors),
  "-m", String(guest.memory),
  ...(guest.hugepages ? ["-object", `memory-backend-file,id=ram,size=${guest.memory}M,mem-path=/dev/hugepages,prealloc=on`] : []),
  "-nodefaults",
  ...(guest.iommu === "intel" ? ["-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on,aw-bits=48"] : guest.iommu === "virtio" ? ["-device", "virtio-iommu-pci,bus=pcie.0,addr=3.0"] : []),
  ...guest.layout.root.flatMap((placed) => vfio("pcie.0", placed)),
  ...guest.layout.ports.flatMap(port),
  ...(guest.ownDisplay ? ["-vga", "none", "-display", "none"] : ["-vga", "std"]),
  ...(guest.mmioWindow === undefined ? [] : ["-fw_cfg", `name=opt/ovmf/X-PciMmio64Mb,string=${guest.mmioWindow}`]),
];

/** Places of OVMF on the distributions that plans are for. */
const FIRMWARE = ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/run/libvirt/nix-ovmf/OVMF_CODE.fd", "/usr/share/pve-edk2-firmware/OVMF_CODE_4M.fd"];

const pairs = (args: readonly string[]): string[] => args.reduce<string[]>((lines, arg) => (arg.startsWith("-") || lines.length === 0 ? [...lines, shellWord(arg)] : [...lines.slice(0, -1), `${lines.at(-1) ?? ""} ${shellWord(arg)}`]), []);

/** A script that starts the guest with QEMU; further arguments are added. */
export const qemuScript = (guest: GuestDescription): string => `#!/usr/bin/env bash
# Starts the guest. OVMF_CODE and OVMF_VARS name the firmware and its variables; further arguments go to QEMU:
#   ./start-guest.sh -drive file=disk.qcow2,if=virtio -nic user
set -euo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd)
code=\${OVMF_CODE:-}
if [ -z "$code" ]; then
	for file in ${FIRMWARE.join(" ")}; do
		if [ -f "$file" ]; then code=$file; break; fi
	done
fi
if [ -z "$code" ]; then
	echo "No UEFI firmware (OVMF) found; install it or set OVMF_CODE." >&2
	exit 1
fi
vars=\${OVMF_VARS:-$here/guest-vars.fd}
if [ ! -e "$vars" ]; then
	template=\${code/CODE/VARS}
	cp -- "\${template/-code/-vars}" "$vars"
fi
exec "\${QEMU:-qemu-system-x86_64}" \\
${pairs(qemuArguments(guest)).map((line) => `\t${line} \\\n`).join("")}	-drive "if=pflash,format=raw,readonly=on,file=$code" \\
	-drive "if=pflash,format=raw,file=$vars" \\
	"$@"
`;

/** A unit that runs the script with memory enough to lock: VFIO pins all of the guest's. MEM-001. */
export const qemuService = (guest: GuestDescription): string => `[Unit]
Description=Guest ${guest.name}
After=network.target

[Service]
Type=simple
# Change this to where you keep the plan.
ExecStart=/bin/bash /etc/iommu-lab/guest/start-guest.sh
LimitMEMLOCK=infinity

[Install]
WantedBy=multi-user.target
`;
