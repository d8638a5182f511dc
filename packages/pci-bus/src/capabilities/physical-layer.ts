import { bit, bits, layout, type Layout } from "@iommu-lab/memory/layout";
import { register, type Fields, type RegisterAccess, type RegisterMap } from "../config/register.ts";
import type { CapabilityDefinition, FieldValues } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type CapabilityShape, type Placement } from "./image.ts";

/** Link Control 3 register. PCIe §7.7.3.2. */
export const LINK_CONTROL_3 = layout("Link Control 3", 32, "PCIe §7.7.3.2", {
  PerformEqualization: bit(0, "The next training equalizes"),
  LinkEqualizationRequestInterruptEnable: bit(1, "Interrupts when equalization is wanted"),
  EnableLowerSKPOSGenerationVector: bits(15, 9, "Speeds at which SKP sets are sent at the lower rate"),
});
/** Lane Error Status register. PCIe §7.7.3.3. */
export const LANE_ERROR_STATUS = layout("Lane Error Status", 32, "PCIe §7.7.3.3", { Lanes: bits(31, 0, "Lanes that saw an error") });
/** Equalization control of one lane at 8 GT/s. PCIe §7.7.3.4. */
export const LANE_EQUALIZATION = layout("Lane Equalization Control", 16, "PCIe §7.7.3.4", {
  DownstreamTransmitterPreset: bits(3, 0, "Transmitter preset of the downstream port"),
  DownstreamReceiverHint: bits(6, 4, "Receiver hint of the downstream port"),
  UpstreamTransmitterPreset: bits(11, 8, "Transmitter preset of the upstream port"),
  UpstreamReceiverHint: bits(14, 12, "Receiver hint of the upstream port"),
});

const FIRST_LANES = 32;

/** One register per lane, as many as the link has. */
const laneRegisters = (name: string, at: number, lanes: number, of: Layout<Fields>, access: RegisterAccess = {}): RegisterMap =>
  Object.fromEntries(Array.from({ length: Math.min(lanes, FIRST_LANES) }, (_, lane) => [`${name}${lane}`, register(at + (lane * of.width) / 8, of, access)]));

const laneValues = (name: string, values: readonly Readonly<Record<string, number | undefined>>[] = []): Record<string, Record<string, number | undefined>> => Object.fromEntries(values.map((each, lane) => [`${name}${lane}`, { ...each }]));

const secondaryShape = (lanes: number): CapabilityShape => ({
  id: 0x19,
  extended: true,
  version: 1,
  length: 0xc + 2 * Math.min(lanes + (lanes & 1), FIRST_LANES),
  registers: {
    LinkControl3: register(4, LINK_CONTROL_3, { writable: "all", keptByFunctionReset: "all" }),
    LaneErrorStatus: register(8, LANE_ERROR_STATUS, { writeOneToClear: "all", sticky: "all" }),
    ...laneRegisters("Lane", 0xc, lanes, LANE_EQUALIZATION),
  },
});

/** What a Secondary PCI Express capability says at first. */
export interface SecondaryPciExpressDescription {
  /** Maximum link width of the function. */
  readonly lanes: number;
  readonly LinkControl3?: FieldValues<typeof LINK_CONTROL_3>;
  readonly LaneErrorStatus?: FieldValues<typeof LANE_ERROR_STATUS>;
  readonly equalization?: readonly FieldValues<typeof LANE_EQUALIZATION>[];
}

/** Secondary PCI Express (extended id 0x19): equalization at 8 GT/s. PCIe §7.7.3. */
export const secondaryPciExpress = (of: SecondaryPciExpressDescription, placement?: Placement): CapabilityImage =>
  capabilityImage(secondaryShape(of.lanes), { LinkControl3: { ...of.LinkControl3 }, LaneErrorStatus: { ...of.LaneErrorStatus }, ...laneValues("Lane", of.equalization) }, placement);

/** How to read a Secondary PCI Express capability. */
export const SECONDARY_PCI_EXPRESS: CapabilityDefinition = { id: 0x19, extended: true, shape: (view) => secondaryShape(view.lanes) };

/** Data Link Feature Capabilities register. PCIe §7.7.4.2. */
export const DATA_LINK_FEATURE_CAPABILITIES = layout("Data Link Feature Capabilities", 32, "PCIe §7.7.4.2", {
  LocalScaledFlowControl: bit(0, "Can scale flow control credits"),
  LocalImmediateReadiness: bit(1, "Ready at once after the link comes up"),
  LocalExtendedVCCount: bits(4, 2, "Extended virtual channels"),
  LocalL0pExitLatency: bits(7, 5, "Time to leave L0p"),
  LocalReserved: bits(22, 8, "Further features"),
  ExchangeEnable: bit(31, "Exchanges features when the link comes up"),
});
/** Data Link Feature Status register. PCIe §7.7.4.3. */
export const DATA_LINK_FEATURE_STATUS = layout("Data Link Feature Status", 32, "PCIe §7.7.4.3", {
  RemoteFeaturesSupported: bits(22, 0, "Features of the other side, as in the capabilities register"),
  RemoteFeaturesValid: bit(31, "They were exchanged"),
});

const feature = { Capabilities: register(4, DATA_LINK_FEATURE_CAPABILITIES, { writable: ["ExchangeEnable"], keptByFunctionReset: ["ExchangeEnable"] }), Status: register(8, DATA_LINK_FEATURE_STATUS) };
const featureShape = { id: 0x25, extended: true, version: 1, length: 0xc, registers: feature };

/** Data Link Feature (extended id 0x25). PCIe §7.7.4. */
export const dataLinkFeature = (values: { readonly Capabilities?: FieldValues<typeof DATA_LINK_FEATURE_CAPABILITIES>; readonly Status?: FieldValues<typeof DATA_LINK_FEATURE_STATUS> } = {}, placement?: Placement): CapabilityImage =>
  capabilityImage(featureShape, values, placement);

/** How to read a Data Link Feature capability. */
export const DATA_LINK_FEATURE: CapabilityDefinition = { id: 0x25, extended: true, shape: () => featureShape };

const PHASES = {
  EqualizationComplete: bit(0, "Equalization at this speed is done"),
  EqualizationPhase1Successful: bit(1, "Phase 1 succeeded"),
  EqualizationPhase2Successful: bit(2, "Phase 2 succeeded"),
  EqualizationPhase3Successful: bit(3, "Phase 3 succeeded"),
  LinkEqualizationRequest: bit(4, "Wants equalization again"),
} as const;
/** 16.0 GT/s Status register. PCIe §7.7.5.4. */
export const STATUS_16GT = layout("16.0 GT/s Status", 32, "PCIe §7.7.5.4", PHASES);
/** Lanes with parity mismatches at 16 GT/s: here and at the retimers. PCIe §7.7.5.5. */
export const PARITY_MISMATCH_16GT = layout("16.0 GT/s Data Parity Mismatch Status", 32, "PCIe §7.7.5.5", { Lanes: bits(31, 0, "Lanes that saw a mismatch") });
/** Equalization control of one lane at 16 GT/s. PCIe §7.7.5.8. */
export const LANE_EQUALIZATION_16GT = layout("16.0 GT/s Lane Equalization Control", 8, "PCIe §7.7.5.8", { DownstreamTransmitterPreset: bits(3, 0, "Transmitter preset of the downstream port"), UpstreamTransmitterPreset: bits(7, 4, "Transmitter preset of the upstream port") });

const STICKY_CLEAR = { writeOneToClear: "all", sticky: "all" } as const;
const shape16 = (lanes: number): CapabilityShape => ({
  id: 0x26,
  extended: true,
  version: 1,
  length: 0x20 + 4 * Math.ceil(Math.min(lanes, FIRST_LANES) / 4),
  registers: {
    Status: register(0xc, STATUS_16GT, { writeOneToClear: ["LinkEqualizationRequest"], sticky: "all" }),
    LocalParityMismatch: register(0x10, PARITY_MISMATCH_16GT, STICKY_CLEAR),
    FirstRetimerParityMismatch: register(0x14, PARITY_MISMATCH_16GT, STICKY_CLEAR),
    SecondRetimerParityMismatch: register(0x18, PARITY_MISMATCH_16GT, STICKY_CLEAR),
    ...laneRegisters("Lane", 0x20, lanes, LANE_EQUALIZATION_16GT),
  },
});

/** Physical Layer 16.0 GT/s (extended id 0x26). PCIe §7.7.5. */
export const physicalLayer16 = ({ lanes, Status, equalization }: { readonly lanes: number; readonly Status?: FieldValues<typeof STATUS_16GT>; readonly equalization?: readonly FieldValues<typeof LANE_EQUALIZATION_16GT>[] }, placement?: Placement): CapabilityImage =>
  capabilityImage(shape16(lanes), { Status: { ...Status }, ...laneValues("Lane", equalization) }, placement);

/** How to read a Physical Layer 16.0 GT/s capability. */
export const PHYSICAL_LAYER_16GT: CapabilityDefinition = { id: 0x26, extended: true, shape: (view) => shape16(view.lanes) };

/** Margining Port Capabilities register. PCIe §7.7.7.2. */
export const MARGINING_CAPABILITIES = layout("Margining Port Capabilities", 16, "PCIe §7.7.7.2", { UsesDriverSoftware: bit(0, "Needs the driver's help") });
/** Margining Port Status register. PCIe §7.7.7.3. */
export const MARGINING_STATUS = layout("Margining Port Status", 16, "PCIe §7.7.7.3", { MarginingReady: bit(0, "Takes margining commands"), MarginingSoftwareReady: bit(1, "The driver's part is ready") });
/** Margining control and status of one lane. PCIe §7.7.7.4 and §7.7.7.5. */
export const LANE_MARGINING = layout("Margining Lane Control and Status", 32, "PCIe §7.7.7.4", {
  ReceiverNumber: bits(2, 0, "Receiver addressed"),
  MarginType: bits(5, 3, "Command"),
  UsageModel: bit(6, "Usage model"),
  MarginPayload: bits(15, 8, "Argument"),
  ReceiverNumberStatus: bits(18, 16, "Receiver that answered"),
  MarginTypeStatus: bits(21, 19, "Command that was answered"),
  UsageModelStatus: bit(22, "Usage model of the answer"),
  MarginPayloadStatus: bits(31, 24, "Answer"),
});

const marginingShape = (lanes: number): CapabilityShape => ({
  id: 0x27,
  extended: true,
  version: 1,
  length: 8 + 4 * Math.min(lanes, FIRST_LANES),
  registers: {
    Capabilities: register(4, MARGINING_CAPABILITIES),
    Status: register(6, MARGINING_STATUS),
    ...laneRegisters("Lane", 8, lanes, LANE_MARGINING, { writable: ["ReceiverNumber", "MarginType", "UsageModel", "MarginPayload"] }),
  },
});

/** Lane Margining at the Receiver (extended id 0x27). PCIe §7.7.7. */
export const laneMargining = ({ lanes, Capabilities, Status }: { readonly lanes: number; readonly Capabilities?: FieldValues<typeof MARGINING_CAPABILITIES>; readonly Status?: FieldValues<typeof MARGINING_STATUS> }, placement?: Placement): CapabilityImage =>
  capabilityImage(marginingShape(lanes), { Capabilities: { ...Capabilities }, Status: { ...Status } }, placement);

/** How to read a lane margining capability. */
export const LANE_MARGINING_AT_RECEIVER: CapabilityDefinition = { id: 0x27, extended: true, shape: (view) => marginingShape(view.lanes) };
