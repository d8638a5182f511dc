import { bit, bits, layout } from "@iommu-lab/memory/layout";
import { register } from "../config/register.ts";
import type { CapabilityDefinition, FieldValues } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type CapabilityShape, type Placement } from "./image.ts";

/** Subsystem IDs of a bridge, the way type 0 headers have them. PCI-to-PCI Bridge Architecture §3.2.5.13. */
export const BRIDGE_SUBSYSTEM_IDS = layout("Bridge Subsystem IDs", 32, "PCI Bridge §3.2.5.13", {
  SubsystemVendor: bits(15, 0, "Subsystem vendor ID"),
  Subsystem: bits(31, 16, "Subsystem ID"),
});

const subsystemShape = { id: 0x0d, extended: false, length: 8, registers: { IDs: register(4, BRIDGE_SUBSYSTEM_IDS) } };

/** Bridge subsystem capability (id 0x0d): the subsystem IDs that a type 1 header has no room for. */
export const bridgeSubsystem = (values: FieldValues<typeof BRIDGE_SUBSYSTEM_IDS>, placement?: Placement): CapabilityImage => capabilityImage(subsystemShape, { IDs: values }, placement);

/** How to read a bridge subsystem capability. */
export const BRIDGE_SUBSYSTEM: CapabilityDefinition = { id: 0x0d, extended: false, shape: () => subsystemShape };

/** Length of a vendor-specific capability. PCIe §7.9.4. */
export const VENDOR_SPECIFIC_LENGTH = layout("Vendor-Specific Length", 8, "PCIe §7.9.4", { Length: bits(7, 0, "Bytes of the capability with its header") });

const vendorShape = (length: number): CapabilityShape => ({ id: 0x09, extended: false, length, registers: { Length: register(2, VENDOR_SPECIFIC_LENGTH) } });

/**
 * Vendor-specific capability (id 0x09). PCIe §7.9.4.
 * @param contents what follows the length byte, at most 189 bytes
 * @throws RangeError when it is longer
 */
export const vendorSpecific = (contents: Uint8Array, placement?: Placement): CapabilityImage => {
  const length = 3 + contents.length;
  if (length > 0xc0) throw new RangeError(`A vendor-specific capability of ${length} bytes does not fit configuration space; at most 192 do.`);
  const image = capabilityImage(vendorShape(length), { Length: { Length: length } }, placement);
  image.bytes.set(contents, 3);
  return image;
};

/** How to read a vendor-specific capability. */
export const VENDOR_SPECIFIC: CapabilityDefinition = { id: 0x09, extended: false, shape: (view) => vendorShape(Math.max(3, view.byte(2))) };

/** Vital product data address register. PCIe §7.9.19. */
export const VPD_ADDRESS = layout("VPD Address", 16, "PCIe §7.9.19.2", {
  Address: bits(14, 0, "Byte address in the storage, a multiple of 4"),
  Flag: bit(15, "Written zero: read, done when one. Written one: write, done when zero"),
});
/** Vital product data. PCIe §7.9.19. */
export const VPD_DATA = layout("VPD Data", 32, "PCIe §7.9.19.3", { Data: bits(31, 0, "Four bytes of storage") });

const vpdShape = { id: 0x03, extended: false, length: 8, registers: { Address: register(2, VPD_ADDRESS, { writable: "all" }), Data: register(4, VPD_DATA, { writable: "all" }) } };

/** Vital product data capability (id 0x03), the window only: the storage is the device's. PCIe §7.9.19. */
export const vitalProductData = (placement?: Placement): CapabilityImage => capabilityImage(vpdShape, {}, placement);

/** How to read a vital product data capability. */
export const VITAL_PRODUCT_DATA: CapabilityDefinition = { id: 0x03, extended: false, shape: () => vpdShape };

/** Slot numbering. PCI-to-PCI Bridge Architecture §13.1. */
export const SLOT_ID = layout("Slot Numbering", 16, "PCI Bridge §13.1", {
  ExpansionSlots: bits(4, 0, "Expansion slots below"),
  FirstInChassis: bit(5, "The first bridge of its chassis"),
  Chassis: bits(15, 8, "Chassis number"),
});

const slotShape = { id: 0x04, extended: false, length: 4, registers: { SlotID: register(2, SLOT_ID, { writable: ["Chassis"], sticky: ["Chassis"] }) } };

/** Slot identification capability (id 0x04) of a bridge to expansion slots. */
export const slotIdentification = (values: FieldValues<typeof SLOT_ID>, placement?: Placement): CapabilityImage => capabilityImage(slotShape, { SlotID: values }, placement);

/** How to read a slot identification capability. */
export const SLOT_IDENTIFICATION: CapabilityDefinition = { id: 0x04, extended: false, shape: () => slotShape };

/** Revision of the SATA capability. AHCI §2.4. */
export const SATA_REVISION = layout("SATA Revision", 8, "AHCI §2.4.1", { Minor: bits(3, 0, "Minor revision"), Major: bits(7, 4, "Major revision") });
/** Where the index/data pair is. AHCI §2.4. */
export const SATA_LOCATION = layout("SATA Index/Data Location", 32, "AHCI §2.4.2", {
  BARLocation: bits(3, 0, "4 to 9 for BAR 0 to 5, 15 for this configuration space", { 4: "BAR 0", 5: "BAR 1", 6: "BAR 2", 7: "BAR 3", 8: "BAR 4", 9: "BAR 5", 15: "configuration space" }),
  BAROffset: bits(23, 4, "Offset in the BAR, in doublewords"),
});

const sataShape = { id: 0x12, extended: false, length: 8, registers: { Revision: register(2, SATA_REVISION), Location: register(4, SATA_LOCATION) } };

/** SATA index/data capability (id 0x12). AHCI §2.4. */
export const sataIndexData = (values: FieldValues<typeof SATA_LOCATION>, placement?: Placement): CapabilityImage => capabilityImage(sataShape, { Revision: { Major: 1 }, Location: values }, placement);

/** How to read a SATA index/data capability. */
export const SATA_INDEX_DATA: CapabilityDefinition = { id: 0x12, extended: false, shape: () => sataShape };
