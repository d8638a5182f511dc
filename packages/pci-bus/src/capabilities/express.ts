import { meaningOf } from "@iommu-lab/memory/layout";
import { PcieType } from "../pcie-type.ts";
import { present, register, type RegisterMap } from "../config/register.ts";
import type { CapabilityDefinition, FieldValues } from "./definition.ts";
import * as device from "./express-layouts.ts";
import * as port from "./express-port-layouts.ts";
import { capabilityImage, type CapabilityImage, type CapabilityShape, type Placement } from "./image.ts";

/** What a PCI Express capability says at first. Registers that the type does not have are left out whatever is given. */
export interface PciExpressDescription {
  readonly type: PcieType;
  /** 2 is the default; version 1 ends after the registers its type needs. */
  readonly version?: 1 | 2;
  /** The link leads to a slot: the slot registers exist. */
  readonly slot?: boolean;
  readonly interruptMessageNumber?: number;
  readonly flitMode?: boolean;
  readonly deviceCapabilities?: FieldValues<typeof device.DEVICE_CAPABILITIES>;
  readonly deviceControl?: FieldValues<typeof device.DEVICE_CONTROL>;
  readonly deviceStatus?: FieldValues<typeof device.DEVICE_STATUS>;
  readonly linkCapabilities?: FieldValues<typeof device.LINK_CAPABILITIES>;
  readonly linkControl?: FieldValues<typeof device.LINK_CONTROL>;
  readonly linkStatus?: FieldValues<typeof device.LINK_STATUS>;
  readonly slotCapabilities?: FieldValues<typeof port.SLOT_CAPABILITIES>;
  readonly slotControl?: FieldValues<typeof port.SLOT_CONTROL>;
  readonly slotStatus?: FieldValues<typeof port.SLOT_STATUS>;
  readonly rootControl?: FieldValues<typeof port.ROOT_CONTROL>;
  readonly rootCapabilities?: FieldValues<typeof port.ROOT_CAPABILITIES>;
  readonly rootStatus?: FieldValues<typeof port.ROOT_STATUS>;
  readonly deviceCapabilities2?: FieldValues<typeof device.DEVICE_CAPABILITIES_2>;
  readonly deviceControl2?: FieldValues<typeof device.DEVICE_CONTROL_2>;
  readonly linkCapabilities2?: FieldValues<typeof device.LINK_CAPABILITIES_2>;
  readonly linkControl2?: FieldValues<typeof device.LINK_CONTROL_2>;
  readonly linkStatus2?: FieldValues<typeof device.LINK_STATUS_2>;
  readonly slotCapabilities2?: FieldValues<typeof port.SLOT_CAPABILITIES_2>;
}

interface Parts {
  readonly version: number;
  readonly type: number;
  readonly slot: boolean;
}

const isIntegrated = (type: number): boolean => type === PcieType.RootComplexIntegratedEndpoint || type === PcieType.RootComplexEventCollector;
const isRoot = (type: number): boolean => type === PcieType.RootPort || type === PcieType.RootComplexEventCollector;

/** Whether a function of this type has a link below it. */
const leadsDown = (type: number): boolean => type === PcieType.RootPort || type === PcieType.DownstreamPort || type === PcieType.PciToPcieBridge;

const linkControls = (type: number): (keyof (typeof device.LINK_CONTROL)["fields"])[] => [
  ...(["ASPMControl", "ReadCompletionBoundary", "CommonClockConfiguration", "ExtendedSynch", "EnableClockPowerManagement", "HardwareAutonomousWidthDisable"] as const),
  ...(leadsDown(type) ? (["LinkDisable", "LinkBandwidthManagementInterruptEnable", "LinkAutonomousBandwidthInterruptEnable", "DRSSignalingControl"] as const) : []),
];

const LINK_KEPT = ["ASPMControl", "ReadCompletionBoundary", "CommonClockConfiguration", "ExtendedSynch", "EnableClockPowerManagement", "HardwareAutonomousWidthDisable"] as const;
const LINK_2_STICKY = { writable: "all", sticky: "all" } as const;

const deviceRegisters = (type: number): RegisterMap => {
  const control = ["CorrectableErrorReportingEnable", "NonFatalErrorReportingEnable", "FatalErrorReportingEnable", "UnsupportedRequestReportingEnable", "EnableRelaxedOrdering", "MaxPayloadSize", "ExtendedTagFieldEnable", "PhantomFunctionsEnable", "AuxPowerPMEnable", "EnableNoSnoop", "MaxReadRequestSize"] as const;
  const retry = type === PcieType.PcieToPciBridge ? (["InitiateFunctionLevelReset"] as const) : [];
  return {
    Capabilities: register(2, device.PCIE_CAPABILITIES),
    DeviceCapabilities: register(4, device.DEVICE_CAPABILITIES),
    DeviceControl: register(8, device.DEVICE_CONTROL, { writable: [...control, ...retry], sticky: ["AuxPowerPMEnable"], keptByFunctionReset: ["MaxPayloadSize"] }),
    DeviceStatus: register(0xa, device.DEVICE_STATUS, { writeOneToClear: ["CorrectableErrorDetected", "NonFatalErrorDetected", "FatalErrorDetected", "UnsupportedRequestDetected", "EmergencyPowerReductionDetected"] }),
  };
};

const linkRegisters = (type: number): RegisterMap => ({
  LinkCapabilities: register(0xc, device.LINK_CAPABILITIES),
  LinkControl: register(0x10, device.LINK_CONTROL, { writable: linkControls(type), keptByFunctionReset: LINK_KEPT }),
  LinkStatus: register(0x12, device.LINK_STATUS, { writeOneToClear: leadsDown(type) ? ["LinkBandwidthManagementStatus", "LinkAutonomousBandwidthStatus"] : [] }),
});

const slotRegisters = (capabilities: PciExpressDescription["slotCapabilities"]): RegisterMap => {
  const features = present({
    AttentionButtonPressedEnable: capabilities?.AttentionButtonPresent,
    MRLSensorChangedEnable: capabilities?.MRLSensorPresent,
    AttentionIndicatorControl: capabilities?.AttentionIndicatorPresent,
    PowerIndicatorControl: capabilities?.PowerIndicatorPresent,
    PowerControllerControl: capabilities?.PowerControllerPresent,
    PowerFaultDetectedEnable: capabilities?.PowerControllerPresent,
    CommandCompletedInterruptEnable: !capabilities?.NoCommandCompletedSupport,
  });
  return {
    SlotCapabilities: register(0x14, port.SLOT_CAPABILITIES),
    SlotControl: register(0x18, port.SLOT_CONTROL, { writable: [...features, "PresenceDetectChangedEnable", "HotPlugInterruptEnable", "DataLinkLayerStateChangedEnable", "AutoSlotPowerLimitDisable", "InBandPDDisable"] }),
    SlotStatus: register(0x1a, port.SLOT_STATUS, { writeOneToClear: ["AttentionButtonPressed", "PowerFaultDetected", "MRLSensorChanged", "PresenceDetectChanged", "CommandCompleted", "DataLinkLayerStateChanged"] }),
  };
};

const rootRegisters = (): RegisterMap => ({
  RootControl: register(0x1c, port.ROOT_CONTROL, { writable: "all" }),
  RootCapabilities: register(0x1e, port.ROOT_CAPABILITIES),
  RootStatus: register(0x20, port.ROOT_STATUS, { writeOneToClear: ["PMEStatus"] }),
});

const version2Registers = ({ type, slot }: Parts, capabilities: PciExpressDescription["deviceCapabilities2"]): RegisterMap => {
  const enables = present({
    CompletionTimeoutValue: capabilities?.CompletionTimeoutRangesSupported,
    CompletionTimeoutDisable: capabilities?.CompletionTimeoutDisableSupported,
    ARIForwardingEnable: capabilities?.ARIForwardingSupported,
    LTRMechanismEnable: capabilities?.LTRMechanismSupported,
    TenBitTagRequesterEnable: capabilities?.TenBitTagRequesterSupported,
    OBFFEnable: capabilities?.OBFFSupported,
    EmergencyPowerReductionRequest: capabilities?.EmergencyPowerReductionSupported,
    EndEndTLPPrefixBlocking: capabilities?.EndEndTLPPrefixSupported && leadsDown(type),
    AtomicOpEgressBlocking: capabilities?.AtomicOpRoutingSupported,
  });
  return {
    DeviceCapabilities2: register(0x24, device.DEVICE_CAPABILITIES_2),
    DeviceControl2: register(0x28, device.DEVICE_CONTROL_2, { writable: [...enables, "AtomicOpRequesterEnable", "IDORequestEnable", "IDOCompletionEnable"] }),
    ...(isIntegrated(type)
      ? {}
      : {
          LinkCapabilities2: register(0x2c, device.LINK_CAPABILITIES_2),
          LinkControl2: register(0x30, device.LINK_CONTROL_2, LINK_2_STICKY),
          LinkStatus2: register(0x32, device.LINK_STATUS_2, { writeOneToClear: ["LinkEqualizationRequest", "DRSMessageReceived"] }),
        }),
    ...(slot ? { SlotCapabilities2: register(0x34, port.SLOT_CAPABILITIES_2) } : {}),
  };
};

const lengthOf = ({ version, type, slot }: Parts): number => {
  if (version > 1) return 0x3c;
  if (isRoot(type)) return 0x24;
  if (slot) return 0x1c;
  return isIntegrated(type) ? 0x0c : 0x14;
};

const shapeOf = (parts: Parts, of: Pick<PciExpressDescription, "slotCapabilities" | "deviceCapabilities2"> = {}): CapabilityShape => ({
  id: 0x10,
  extended: false,
  length: lengthOf(parts),
  registers: {
    ...deviceRegisters(parts.type),
    ...(isIntegrated(parts.type) ? {} : linkRegisters(parts.type)),
    ...(parts.slot ? slotRegisters(of.slotCapabilities) : {}),
    ...(isRoot(parts.type) ? rootRegisters() : {}),
    ...(parts.version > 1 ? version2Registers(parts, of.deviceCapabilities2) : {}),
  },
});

/**
 * PCI Express capability (id 0x10) of any device/port type. PCIe §7.5.3.
 * @throws RangeError when a value does not fit its field, or a type without a link below it gets a slot
 */
export const pciExpress = (description: PciExpressDescription, placement?: Placement): CapabilityImage => {
  const { type, version = 2, slot = false } = description;
  if (slot && !leadsDown(type)) throw new RangeError(`PCI Express type ${type} has no slot; types with one are 4, 6 and 8.`);
  const given = {
    DeviceCapabilities: { RoleBasedErrorReporting: 1, ...description.deviceCapabilities },
    DeviceControl: description.deviceControl,
    DeviceStatus: description.deviceStatus,
    LinkCapabilities: description.linkCapabilities,
    LinkControl: description.linkControl,
    LinkStatus: description.linkStatus,
    SlotCapabilities: description.slotCapabilities,
    SlotControl: description.slotControl,
    SlotStatus: description.slotStatus,
    RootControl: description.rootControl,
    RootCapabilities: description.rootCapabilities,
    RootStatus: description.rootStatus,
    DeviceCapabilities2: description.deviceCapabilities2,
    DeviceControl2: description.deviceControl2,
    LinkCapabilities2: description.linkCapabilities2,
    LinkControl2: description.linkControl2,
    LinkStatus2: description.linkStatus2,
    SlotCapabilities2: description.slotCapabilities2,
  };
  const values = Object.fromEntries(Object.entries(given).map(([name, fields]) => [name, fields ?? {}]));
  const Capabilities = { CapabilityVersion: version, DevicePortType: type, SlotImplemented: Number(slot), InterruptMessageNumber: description.interruptMessageNumber ?? 0, FlitModeSupported: Number(description.flitMode ?? false) };
  return capabilityImage(shapeOf({ version, type, slot }, description), { ...values, Capabilities }, placement);
};

/** How to read a PCI Express capability. */
export const PCI_EXPRESS: CapabilityDefinition = {
  id: 0x10,
  extended: false,
  shape: (view) => {
    const flags = view.word(2);
    const type = (flags >>> 4) & 15;
    const slot = (flags & 0x100) !== 0 && leadsDown(type);
    const version = flags & 15;
    // What a port can do decides which of its controls take a value.
    return shapeOf({ version, type, slot }, { ...(slot ? { slotCapabilities: port.SLOT_CAPABILITIES.decode(Uint32Array.of(view.dword(0x14))) } : {}), ...(version > 1 ? { deviceCapabilities2: device.DEVICE_CAPABILITIES_2.decode(Uint32Array.of(view.dword(0x24))) } : {}) });
  },
  type: (view) => meaningOf(device.PCIE_CAPABILITIES.fields.DevicePortType, (view.word(2) >>> 4) & 15),
};
