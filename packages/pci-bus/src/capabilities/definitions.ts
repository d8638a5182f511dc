import { ACCESS_CONTROL_SERVICES } from "./access-control-services.ts";
import { ADVANCED_ERROR_REPORTING } from "./advanced-error-reporting.ts";
import { ADVANCED_FEATURES } from "./advanced-features.ts";
import { BRIDGE_SUBSYSTEM, SATA_INDEX_DATA, SLOT_IDENTIFICATION, VENDOR_SPECIFIC, VITAL_PRODUCT_DATA } from "./conventional.ts";
import type { CapabilityDefinition } from "./definition.ts";
import { DOWNSTREAM_PORT_CONTAINMENT } from "./downstream-port-containment.ts";
import { PCI_EXPRESS } from "./express.ts";
import { ALTERNATIVE_ROUTING_ID, DEVICE_SERIAL_NUMBER, LATENCY_TOLERANCE_REPORTING, PRECISION_TIME_MEASUREMENT } from "./functions.ts";
import { HYPERTRANSPORT } from "./hypertransport.ts";
import { L1_SUBSTATES } from "./l1-substates.ts";
import { MSI } from "./msi.ts";
import { MSIX } from "./msix.ts";
import { DATA_LINK_FEATURE, LANE_MARGINING_AT_RECEIVER, PHYSICAL_LAYER_16GT, SECONDARY_PCI_EXPRESS } from "./physical-layer.ts";
import { POWER_MANAGEMENT } from "./power-management.ts";
import { RESIZABLE_BAR, VF_RESIZABLE_BAR } from "./resizable-bar.ts";
import { SECURE_DEVICE } from "./secure-device.ts";
import { SINGLE_ROOT_IOV } from "./sriov.ts";
import { ADDRESS_TRANSLATION_SERVICES, PAGE_REQUEST_INTERFACE, PROCESS_ADDRESS_SPACE_ID } from "./translation-services.ts";
import { DESIGNATED_VENDOR_SPECIFIC, VENDOR_SPECIFIC_EXTENDED } from "./vendor-extended.ts";
import { VIRTUAL_CHANNEL, VIRTUAL_CHANNEL_WITH_MFVC } from "./virtual-channel.ts";

/** Every kind of capability that is read register by register; of all others only header and name are. */
export const CAPABILITY_DEFINITIONS: readonly CapabilityDefinition[] = [
  POWER_MANAGEMENT,
  VITAL_PRODUCT_DATA,
  SLOT_IDENTIFICATION,
  MSI,
  HYPERTRANSPORT,
  VENDOR_SPECIFIC,
  BRIDGE_SUBSYSTEM,
  SECURE_DEVICE,
  PCI_EXPRESS,
  MSIX,
  SATA_INDEX_DATA,
  ADVANCED_FEATURES,
  ADVANCED_ERROR_REPORTING,
  VIRTUAL_CHANNEL,
  DEVICE_SERIAL_NUMBER,
  VIRTUAL_CHANNEL_WITH_MFVC,
  VENDOR_SPECIFIC_EXTENDED,
  ACCESS_CONTROL_SERVICES,
  ALTERNATIVE_ROUTING_ID,
  ADDRESS_TRANSLATION_SERVICES,
  SINGLE_ROOT_IOV,
  PAGE_REQUEST_INTERFACE,
  RESIZABLE_BAR,
  LATENCY_TOLERANCE_REPORTING,
  SECONDARY_PCI_EXPRESS,
  PROCESS_ADDRESS_SPACE_ID,
  DOWNSTREAM_PORT_CONTAINMENT,
  L1_SUBSTATES,
  PRECISION_TIME_MEASUREMENT,
  DESIGNATED_VENDOR_SPECIFIC,
  VF_RESIZABLE_BAR,
  DATA_LINK_FEATURE,
  PHYSICAL_LAYER_16GT,
  LANE_MARGINING_AT_RECEIVER,
];

const byKey = new Map(CAPABILITY_DEFINITIONS.map((each) => [`${each.extended ? "x" : "c"}${each.id}`, each]));

/** How to read capabilities with this id, or undefined when only header and name are known. */
export const definitionOf = (id: number, extended: boolean): CapabilityDefinition | undefined => byKey.get(`${extended ? "x" : "c"}${id}`);
