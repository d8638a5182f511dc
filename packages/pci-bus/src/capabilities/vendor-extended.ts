import { bits, layout } from "@iommu-lab/memory/layout";
import { register } from "../config/register.ts";
import type { CapabilityDefinition } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type CapabilityShape, type Placement } from "./image.ts";

/** Vendor-Specific Header. PCIe §7.9.5.2. */
export const VSEC_HEADER = layout("Vendor-Specific Header", 32, "PCIe §7.9.5.2", {
  VSECID: bits(15, 0, "What it is, in the terms of the function's vendor"),
  VSECRev: bits(19, 16, "Version"),
  VSECLength: bits(31, 20, "Bytes of the capability with its headers"),
});
/** Designated Vendor-Specific Header 1. PCIe §7.9.6.2. */
export const DVSEC_HEADER_1 = layout("Designated Vendor-Specific Header 1", 32, "PCIe §7.9.6.2", {
  DVSECVendorID: bits(15, 0, "Vendor or consortium that defines it", { 0x1e98: "CXL" }),
  DVSECRevision: bits(19, 16, "Version"),
  DVSECLength: bits(31, 20, "Bytes of the capability with its headers"),
});
/** Designated Vendor-Specific Header 2. PCIe §7.9.6.3. */
export const DVSEC_HEADER_2 = layout("Designated Vendor-Specific Header 2", 16, "PCIe §7.9.6.3", { DVSECID: bits(15, 0, "What it is, in the terms of that vendor") });

const vsecShape = (length: number): CapabilityShape => ({ id: 0x0b, extended: true, version: 1, length, registers: { Header: register(4, VSEC_HEADER) } });
const dvsecShape = (length: number): CapabilityShape => ({ id: 0x23, extended: true, version: 1, length, registers: { Header1: register(4, DVSEC_HEADER_1), Header2: register(8, DVSEC_HEADER_2) } });

/**
 * Vendor-Specific Extended Capability (extended id 0x0b). PCIe §7.9.5.
 * @throws RangeError when it is longer than 4095 bytes
 */
export const vendorSpecificExtended = ({ id, revision = 0, contents = new Uint8Array() }: { readonly id: number; readonly revision?: number; readonly contents?: Uint8Array }, placement?: Placement): CapabilityImage => {
  const length = 8 + contents.length;
  const image = capabilityImage(vsecShape(length), { Header: { VSECID: id, VSECRev: revision, VSECLength: length } }, placement);
  image.bytes.set(contents, 8);
  return image;
};

/** How to read a vendor-specific extended capability. */
export const VENDOR_SPECIFIC_EXTENDED: CapabilityDefinition = { id: 0x0b, extended: true, shape: (view) => vsecShape(Math.max(8, view.dword(4) >>> 20)) };

/**
 * Designated Vendor-Specific Extended Capability (extended id 0x23). PCIe §7.9.6.
 * @throws RangeError when it is longer than 4095 bytes
 */
export const designatedVendorSpecific = ({ vendor, id, revision = 0, contents = new Uint8Array() }: { readonly vendor: number; readonly id: number; readonly revision?: number; readonly contents?: Uint8Array }, placement?: Placement): CapabilityImage => {
  const length = 10 + contents.length;
  const image = capabilityImage(dvsecShape(length), { Header1: { DVSECVendorID: vendor, DVSECRevision: revision, DVSECLength: length }, Header2: { DVSECID: id } }, placement);
  image.bytes.set(contents, 10);
  return image;
};

/** How to read a designated vendor-specific extended capability. */
export const DESIGNATED_VENDOR_SPECIFIC: CapabilityDefinition = { id: 0x23, extended: true, shape: (view) => dvsecShape(Math.max(10, view.dword(4) >>> 20)) };
