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
