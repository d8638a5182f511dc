/** Hosts of examples, written as lspci prints them; made up, but of the kind that people show. */
const port = (at: string, name: string, bus: string, last: string, lines: readonly string[]): string =>
  [`${at} PCI bridge [0604]: ${name}`, `\tBus: primary=00, secondary=${bus}, subordinate=${last}, sec-latency=0`, ...lines.map((line) => `\t${line}`), "\tKernel driver in use: pcieport"].join("\n");
const endpoint = (at: string, title: string, group: number, driver: string): string =>
  [`${at} ${title}`, `\tIOMMU group: ${group}`, "\tCapabilities: [60] Express (v2) Legacy Endpoint, MSI 00", `\tKernel driver in use: ${driver}`].join("\n");
const ROOT_PORT = "Capabilities: [a0] Express (v2) Root Port (Slot+), MSI 00";

/** Two slots of one processor port, without ACS: one group. */
export const TWO_GPUS = [
  "00:00.0 Host bridge [0600]: Intel Corporation Device [8086:3ec2]\n\tIOMMU group: 0\n\tCapabilities: [e0] Vendor Specific Information: Len=10 <?>",
  port("00:01.0", "Intel Corporation PEG10 [8086:1901]", "01", "01", ["IOMMU group: 1", ROOT_PORT]),
  port("00:01.1", "Intel Corporation PEG11 [8086:1905]", "02", "02", ["IOMMU group: 1", ROOT_PORT]),
  "00:02.0 VGA compatible controller [0300]: Intel Corporation UHD Graphics 630 [8086:3e92]\n\tIOMMU group: 2\n\tCapabilities: [70] Express (v2) Root Complex Integrated Endpoint, MSI 00\n\tKernel driver in use: i915",
  endpoint("01:00.0", "VGA compatible controller [0300]: NVIDIA Corporation GP104 [10de:1b80]", 1, "nouveau"),
  endpoint("01:00.1", "Audio device [0403]: NVIDIA Corporation GP104 audio [10de:10f0]", 1, "snd_hda_intel"),
  endpoint("02:00.0", "VGA compatible controller [0300]: NVIDIA Corporation GM206 [10de:1402]", 1, "nouveau"),
  endpoint("02:00.1", "Audio device [0403]: NVIDIA Corporation GM206 audio [10de:0fba]", 1, "snd_hda_intel"),
  "",
].join("\n");

const SWITCH_PORT = "Capabilities: [80] Express (v2) Downstream Port (Slot+), MSI 00";

/** A card in a slot of the chipset, whose switch has no ACS: the boot disk is in its group. */
export const BOOT_NVME = [
  port("00:01.2", "Advanced Micro Devices, Inc. [AMD] Starship/Matisse GPP Bridge [1022:1483]", "02", "07", ["IOMMU group: 14", "Capabilities: [58] Express (v2) Root Port (Slot+), MSI 00", "Capabilities: [2a0 v1] Access Control Services", "\tACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans+", "\tACSCtl:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-"]),
  endpoint("02:00.0", "USB controller [0c03]: Advanced Micro Devices, Inc. [AMD] 500 Series Chipset USB 3.1 XHCI Controller [1022:43ee]", 15, "xhci_hcd"),
  endpoint("02:00.1", "SATA controller [0106]: Advanced Micro Devices, Inc. [AMD] 500 Series Chipset SATA Controller [1022:43eb]", 15, "ahci"),
  port("02:00.2", "Advanced Micro Devices, Inc. [AMD] 500 Series Chipset Switch Upstream Port [1022:43e9]", "03", "07", ["IOMMU group: 15", "Capabilities: [80] Express (v2) Upstream Port, MSI 00"]),
  port("03:04.0", "Advanced Micro Devices, Inc. [AMD] Device [1022:43ea]", "05", "05", ["IOMMU group: 15", SWITCH_PORT]),
  port("03:08.0", "Advanced Micro Devices, Inc. [AMD] Device [1022:43ea]", "06", "06", ["IOMMU group: 15", SWITCH_PORT]),
  endpoint("05:00.0", "Non-Volatile memory controller [0108]: Samsung Electronics Co Ltd NVMe SSD Controller [144d:a808]", 15, "nvme"),
  endpoint("06:00.0", "VGA compatible controller [0300]: NVIDIA Corporation GA106 [10de:2503]", 15, "nouveau"),
  endpoint("06:00.1", "Audio device [0403]: NVIDIA Corporation GA106 audio [10de:228e]", 15, "snd_hda_intel"),
  "",
].join("\n");

/** A processor that cannot translate DMA. */
export const NO_VTD = [
  "vendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Core(TM) i7-2600K CPU @ 3.40GHz\nflags\t\t: fpu vmx",
  "[    0.000000] Command line: BOOT_IMAGE=/boot/vmlinuz root=/dev/sda2 ro intel_iommu=on",
  "00:01.0 PCI bridge [0604]: Intel Corporation Xeon E3-1200/2nd Generation Core Processor Family PCI Express Root Port [8086:0101]\n\tBus: primary=00, secondary=01, subordinate=01, sec-latency=0\n\tCapabilities: [a0] Express (v2) Root Port (Slot+), MSI 00\n\tKernel driver in use: pcieport",
  "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GK106 [10de:11c0]\n\tCapabilities: [60] Express (v2) Legacy Endpoint, MSI 00\n\tKernel driver in use: nouveau",
  "01:00.1 Audio device [0403]: NVIDIA Corporation GK106 audio [10de:0e0b]\n\tCapabilities: [60] Express (v2) Endpoint, MSI 00\n\tKernel driver in use: snd_hda_intel",
  "",
].join("\n");

/** The kernel's own framebuffer holds the memory of the card that is to be assigned. */
export const SIMPLEDRM = [
  "[    0.000000] Linux version 6.12.0-amd64 (builder)",
  "[    0.000000] Command line: BOOT_IMAGE=/boot/vmlinuz root=/dev/nvme0n1p2 ro intel_iommu=on iommu=pt vfio-pci.ids=10de:1b80,10de:10f0",
  "[    0.402000] DMAR: IOMMU enabled",
  "[    1.204000] simple-framebuffer simple-framebuffer.0: framebuffer at 0xc1000000, 0x7e9000 bytes",
  "[    1.205000] [drm] Initialized simpledrm 1.0.0 for simple-framebuffer.0 on minor 0",
  "[   41.100000] vfio-pci 0000:01:00.0: BAR 1: can't reserve [mem 0xc0000000-0xcfffffff 64bit pref]",
  "",
].join("\n");
