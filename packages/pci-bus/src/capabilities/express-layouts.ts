import { bit, bits, layout } from "@iommu-lab/memory/layout";

const PAYLOAD = { 0: "128 bytes", 1: "256 bytes", 2: "512 bytes", 3: "1024 bytes", 4: "2048 bytes", 5: "4096 bytes" } as const;
const SPEED = { 1: "2.5 GT/s", 2: "5 GT/s", 3: "8 GT/s", 4: "16 GT/s", 5: "32 GT/s", 6: "64 GT/s" } as const;
const ASPM = { 0: "none", 1: "L0s", 2: "L1", 3: "L0s and L1" } as const;
const L0S = { 0: "under 64 ns", 1: "under 128 ns", 2: "under 256 ns", 3: "under 512 ns", 4: "under 1 µs", 5: "under 2 µs", 6: "2 to 4 µs", 7: "over 4 µs" } as const;
const L1 = { 0: "under 1 µs", 1: "under 2 µs", 2: "under 4 µs", 3: "under 8 µs", 4: "under 16 µs", 5: "under 32 µs", 6: "32 to 64 µs", 7: "over 64 µs" } as const;
const L0S_ACCEPTABLE = { 0: "64 ns", 1: "128 ns", 2: "256 ns", 3: "512 ns", 4: "1 µs", 5: "2 µs", 6: "4 µs", 7: "no limit" } as const;
const L1_ACCEPTABLE = { 0: "1 µs", 1: "2 µs", 2: "4 µs", 3: "8 µs", 4: "16 µs", 5: "32 µs", 6: "64 µs", 7: "no limit" } as const;
const POWER_SCALE = { 0: "1 W", 1: "0.1 W", 2: "0.01 W", 3: "0.001 W" } as const;

/** PCI Express Capabilities register. PCIe §7.5.3.2. */
export const PCIE_CAPABILITIES = layout("PCI Express Capabilities", 16, "PCIe §7.5.3.2", {
  CapabilityVersion: bits(3, 0, "1 or 2"),
  DevicePortType: bits(7, 4, "What the function is in the hierarchy", {
    0: "Endpoint",
    1: "Legacy Endpoint",
    4: "Root Port",
    5: "Upstream Port",
    6: "Downstream Port",
    7: "PCI Express to PCI/PCI-X Bridge",
    8: "PCI/PCI-X to PCI Express Bridge",
    9: "Root Complex Integrated Endpoint",
    10: "Root Complex Event Collector",
  }),
  SlotImplemented: bit(8, "The link leads to a slot"),
  InterruptMessageNumber: bits(13, 9, "MSI or MSI-X vector of the port's events"),
  FlitModeSupported: bit(15, "The link can run in flit mode"),
});

/** Device Capabilities register. PCIe §7.5.3.3. */
export const DEVICE_CAPABILITIES = layout("Device Capabilities", 32, "PCIe §7.5.3.3", {
  MaxPayloadSizeSupported: bits(2, 0, "Largest payload", PAYLOAD),
  PhantomFunctionsSupported: bits(4, 3, "Function number bits used for tags"),
  ExtendedTagFieldSupported: bit(5, "Can use 8-bit tags"),
  EndpointL0sAcceptableLatency: bits(8, 6, "Latency from L0s it can bear", L0S_ACCEPTABLE),
  EndpointL1AcceptableLatency: bits(11, 9, "Latency from L1 it can bear", L1_ACCEPTABLE),
  AttentionButtonPresent: bit(12, "Has an attention button; undefined since PCIe 1.1"),
  AttentionIndicatorPresent: bit(13, "Has an attention indicator; undefined since PCIe 1.1"),
  PowerIndicatorPresent: bit(14, "Has a power indicator; undefined since PCIe 1.1"),
  RoleBasedErrorReporting: bit(15, "Reports errors by its role; one since PCIe 1.1"),
  ERRCORSubclassCapable: bit(16, "Can tell subclasses of ERR_COR apart"),
  CapturedSlotPowerLimitValue: bits(25, 18, "Power the slot above gives, in units of the scale"),
  CapturedSlotPowerLimitScale: bits(27, 26, "Unit of the power limit", POWER_SCALE),
  FunctionLevelResetCapability: bit(28, "Can be reset alone"),
  MixedMPSSupported: bit(29, "Payload sizes may differ by direction"),
  TEEIOSupported: bit(30, "Can be assigned to a trusted execution environment"),
});

/** Device Control register. PCIe §7.5.3.4. */
export const DEVICE_CONTROL = layout("Device Control", 16, "PCIe §7.5.3.4", {
  CorrectableErrorReportingEnable: bit(0, "Sends ERR_COR"),
  NonFatalErrorReportingEnable: bit(1, "Sends ERR_NONFATAL"),
  FatalErrorReportingEnable: bit(2, "Sends ERR_FATAL"),
  UnsupportedRequestReportingEnable: bit(3, "Reports unsupported requests"),
  EnableRelaxedOrdering: bit(4, "May set the relaxed ordering attribute"),
  MaxPayloadSize: bits(7, 5, "Largest payload used", PAYLOAD),
  ExtendedTagFieldEnable: bit(8, "May use 8-bit tags"),
  PhantomFunctionsEnable: bit(9, "May use unclaimed function numbers as tags"),
  AuxPowerPMEnable: bit(10, "May draw auxiliary power"),
  EnableNoSnoop: bit(11, "May set the no snoop attribute"),
  MaxReadRequestSize: bits(14, 12, "Largest read request", PAYLOAD),
  InitiateFunctionLevelReset: bit(15, "Writing one resets the function; reads as zero. In a bridge to PCI: retry configuration requests"),
});

/** Device Status register. PCIe §7.5.3.5. */
export const DEVICE_STATUS = layout("Device Status", 16, "PCIe §7.5.3.5", {
  CorrectableErrorDetected: bit(0, "Detected a correctable error"),
  NonFatalErrorDetected: bit(1, "Detected a non-fatal error"),
  FatalErrorDetected: bit(2, "Detected a fatal error"),
  UnsupportedRequestDetected: bit(3, "Received an unsupported request"),
  AuxPowerDetected: bit(4, "Auxiliary power is there"),
  TransactionsPending: bit(5, "Non-posted requests wait for completions"),
  EmergencyPowerReductionDetected: bit(6, "Is or was in the emergency power reduction state"),
});

/** Link Capabilities register. PCIe §7.5.3.6. */
export const LINK_CAPABILITIES = layout("Link Capabilities", 32, "PCIe §7.5.3.6", {
  MaxLinkSpeed: bits(3, 0, "Highest link speed", SPEED),
  MaximumLinkWidth: bits(9, 4, "Lanes"),
  ASPMSupport: bits(11, 10, "Power states the link enters by itself", ASPM),
  L0sExitLatency: bits(14, 12, "Time to leave L0s", L0S),
  L1ExitLatency: bits(17, 15, "Time to leave L1", L1),
  ClockPowerManagement: bit(18, "The reference clock may be removed"),
  SurpriseDownErrorReportingCapable: bit(19, "Reports surprise down"),
  DataLinkLayerLinkActiveReportingCapable: bit(20, "Reports the data link layer's state"),
  LinkBandwidthNotificationCapability: bit(21, "Notifies bandwidth changes"),
  ASPMOptionalityCompliance: bit(22, "The ASPM field is to be believed"),
  PortNumber: bits(31, 24, "Number of the port"),
});

/** Link Control register. PCIe §7.5.3.7. */
export const LINK_CONTROL = layout("Link Control", 16, "PCIe §7.5.3.7", {
  ASPMControl: bits(1, 0, "Power states the link may enter", ASPM),
  ReadCompletionBoundary: bit(3, "Boundary where completions may be cut", { 0: "64 bytes", 1: "128 bytes" }),
  LinkDisable: bit(4, "The link is off"),
  RetrainLink: bit(5, "Writing one retrains the link; reads as zero"),
  CommonClockConfiguration: bit(6, "Both ends run from one reference clock"),
  ExtendedSynch: bit(7, "Sends more ordered sets, for external monitors"),
  EnableClockPowerManagement: bit(8, "May request the removal of the reference clock"),
  HardwareAutonomousWidthDisable: bit(9, "May change the width only for reliability"),
  LinkBandwidthManagementInterruptEnable: bit(10, "Interrupts on bandwidth management changes"),
  LinkAutonomousBandwidthInterruptEnable: bit(11, "Interrupts on autonomous bandwidth changes"),
  SRISClocking: bit(12, "Separate reference clocks with independent spread spectrum"),
  FlitModeDisable: bit(13, "The link does not use flit mode"),
  DRSSignalingControl: bits(15, 14, "What a device readiness message does", { 0: "nothing", 1: "interrupt", 2: "function readiness message", 3: "reserved" }),
});

/** Link Status register. PCIe §7.5.3.8. */
export const LINK_STATUS = layout("Link Status", 16, "PCIe §7.5.3.8", {
  CurrentLinkSpeed: bits(3, 0, "Link speed", SPEED),
  NegotiatedLinkWidth: bits(9, 4, "Lanes in use"),
  TrainingError: bit(10, "Training failed; undefined since PCIe 1.1"),
  LinkTraining: bit(11, "Training is under way"),
  SlotClockConfiguration: bit(12, "Uses the reference clock of the connector"),
  DataLinkLayerLinkActive: bit(13, "The data link layer is up"),
  LinkBandwidthManagementStatus: bit(14, "The bandwidth was changed by software or for reliability"),
  LinkAutonomousBandwidthStatus: bit(15, "The hardware changed the bandwidth by itself"),
});

/** Device Capabilities 2 register. PCIe §7.5.3.15. */
export const DEVICE_CAPABILITIES_2 = layout("Device Capabilities 2", 32, "PCIe §7.5.3.15", {
  CompletionTimeoutRangesSupported: bits(3, 0, "Programmable completion time-out ranges"),
  CompletionTimeoutDisableSupported: bit(4, "The completion time-out can be switched off"),
  ARIForwardingSupported: bit(5, "Can forward to all 256 functions of an ARI device below"),
  AtomicOpRoutingSupported: bit(6, "Routes AtomicOps"),
  AtomicOpCompleter32Supported: bit(7, "Completes 32-bit AtomicOps"),
  AtomicOpCompleter64Supported: bit(8, "Completes 64-bit AtomicOps"),
  CASCompleter128Supported: bit(9, "Completes 128-bit compare and swap"),
  NoROEnabledPRPRPassing: bit(10, "Posted requests with relaxed ordering never pass posted requests"),
  LTRMechanismSupported: bit(11, "Latency tolerance reporting"),
  TPHCompleterSupported: bits(13, 12, "Takes processing hints", { 0: "none", 1: "TPH", 2: "reserved", 3: "TPH and extended TPH" }),
  LNSystemCLS: bits(15, 14, "Lightweight notification cache line size", { 0: "none", 1: "64 bytes", 2: "128 bytes", 3: "reserved" }),
  TenBitTagCompleterSupported: bit(16, "Completes requests with 10-bit tags"),
  TenBitTagRequesterSupported: bit(17, "Can send 10-bit tags"),
  OBFFSupported: bits(19, 18, "Optimised buffer flush and fill", { 0: "no", 1: "by message", 2: "by WAKE#", 3: "by message and WAKE#" }),
  ExtendedFmtFieldSupported: bit(20, "Takes the 3-bit Fmt field"),
  EndEndTLPPrefixSupported: bit(21, "Takes end-end TLP prefixes, such as a PASID"),
  MaxEndEndTLPPrefixes: bits(23, 22, "Most prefixes per TLP; 0 stands for 4"),
  EmergencyPowerReductionSupported: bits(25, 24, "Emergency power reduction", { 0: "no", 1: "device specific", 2: "form factor or device specific", 3: "reserved" }),
  EmergencyPowerReductionInitializationRequired: bit(26, "Must be initialised again afterwards"),
  DMWrCompleterSupported: bit(28, "Completes deferrable memory writes"),
  DMWrLengthsSupported: bits(30, 29, "Longest deferrable memory write", { 0: "64 bytes", 1: "128 bytes" }),
  FRSSupported: bit(31, "Sends function readiness messages"),
});

/** Device Control 2 register. PCIe §7.5.3.16. */
export const DEVICE_CONTROL_2 = layout("Device Control 2", 16, "PCIe §7.5.3.16", {
  CompletionTimeoutValue: bits(3, 0, "Completion time-out", { 0: "50 µs to 50 ms", 1: "50 to 100 µs", 2: "1 to 10 ms", 5: "16 to 55 ms", 6: "65 to 210 ms", 9: "260 to 900 ms", 10: "1 to 3.5 s", 13: "4 to 13 s", 14: "17 to 64 s" }),
  CompletionTimeoutDisable: bit(4, "Waits for ever"),
  ARIForwardingEnable: bit(5, "Forwards device numbers other than 0 as function numbers"),
  AtomicOpRequesterEnable: bit(6, "May send AtomicOps"),
  AtomicOpEgressBlocking: bit(7, "Lets no AtomicOps out of this port"),
  IDORequestEnable: bit(8, "May set ID-based ordering in requests"),
  IDOCompletionEnable: bit(9, "May set ID-based ordering in completions"),
  LTRMechanismEnable: bit(10, "Sends latency tolerance messages"),
  EmergencyPowerReductionRequest: bit(11, "Enters emergency power reduction"),
  TenBitTagRequesterEnable: bit(12, "May send 10-bit tags"),
  OBFFEnable: bits(14, 13, "Optimised buffer flush and fill", { 0: "off", 1: "by message, variant A", 2: "by message, variant B", 3: "by WAKE#" }),
  EndEndTLPPrefixBlocking: bit(15, "Lets no TLPs with end-end prefixes out of this port"),
});

/** Link Capabilities 2 register. PCIe §7.5.3.18. */
export const LINK_CAPABILITIES_2 = layout("Link Capabilities 2", 32, "PCIe §7.5.3.18", {
  SupportedLinkSpeedsVector: bits(7, 1, "Bit n: speed n + 1"),
  CrosslinkSupported: bit(8, "Two downstream or two upstream ports can face each other"),
  LowerSKPOSGenerationVector: bits(15, 9, "Speeds with the lower SKP rate, sending"),
  LowerSKPOSReceptionVector: bits(22, 16, "Speeds with the lower SKP rate, receiving"),
  RetimerPresenceDetectSupported: bit(23, "Detects a retimer"),
  TwoRetimersPresenceDetectSupported: bit(24, "Detects two retimers"),
  DRSSupported: bit(31, "Device readiness messages"),
});

/** Link Control 2 register. PCIe §7.5.3.19. */
export const LINK_CONTROL_2 = layout("Link Control 2", 16, "PCIe §7.5.3.19", {
  TargetLinkSpeed: bits(3, 0, "Upper limit of the speed", SPEED),
  EnterCompliance: bit(4, "Goes into compliance mode"),
  HardwareAutonomousSpeedDisable: bit(5, "May change the speed only for reliability"),
  SelectableDeEmphasis: bit(6, "De-emphasis at 5 GT/s", { 0: "-6 dB", 1: "-3.5 dB" }),
  TransmitMargin: bits(9, 7, "Voltage at the transmitter; 0 is normal"),
  EnterModifiedCompliance: bit(10, "Sends the modified compliance pattern"),
  ComplianceSOS: bit(11, "Sends SKP sets within compliance patterns"),
  CompliancePresetDeEmphasis: bits(15, 12, "Preset or de-emphasis in compliance mode"),
});

/** Link Status 2 register. PCIe §7.5.3.20. */
export const LINK_STATUS_2 = layout("Link Status 2", 16, "PCIe §7.5.3.20", {
  CurrentDeEmphasisLevel: bit(0, "De-emphasis at 5 GT/s", { 0: "-6 dB", 1: "-3.5 dB" }),
  EqualizationComplete: bit(1, "Equalization at 8 GT/s is done"),
  EqualizationPhase1Successful: bit(2, "Phase 1 at 8 GT/s succeeded"),
  EqualizationPhase2Successful: bit(3, "Phase 2 at 8 GT/s succeeded"),
  EqualizationPhase3Successful: bit(4, "Phase 3 at 8 GT/s succeeded"),
  LinkEqualizationRequest: bit(5, "Wants equalization again"),
  RetimerPresenceDetected: bit(6, "A retimer is there"),
  TwoRetimersPresenceDetected: bit(7, "Two retimers are there"),
  CrosslinkResolution: bits(9, 8, "How a crosslink was resolved", { 0: "not supported", 1: "upstream port", 2: "downstream port", 3: "incomplete" }),
  FlitModeStatus: bit(10, "The link is in flit mode"),
  DownstreamComponentPresence: bits(14, 12, "What is below and how far its link is", { 0: "link down, presence unknown", 1: "link down, not present", 2: "link down, present", 4: "link up, present", 5: "link up, readiness received" }),
  DRSMessageReceived: bit(15, "A device readiness message came"),
});
