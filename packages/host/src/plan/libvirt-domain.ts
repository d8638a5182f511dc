import type { GuestDescription } from "./guest.ts";
import { addressParts } from "./guest.ts";
import type { GuestPort, PlacedFunction } from "./guest-layout.ts";
import { atLeast, type LibvirtVersion } from "./request.ts";
import { element, xmlDocument, type XmlElement } from "./xml.ts";

const QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0";

const hex = (value: number, digits: number): string => `0x${value.toString(16).padStart(digits, "0")}`;
const on = (value: boolean): "on" | undefined => (value ? "on" : undefined);

const pciAddress = (bus: number, device: number, fn: number, multifunction: boolean): XmlElement =>
  element("address", { type: "pci", domain: "0x0000", bus: hex(bus, 2), slot: hex(device, 2), function: hex(fn, 1), multifunction: on(multifunction) });

const hostdev = (bus: number, { host, device, fn, multifunction }: PlacedFunction): XmlElement => {
  const [domain, hostBus, slot, hostFn] = addressParts(host);
  return element("hostdev", { mode: "subsystem", type: "pci", managed: "yes" },
    element("driver", { name: "vfio" }),
    element("source", {}, element("address", { domain: `0x${domain}`, bus: `0x${hostBus}`, slot: `0x${slot}`, function: `0x${hostFn}` })),
    // Only function 0 of a card has a ROM worth looking for.
    element("rom", { bar: fn === 0 ? "on" : "off" }),
    pciAddress(bus, device, fn, multifunction));
};

const rootPort = ({ index, device, fn, multifunction }: GuestPort): XmlElement =>
  element("controller", { type: "pci", index: String(index), model: "pcie-root-port" }, element("model", { name: "pcie-root-port" }), element("target", { chassis: String(index), port: hex((device << 3) | fn, 2) }), pciAddress(0, device, fn, multifunction));

/** Controllers of the assigned functions, then those functions. */
const pciDevices = ({ layout }: GuestDescription): XmlElement[] => {
  const bridged = layout.ports.filter(({ bridge }) => bridge);
  const busOf = (port: GuestPort): number => (port.bridge ? layout.ports.length + 1 + bridged.indexOf(port) : port.index);
  return [
    element("controller", { type: "pci", index: "0", model: "pcie-root" }),
    ...layout.ports.map(rootPort),
    ...bridged.map((port) => element("controller", { type: "pci", index: String(busOf(port)), model: "pcie-to-pci-bridge" }, element("model", { name: "pcie-pci-bridge" }), pciAddress(port.index, 0, 0, false))),
    ...layout.root.map((placed) => hostdev(0, placed)),
    ...layout.ports.flatMap((port) => port.functions.map((placed) => hostdev(busOf(port), placed))),
  ];
};

const osElement = ({ os }: GuestDescription, version: LibvirtVersion): XmlElement =>
  element("os", { firmware: "efi" },
    element("type", { arch: "x86_64", machine: "q35" }, "hvm"),
    // Cards' own UEFI drivers need not be signed by a key that is enrolled.
    os === "linux" && atLeast(version, [7, 2]) ? element("firmware", {}, element("feature", { enabled: "no", name: "enrolled-keys" }), element("feature", { enabled: "no", name: "secure-boot" })) : undefined);

const features = (guest: GuestDescription): XmlElement =>
  element("features", {},
    element("acpi"),
    element("apic"),
    guest.os === "windows" ? element("hyperv", {}, element("relaxed", { state: "on" }), element("vapic", { state: "on" }), element("spinlocks", { state: "on", retries: "8191" }), guest.hideHypervisor ? element("vendor_id", { state: "on", value: "passthrough" }) : undefined) : undefined,
    guest.hideHypervisor ? element("kvm", {}, element("hidden", { state: "on" })) : undefined,
    // Interrupt remapping for the guest needs its I/O APIC in QEMU.
    guest.iommu === "intel" ? element("ioapic", { driver: "qemu" }) : undefined);

const addressLimit = ({ addressBits }: GuestDescription, version: LibvirtVersion): XmlElement | undefined => {
  if (addressBits === undefined || !atLeast(version, [8, 7])) return undefined;
  return atLeast(version, [9, 3]) ? element("maxphysaddr", { mode: "passthrough", limit: String(addressBits) }) : element("maxphysaddr", { mode: "emulate", bits: String(addressBits) });
};

const cpu = (guest: GuestDescription, version: LibvirtVersion): XmlElement => element("cpu", { mode: "host-passthrough", check: "none", migratable: atLeast(version, [6, 5]) ? "off" : undefined }, addressLimit(guest, version));

const guestIommu = ({ iommu }: GuestDescription, version: LibvirtVersion): XmlElement[] => {
  if (iommu === "intel") return [element("iommu", { model: "intel" }, element("driver", { intremap: "on", caching_mode: "on", eim: "on", iotlb: "on", aw_bits: atLeast(version, [6, 5]) ? "48" : undefined }))];
  return iommu === "virtio" ? [element("iommu", { model: "virtio" })] : [];
};

const ordinaryDevices = ({ name, os, ownDisplay }: GuestDescription): XmlElement[] => [
  element("disk", { type: "file", device: "disk" }, element("driver", { name: "qemu", type: "qcow2" }), element("source", { file: `/var/lib/libvirt/images/${name}.qcow2` }), element("target", os === "windows" ? { dev: "sda", bus: "sata" } : { dev: "vda", bus: "virtio" })),
  element("interface", { type: "network" }, element("source", { network: "default" }), element("model", { type: os === "windows" ? "e1000e" : "virtio" })),
  ...(ownDisplay ? [] : [element("graphics", { type: "vnc", port: "-1", autoport: "yes" })]),
  element("video", {}, element("model", { type: ownDisplay ? "none" : "vga" })),
  // A balloon cannot take back memory that a device may write to.
  element("memballoon", { model: "none" }),
];

const commandLine = ({ mmioWindow }: GuestDescription): XmlElement[] =>
  mmioWindow === undefined ? [] : [element("qemu:commandline", {}, element("qemu:arg", { value: "-fw_cfg" }), element("qemu:arg", { value: `name=opt/ovmf/X-PciMmio64Mb,string=${mmioWindow}` }))];

/** A whole libvirt domain, with nothing in it that this version of libvirt does not know. */
export const libvirtDomain = (guest: GuestDescription, version: LibvirtVersion): string => {
  const more = commandLine(guest);
  return xmlDocument(element("domain", { type: "kvm", "xmlns:qemu": more.length > 0 ? QEMU_NAMESPACE : undefined },
    element("name", {}, guest.name),
    element("memory", { unit: "MiB" }, String(guest.memory)),
    guest.hugepages ? element("memoryBacking", {}, element("hugepages")) : undefined,
    element("vcpu", {}, String(guest.processors)),
    osElement(guest, version),
    features(guest),
    cpu(guest, version),
    element("devices", {}, pciDevices(guest), ordinaryDevices(guest), guestIommu(guest, version)),
    more));
};
