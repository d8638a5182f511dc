import { bit, bits, layout } from "@iommu-lab/memory/layout";

const HEAD = { TYPE: bits(15, 0, "Structure type."), LENGTH: bits(31, 16, "Bytes of the structure, with its device scopes.") } as const;
const SEGMENT = bits(63, 48, "PCI segment number.");

/** What follows the 36-byte table header. VT-d §8.1 "DMA Remapping Reporting Structure". Offsets count from byte 36. */
export const DMAR_BODY = layout("DMAR", 96, "VT-d §8.1", {
  HAW: bits(7, 0, "Host address width: the widest address that DMA can name, in bits, minus 1."),
  INTR_REMAP: bit(8, "The platform supports interrupt remapping."),
  X2APIC_OPT_OUT: bit(9, "Firmware asks the operating system to leave the local APICs in xAPIC mode."),
  DMA_CTRL_PLATFORM_OPT_IN_FLAG: bit(10, "Firmware asks the operating system to keep DMA protection on."),
});

/** DMA remapping hardware unit definition. VT-d §8.3. */
export const DRHD = layout("DRHD", 128, "VT-d §8.3", {
  ...HEAD,
  INCLUDE_PCI_ALL: bit(32, "The unit serves every function of the segment that no other unit names."),
  SIZE: bits(43, 40, "Size of the register window: 2^N pages of 4 KiB."),
  SEGMENT,
  BASE_LOW: bits(95, 64, "Address of the register window, bits 31:0."),
  BASE_HIGH: bits(127, 96, "Address of the register window, bits 63:32."),
});

/** Reserved memory region reporting. VT-d §8.4. */
export const RMRR = layout("RMRR", 192, "VT-d §8.4", {
  ...HEAD,
  SEGMENT,
  BASE_LOW: bits(95, 64, "First address of the region, bits 31:0."),
  BASE_HIGH: bits(127, 96, "First address of the region, bits 63:32."),
  LIMIT_LOW: bits(159, 128, "Last address of the region, bits 31:0."),
  LIMIT_HIGH: bits(191, 160, "Last address of the region, bits 63:32."),
});

/** Root port ATS capability reporting. VT-d §8.5. */
export const ATSR = layout("ATSR", 64, "VT-d §8.5", { ...HEAD, ALL_PORTS: bit(32, "Every root port of the segment supports ATS."), SEGMENT });

/** Remapping hardware static affinity. VT-d §8.6. */
export const RHSA = layout("RHSA", 160, "VT-d §8.6", {
  ...HEAD,
  BASE_LOW: bits(95, 64, "Address of the unit's register window, bits 31:0."),
  BASE_HIGH: bits(127, 96, "Address of the unit's register window, bits 63:32."),
  PROXIMITY_DOMAIN: bits(159, 128, "Proximity domain of the unit, as in the SRAT table."),
});

/** ACPI namespace device declaration; a name follows. VT-d §8.7. */
export const ANDD = layout("ANDD", 64, "VT-d §8.7", { ...HEAD, ACPI_DEVICE_NUMBER: bits(63, 56, "Number by which device scopes name the device.") });

/** SoC integrated address translation cache reporting. VT-d §8.8. */
export const SATC = layout("SATC", 64, "VT-d §8.8", { ...HEAD, ATC_REQUIRED: bit(32, "The devices do not work without ATS."), SEGMENT });

/** SoC integrated device property reporting. VT-d §8.9. */
export const SIDP = layout("SIDP", 64, "VT-d §8.9", { ...HEAD, SEGMENT });

/** Device scope; pairs of device and function number follow. VT-d §8.3.1. */
export const DEVICE_SCOPE = layout("Device Scope", 48, "VT-d §8.3.1", {
  TYPE: bits(7, 0, "What is named.", { 1: "PCI endpoint", 2: "PCI sub-hierarchy", 3: "I/O APIC", 4: "HPET", 5: "ACPI namespace device" }),
  LENGTH: bits(15, 8, "Bytes of the scope, with its path."),
  FLAGS: bits(23, 16, "Properties of the device, in SIDP structures only."),
  ENUMERATION_ID: bits(39, 32, "I/O APIC ID, HPET number, or ACPI device number."),
  START_BUS: bits(47, 40, "Bus on which the path begins."),
});

/** Remapping structure types by number. VT-d §8.2. */
export const STRUCTURES = [DRHD, RMRR, ATSR, RHSA, ANDD, SATC, SIDP] as const;

/** A structure type's short name, such as "DRHD"; for types that the specification does not have, their number. */
export const structureName = (type: number): string => STRUCTURES[type]?.name ?? `type ${type}`;
