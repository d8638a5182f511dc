/** A machine that QEMU builds and a Debian kernel boots on, to be captured. */
export interface Topology {
  /** Also the name of the JSON file. */
  readonly name: string;
  /** Options of `-machine` after the type. */
  readonly machine: string;
  /** `-device` and backend arguments, in order. */
  readonly devices: readonly string[];
  /** What the kernel's command line says besides the console. */
  readonly kernelParameters: string;
  /** Modules loaded before the capture, by name; what they depend on is added. */
  readonly modules: readonly string[];
  /** Virtual functions to switch on: function address and their number. */
  readonly virtualFunctions: readonly (readonly [address: string, count: number])[];
}

const device = (...options: readonly string[]): string[] => ["-device", options.join(",")];
/** A root port; `chassis` tells its slot from others and is different for each. */
const rootPort = (id: string, address: string, chassis: number, ...more: readonly string[]): string[] => device("pcie-root-port", `id=${id}`, "bus=pcie.0", `addr=${address}`, `chassis=${chassis}`, ...more);

/** One of everything that decides about groups. */
const q35: readonly string[] = [
  ...device("VGA", "bus=pcie.0", "addr=1"),
  // A port with ACS, and below it a device of two functions that has none.
  ...rootPort("a", "2", 1),
  ...device("e1000e", "bus=a", "addr=0.0", "multifunction=on"),
  ...device("e1000e", "bus=a", "addr=0.1"),
  // A port without ACS.
  ...rootPort("b", "3", 2, "disable-acs=on"),
  ...device("qemu-xhci", "bus=b"),
  // Two ports in one slot, both with ACS; the second leads to a switch without.
  ...rootPort("c", "4.0", 3, "multifunction=on"),
  ...rootPort("d", "4.1", 4),
  ...device("x3130-upstream", "id=up", "bus=d"),
  ...device("xio3130-downstream", "id=down0", "bus=up", "addr=0", "chassis=50"),
  ...device("xio3130-downstream", "id=down1", "bus=up", "addr=1", "chassis=51"),
  ...device("e1000e", "bus=down0"),
  // Two ports in one slot, one of them without ACS.
  ...device("ioh3420", "id=e", "bus=pcie.0", "addr=5.0", "multifunction=on", "chassis=60"),
  ...device("ioh3420", "id=f", "bus=pcie.0", "addr=5.1", "chassis=61", "disable-acs=on"),
  // Conventional PCI behind a bridge: one requester ID for all.
  ...device("pcie-pci-bridge", "id=conventional", "bus=c"),
  ...device("e1000", "bus=conventional", "addr=1"),
  ...device("e1000", "bus=conventional", "addr=2"),
  // Virtual functions.
  ...rootPort("g", "6", 5),
  ...device("nvme-subsys", "id=subsystem"),
  ...device("nvme", "bus=g", "serial=0", "subsys=subsystem", "sriov_max_vfs=2", "sriov_vq_flexible=4", "sriov_vi_flexible=2"),
  // A second host bridge whose devices the IOMMU does not see.
  ...device("pxb-pcie", "id=beside", "bus=pcie.0", "addr=7", "bus_nr=64", "bypass_iommu=on"),
  ...device("pcie-root-port", "id=h", "bus=beside", "chassis=70"),
  ...device("e1000e", "bus=h"),
];

/** Only what has a driver shows one in its folder, and virtual functions need the driver of their physical function. */
const MODULES = ["ahci", "nvme", "e1000", "e1000e", "xhci-pci"] as const;
/** The NVMe controller; ports that can be hot-plugged have reserved buses before it. */
const VIRTUAL_FUNCTIONS = [["0000:0b:00.0", 2]] as const;

export const topologies: readonly Topology[] = [
  {
    name: "q35-intel-iommu",
    machine: "q35,accel=tcg,kernel-irqchip=off",
    devices: [...device("intel-iommu", "intremap=on"), ...q35],
    kernelParameters: "intel_iommu=on",
    modules: MODULES,
    virtualFunctions: VIRTUAL_FUNCTIONS,
  },
  {
    name: "q35-intel-iommu-off",
    machine: "q35,accel=tcg,kernel-irqchip=off",
    devices: [...device("intel-iommu", "intremap=on"), ...q35],
    kernelParameters: "intel_iommu=off",
    modules: MODULES,
    virtualFunctions: VIRTUAL_FUNCTIONS,
  },
  {
    name: "q35-amd-iommu",
    machine: "q35,accel=tcg,kernel-irqchip=off",
    devices: [
      // Takes the first free slot, 1, for the function that shows it to software.
      ...device("amd-iommu", "intremap=on"),
      ...device("VGA", "bus=pcie.0", "addr=2"),
      ...rootPort("a", "3", 6),
      ...device("e1000e", "bus=a", "addr=0.0", "multifunction=on"),
      ...device("e1000e", "bus=a", "addr=0.1"),
      ...rootPort("b", "4", 7, "disable-acs=on"),
      ...device("qemu-xhci", "bus=b"),
      ...rootPort("c", "5", 8),
      ...device("pcie-pci-bridge", "id=conventional", "bus=c"),
      ...device("e1000", "bus=conventional", "addr=1"),
      ...device("i82801b11-bridge", "id=dmi", "bus=pcie.0", "addr=1e"),
      ...device("pci-bridge", "id=inner", "bus=dmi", "addr=1", "chassis_nr=1"),
      ...device("e1000", "bus=inner", "addr=1"),
    ],
    // Domains start as identity: the groups are the same, their type is not.
    kernelParameters: "iommu=pt",
    modules: ["ahci", "e1000", "e1000e", "xhci-pci"],
    virtualFunctions: [],
  },
];
