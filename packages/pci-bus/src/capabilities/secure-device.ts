import { bit, bits, layout } from "@iommu-lab/memory/layout";
import { register, type RegisterMap, type RegisterValues } from "../config/register.ts";
import type { CapabilityDefinition } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type Placement } from "./image.ts";

/** Upper half of the header of an AMD IOMMU's capability. AMD-Vi §3.2.1. */
export const IOMMU_CAPABILITY_HEADER = layout("IOMMU Capability Header", 16, "AMD-Vi §3.2.1", {
  CapType: bits(2, 0, "Kind of secure device", { 3: "IOMMU" }),
  CapRev: bits(7, 3, "Revision of the capability"),
  IotlbSup: bit(8, "Answers ATS translation requests"),
  HtTunnel: bit(9, "Tunnels HyperTransport"),
  NpCache: bit(10, "May cache entries that are not present"),
  EFRSup: bit(11, "Has the extended feature register"),
  CapExt: bit(12, "Has the second miscellaneous register"),
});
/** Base address of the register window, low half. AMD-Vi §3.2.2. */
export const IOMMU_BASE_LOW = layout("IOMMU Base Address Low", 32, "AMD-Vi §3.2.2", {
  Enable: bit(0, "The window is decoded; locks this register and the next"),
  BaseAddress: bits(31, 14, "Address bits 31:14"),
});
/** Base address of the register window, high half. AMD-Vi §3.2.3. */
export const IOMMU_BASE_HIGH = layout("IOMMU Base Address High", 32, "AMD-Vi §3.2.3", { BaseAddress: bits(31, 0, "Address bits 63:32") });
/** Functions behind the IOMMU. AMD-Vi §3.2.4. */
export const IOMMU_RANGE = layout("IOMMU Range", 32, "AMD-Vi §3.2.4", {
  UnitID: bits(4, 0, "HyperTransport unit ID"),
  RngValid: bit(7, "The other fields are valid"),
  BusNumber: bits(15, 8, "Bus of the range"),
  FirstDevice: bits(23, 16, "First device and function"),
  LastDevice: bits(31, 24, "Last device and function"),
});
/** Address sizes and message numbers. AMD-Vi §3.2.5. */
export const IOMMU_MISC_0 = layout("IOMMU Miscellaneous Information 0", 32, "AMD-Vi §3.2.5", {
  MsiNum: bits(4, 0, "MSI vector of the event and command logs"),
  GVAsize: bits(7, 5, "Guest virtual address size", { 2: "48 bits", 3: "57 bits" }),
  PAsize: bits(14, 8, "Physical address size in bits"),
  VAsize: bits(21, 15, "Virtual address size in bits"),
  HtAtsResv: bit(22, "The HyperTransport address range is reserved in translation requests"),
  MsiNumPPR: bits(31, 27, "MSI vector of the peripheral page request log"),
});
/** Message number of the guest virtual APIC log. AMD-Vi §3.2.6. */
export const IOMMU_MISC_1 = layout("IOMMU Miscellaneous Information 1", 32, "AMD-Vi §3.2.6", { MsiNumGA: bits(4, 0, "MSI vector of the guest virtual APIC log") });

const base = {
  Header: register(2, IOMMU_CAPABILITY_HEADER),
  BaseLow: register(4, IOMMU_BASE_LOW, { writable: "all" }),
  BaseHigh: register(8, IOMMU_BASE_HIGH, { writable: "all" }),
  Range: register(0xc, IOMMU_RANGE),
  Misc0: register(0x10, IOMMU_MISC_0),
};
const registers = { ...base, Misc1: register(0x14, IOMMU_MISC_1) };
const shape = { id: 0x0f, extended: false, length: 0x18, registers };
const HEADER_ONLY: RegisterMap = { Header: base.Header };
const IOMMU = 3;

/** Secure device capability (id 0x0f) of an AMD IOMMU. `CapType` is set to 3. AMD-Vi §3.2. Model: the lock by `Enable` is the IOMMU's to enforce. */
export const secureDevice = (values: RegisterValues<typeof registers>, placement?: Placement): CapabilityImage => capabilityImage(shape, { ...values, Header: { ...values.Header, CapType: IOMMU, CapExt: 1 } }, placement);

/** How to read a secure device capability: an IOMMU's in full. */
export const SECURE_DEVICE: CapabilityDefinition = {
  id: 0x0f,
  extended: false,
  shape: (view) => {
    const header = view.word(2);
    if ((header & 7) !== IOMMU) return { ...shape, length: 4, registers: HEADER_ONLY };
    return (header & 0x1000) === 0 ? { ...shape, length: 0x14, registers: base } : shape;
  },
  type: (view) => ((view.word(2) & 7) === IOMMU ? "IOMMU" : undefined),
};
