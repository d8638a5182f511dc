import { bit, bits, layout } from "@iommu-lab/memory/layout";
import { present, register, type RegisterValues } from "../config/register.ts";
import type { CapabilityDefinition, FieldValues } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type Placement } from "./image.ts";

/** ATS Capability register. PCIe §10.5.1.2. */
export const ATS_CAPABILITY = layout("ATS Capability", 16, "PCIe §10.5.1.2", {
  InvalidateQueueDepth: bits(4, 0, "Invalidate requests it can hold; 0 stands for 32"),
  PageAlignedRequest: bit(5, "Untranslated addresses in translation requests are page aligned"),
  GlobalInvalidateSupported: bit(6, "Takes invalidate requests for all PASIDs"),
  RelaxedOrderingSupported: bit(7, "Translation requests may have relaxed ordering"),
});
/** ATS Control register. PCIe §10.5.1.3. */
export const ATS_CONTROL = layout("ATS Control", 16, "PCIe §10.5.1.3", {
  SmallestTranslationUnit: bits(4, 0, "log2 of the smallest translation in 4 KiB pages"),
  Enable: bit(15, "May cache translations"),
});

const ats = { Capability: register(4, ATS_CAPABILITY), Control: register(6, ATS_CONTROL, { writable: "all" }) };
const atsShape = { id: 0x0f, extended: true, version: 1, length: 8, registers: ats };

/** Address Translation Services (extended id 0x0f). PCIe §10.5.1. */
export const addressTranslationServices = (values: RegisterValues<typeof ats> = {}, placement?: Placement): CapabilityImage => capabilityImage(atsShape, values, placement);

/** How to read an ATS capability. */
export const ADDRESS_TRANSLATION_SERVICES: CapabilityDefinition = { id: 0x0f, extended: true, shape: () => atsShape };

/** Page Request Control register. PCIe §10.5.2.2. */
export const PRI_CONTROL = layout("Page Request Control", 16, "PCIe §10.5.2.2", {
  Enable: bit(0, "May send page requests"),
  Reset: bit(1, "Writing one while disabled clears the credits; reads as zero"),
});
/** Page Request Status register. PCIe §10.5.2.3. */
export const PRI_STATUS = layout("Page Request Status", 16, "PCIe §10.5.2.3", {
  ResponseFailure: bit(0, "A response of failure came"),
  UnexpectedPageRequestGroupIndex: bit(1, "A response to nothing that was asked came"),
  Stopped: bit(8, "Sends no further page requests"),
  PRGResponsePASIDRequired: bit(15, "Expects the PASID in responses"),
});
/** Outstanding Page Request Capacity register. PCIe §10.5.2.4. */
export const PRI_CAPACITY = layout("Outstanding Page Request Capacity", 32, "PCIe §10.5.2.4", { Capacity: bits(31, 0, "Page requests the function can have outstanding") });
/** Outstanding Page Request Allocation register. PCIe §10.5.2.5. */
export const PRI_ALLOCATION = layout("Outstanding Page Request Allocation", 32, "PCIe §10.5.2.5", { Allocation: bits(31, 0, "Page requests the function may have outstanding") });

const pri = {
  Control: register(4, PRI_CONTROL, { writable: ["Enable"] }),
  Status: register(6, PRI_STATUS, { writeOneToClear: ["ResponseFailure", "UnexpectedPageRequestGroupIndex"] }),
  Capacity: register(8, PRI_CAPACITY),
  Allocation: register(0xc, PRI_ALLOCATION, { writable: "all" }),
};
const priShape = { id: 0x13, extended: true, version: 1, length: 16, registers: pri };

/** Page Request Interface (extended id 0x13). PCIe §10.5.2. By default stopped, as after reset. */
export const pageRequestInterface = (values: RegisterValues<typeof pri> = {}, placement?: Placement): CapabilityImage => capabilityImage(priShape, { ...values, Status: { Stopped: 1, ...values.Status } }, placement);

/** How to read a PRI capability. */
export const PAGE_REQUEST_INTERFACE: CapabilityDefinition = { id: 0x13, extended: true, shape: () => priShape };

/** PASID Capability register. PCIe §7.8.9.2. */
export const PASID_CAPABILITY = layout("PASID Capability", 16, "PCIe §7.8.9.2", {
  ExecutePermissionSupported: bit(1, "Can ask for execute permission"),
  PrivilegedModeSupported: bit(2, "Can send requests in privileged mode"),
  MaxPASIDWidth: bits(12, 8, "PASID bits, up to 20"),
});
/** PASID Control register. PCIe §7.8.9.3. */
export const PASID_CONTROL = layout("PASID Control", 16, "PCIe §7.8.9.3", {
  Enable: bit(0, "May send PASIDs"),
  ExecutePermissionEnable: bit(1, "May ask for execute permission"),
  PrivilegedModeEnable: bit(2, "May send requests in privileged mode"),
});

const pasid = (capability: FieldValues<typeof PASID_CAPABILITY> = {}) => ({
  Capability: register(4, PASID_CAPABILITY),
  Control: register(6, PASID_CONTROL, { writable: ["Enable", ...present({ ExecutePermissionEnable: capability.ExecutePermissionSupported, PrivilegedModeEnable: capability.PrivilegedModeSupported })] }),
});

/** PASID (extended id 0x1b). PCIe §7.8.9. */
export const processAddressSpaceId = (values: RegisterValues<ReturnType<typeof pasid>> = {}, placement?: Placement): CapabilityImage =>
  capabilityImage({ id: 0x1b, extended: true, version: 1, length: 8, registers: pasid(values.Capability) }, values, placement);

/** How to read a PASID capability. */
export const PROCESS_ADDRESS_SPACE_ID: CapabilityDefinition = { id: 0x1b, extended: true, shape: () => ({ id: 0x1b, extended: true, version: 1, length: 8, registers: pasid() }) };
