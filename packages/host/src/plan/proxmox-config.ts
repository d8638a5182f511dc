import type { GuestDescription } from "./guest.ts";
import { nameOf } from "./host-evidence.ts";

/** Lines for /etc/pve/qemu-server/VMID.conf. Each hostpci line is a slot of the guest. */
export const proxmoxConfig = (guest: GuestDescription): string => {
  const slots = [...guest.layout.root.map((placed) => [placed]), ...guest.layout.ports.map(({ functions }) => functions)];
  const lines = [
    `# Guest ${guest.name}: take these lines into /etc/pve/qemu-server/VMID.conf of a VM that has its disks and network already.`,
    `machine: q35${guest.iommu === "none" ? "" : `,viommu=${guest.iommu}`}`,
    "bios: ovmf",
    `ostype: ${guest.os === "windows" ? "win11" : "l26"}`,
    `cpu: host${guest.hideHypervisor ? ",hidden=1,hv-vendor-id=passthrough" : ""}${guest.addressBits === undefined ? "" : `,phys-bits=${guest.addressBits}`}`,
    `cores: ${guest.processors}`,
    `memory: ${guest.memory}`,
    "balloon: 0",
    // Proxmox VE starts no guest with huge pages unless NUMA is on.
    ...(guest.hugepages ? ["numa: 1", "hugepages: 2"] : []),
    ...slots.map((functions, i) => `hostpci${i}: ${functions.map(({ host }) => nameOf(host)).join(";")},pcie=1`),
    ...(guest.ownDisplay ? ["vga: none"] : []),
    ...(guest.mmioWindow === undefined ? [] : [`args: -fw_cfg name=opt/ovmf/X-PciMmio64Mb,string=${guest.mmioWindow}`]),
  ];
  return `${lines.join("\n")}\n`;
};
