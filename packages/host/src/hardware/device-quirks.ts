/** Functions of one vendor: single device ids, and inclusive ranges of them. */
interface Devices {
  readonly vendor: number;
  readonly devices: readonly (number | readonly [first: number, last: number])[];
}

/** A known peculiarity of functions. */
export interface DeviceQuirk extends Devices {
  readonly name: string;
  /** Who says so, in words. */
  readonly source: string;
}

const LINUX_QUIRKS = "Linux drivers/pci/quirks.c";

/** Function-level reset is there but does not work: the kernel does not use it. */
export const BROKEN_FLR: readonly DeviceQuirk[] = [
  { name: "AMD Matisse and Starship USB, audio and others", vendor: 0x1022, devices: [0x148c, 0x149c, 0x1487, 0x7901], source: `${LINUX_QUIRKS}: quirk_no_flr` },
  { name: "Intel 82579 network", vendor: 0x8086, devices: [0x1502, 0x1503], source: `${LINUX_QUIRKS}: quirk_no_flr` },
];

/** A reset of their bus leaves them dead: the kernel does not use it. */
export const BROKEN_BUS_RESET: readonly DeviceQuirk[] = [
  { name: "Atheros wireless", vendor: 0x168c, devices: [0x0030, 0x0032, 0x0033, 0x0034, 0x003c, 0x003e], source: `${LINUX_QUIRKS}: quirk_no_bus_reset` },
  { name: "ASMedia ASM1164", vendor: 0x1b21, devices: [0x1164], source: `${LINUX_QUIRKS}: quirk_no_bus_reset` },
];

/** AMD graphics that do not come back from a reset without the vendor-reset module. */
export const AMD_RESET_BUG: readonly DeviceQuirk[] = [
  { name: "Polaris 10", vendor: 0x1002, devices: [[0x67c0, 0x67df], 0x6fdf], source: "vendor-reset, list of devices" },
  { name: "Polaris 11", vendor: 0x1002, devices: [[0x67e0, 0x67ff]], source: "vendor-reset, list of devices" },
  { name: "Polaris 12", vendor: 0x1002, devices: [[0x6980, 0x699f]], source: "vendor-reset, list of devices" },
  { name: "Vega 10", vendor: 0x1002, devices: [[0x6860, 0x687f]], source: "vendor-reset, list of devices" },
  { name: "Vega 20", vendor: 0x1002, devices: [[0x66a0, 0x66af]], source: "vendor-reset, list of devices" },
  { name: "Navi 10", vendor: 0x1002, devices: [[0x7310, 0x731f]], source: "vendor-reset, list of devices" },
  { name: "Navi 12", vendor: 0x1002, devices: [0x7360, 0x7362], source: "vendor-reset, list of devices" },
  { name: "Navi 14", vendor: 0x1002, devices: [[0x7340, 0x734f]], source: "vendor-reset, list of devices" },
];

/** AMD graphics whose resets are reported as unreliable, and which vendor-reset does not know. */
export const AMD_RESET_UNRELIABLE: readonly DeviceQuirk[] = [
  { name: "Radeon RX 9000", vendor: 0x1002, devices: [0x7550, 0x7551, 0x7590], source: "users' reports; ids of pci.ids" },
  { name: "Phoenix graphics", vendor: 0x1002, devices: [0x15bf, 0x15c8], source: "users' reports; ids of pci.ids" },
  { name: "Strix graphics", vendor: 0x1002, devices: [0x150e, 0x1586], source: "users' reports; ids of pci.ids" },
];

/** Functions that vfio-pci refuses unless disable_denylist is set. */
export const VFIO_DENYLIST: readonly DeviceQuirk[] = [
  { name: "Intel QuickAssist C3xxx, C62x and DH895xCC", vendor: 0x8086, devices: [0x19e2, 0x19e3, 0x37c8, 0x37c9, 0x0435, 0x0443], source: "Linux drivers/vfio/pci/vfio_pci.c: vfio_pci_dev_in_denylist" },
  { name: "Intel DSA and IAX of Sapphire Rapids", vendor: 0x8086, devices: [0x0b25, 0x0cfe], source: "Linux drivers/vfio/pci/vfio_pci.c: vfio_pci_dev_in_denylist" },
];

/** The row that a function falls under. */
export const quirkOf = (rows: readonly DeviceQuirk[], vendor: number | undefined, device: number | undefined): DeviceQuirk | undefined =>
  vendor === undefined || device === undefined ? undefined : rows.find((row) => row.vendor === vendor && row.devices.some((each) => (typeof each === "number" ? each === device : each[0] <= device && device <= each[1])));
