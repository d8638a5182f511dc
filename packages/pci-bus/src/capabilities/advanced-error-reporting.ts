import { bit, bits, layout } from "@iommu-lab/memory/layout";
import { register, type RegisterMap } from "../config/register.ts";
import type { CapabilityDefinition, FieldValues } from "./definition.ts";
import { PcieType } from "../pcie-type.ts";
import { capabilityImage, type CapabilityImage, type CapabilityShape, type Placement } from "./image.ts";

const UNCORRECTABLE = {
  TrainingError: bit(0, "Link training failed; undefined since PCIe 1.1"),
  DataLinkProtocolError: bit(4, "Data link protocol error"),
  SurpriseDownError: bit(5, "The link went down unannounced"),
  PoisonedTLPReceived: bit(12, "Poisoned TLP received"),
  FlowControlProtocolError: bit(13, "Flow control protocol error"),
  CompletionTimeout: bit(14, "A completion did not come in time"),
  CompleterAbort: bit(15, "A request was answered with Completer Abort"),
  UnexpectedCompletion: bit(16, "A completion nobody waits for"),
  ReceiverOverflow: bit(17, "More TLPs than credits"),
  MalformedTLP: bit(18, "Malformed TLP"),
  ECRCError: bit(19, "The end-to-end CRC is wrong"),
  UnsupportedRequestError: bit(20, "Unsupported request"),
  ACSViolation: bit(21, "Blocked by access control services"),
  UncorrectableInternalError: bit(22, "Internal error"),
  MCBlockedTLP: bit(23, "A multicast TLP was blocked"),
  AtomicOpEgressBlocked: bit(24, "An AtomicOp was blocked"),
  TLPPrefixBlockedError: bit(25, "A TLP with end-end prefixes was blocked"),
  PoisonedTLPEgressBlocked: bit(26, "A poisoned TLP was blocked"),
  DMWrRequestEgressBlocked: bit(27, "A deferrable memory write was blocked"),
  IDECheckFailed: bit(28, "Integrity or encryption check failed"),
  MisroutedIDETLP: bit(29, "A TLP of an IDE stream went the wrong way"),
  PCRCCheckFailed: bit(30, "The plaintext CRC is wrong"),
  TLPTranslationEgressBlocked: bit(31, "A TLP could not be translated between flit and non-flit mode"),
} as const;

const CORRECTABLE = {
  ReceiverError: bit(0, "Receiver error"),
  BadTLP: bit(6, "Bad TLP, sent again"),
  BadDLLP: bit(7, "Bad data link layer packet"),
  REPLAYNUMRollover: bit(8, "Sent again too often"),
  ReplayTimerTimeout: bit(12, "No acknowledgement in time"),
  AdvisoryNonFatalError: bit(13, "A non-fatal error that somebody else reports"),
  CorrectedInternalError: bit(14, "Internal error, corrected"),
  HeaderLogOverflow: bit(15, "The header log had no room"),
} as const;

/** Uncorrectable Error Status register: RW1C and sticky. PCIe §7.8.4.2. */
export const AER_UNCORRECTABLE_STATUS = layout("Uncorrectable Error Status", 32, "PCIe §7.8.4.2", UNCORRECTABLE);
/** Uncorrectable Error Mask register: masked errors are not reported. PCIe §7.8.4.3. */
export const AER_UNCORRECTABLE_MASK = layout("Uncorrectable Error Mask", 32, "PCIe §7.8.4.3", UNCORRECTABLE);
/** Uncorrectable Error Severity register: one is fatal. PCIe §7.8.4.4. */
export const AER_UNCORRECTABLE_SEVERITY = layout("Uncorrectable Error Severity", 32, "PCIe §7.8.4.4", UNCORRECTABLE);
/** Correctable Error Status register. PCIe §7.8.4.5. */
export const AER_CORRECTABLE_STATUS = layout("Correctable Error Status", 32, "PCIe §7.8.4.5", CORRECTABLE);
/** Correctable Error Mask register. PCIe §7.8.4.6. */
export const AER_CORRECTABLE_MASK = layout("Correctable Error Mask", 32, "PCIe §7.8.4.6", CORRECTABLE);

/** Advanced Error Capabilities and Control register. PCIe §7.8.4.7. */
export const AER_CONTROL = layout("Advanced Error Capabilities and Control", 32, "PCIe §7.8.4.7", {
  FirstErrorPointer: bits(4, 0, "Bit number of the first uncorrectable error"),
  ECRCGenerationCapable: bit(5, "Can send end-to-end CRCs"),
  ECRCGenerationEnable: bit(6, "Sends end-to-end CRCs"),
  ECRCCheckCapable: bit(7, "Can check end-to-end CRCs"),
  ECRCCheckEnable: bit(8, "Checks end-to-end CRCs"),
  MultipleHeaderRecordingCapable: bit(9, "Can log several headers"),
  MultipleHeaderRecordingEnable: bit(10, "Logs several headers"),
  TLPPrefixLogPresent: bit(11, "The TLP prefix log is valid"),
  CompletionTimeoutLogCapable: bit(12, "Logs header and prefix of requests that timed out"),
});

const LOG = { Log: bits(31, 0, "Four bytes of the header, the first in bits 31:24") };
/** One of the four header log registers. PCIe §7.8.4.8. */
export const AER_HEADER_LOG = layout("Header Log", 32, "PCIe §7.8.4.8", LOG);
/** One of the four TLP prefix log registers. PCIe §7.8.4.12. */
export const AER_PREFIX_LOG = layout("TLP Prefix Log", 32, "PCIe §7.8.4.12", { Log: bits(31, 0, "A TLP prefix") });

/** Root Error Command register. PCIe §7.8.4.9. */
export const AER_ROOT_COMMAND = layout("Root Error Command", 32, "PCIe §7.8.4.9", {
  CorrectableErrorReportingEnable: bit(0, "ERR_COR interrupts"),
  NonFatalErrorReportingEnable: bit(1, "ERR_NONFATAL interrupts"),
  FatalErrorReportingEnable: bit(2, "ERR_FATAL interrupts"),
});

/** Root Error Status register. PCIe §7.8.4.10. */
export const AER_ROOT_STATUS = layout("Root Error Status", 32, "PCIe §7.8.4.10", {
  ERRCORReceived: bit(0, "ERR_COR came"),
  MultipleERRCORReceived: bit(1, "ERR_COR came again"),
  ERRFATALNONFATALReceived: bit(2, "ERR_FATAL or ERR_NONFATAL came"),
  MultipleERRFATALNONFATALReceived: bit(3, "One of them came again"),
  FirstUncorrectableFatal: bit(4, "The first of them was fatal"),
  NonFatalErrorMessagesReceived: bit(5, "ERR_NONFATAL came"),
  FatalErrorMessagesReceived: bit(6, "ERR_FATAL came"),
  ERRCORSubclass: bits(8, 7, "Subclass of the first ERR_COR"),
  AdvancedErrorInterruptMessageNumber: bits(31, 27, "MSI or MSI-X vector of root error interrupts"),
});

/** Error Source Identification register. PCIe §7.8.4.11. */
export const AER_SOURCE = layout("Error Source Identification", 32, "PCIe §7.8.4.11", {
  ERRCORSource: bits(15, 0, "Requester ID of the first ERR_COR"),
  ERRFATALNONFATALSource: bits(31, 16, "Requester ID of the first ERR_FATAL or ERR_NONFATAL"),
});

const RWS = { writable: "all", sticky: "all" } as const;
const RW1CS = { writeOneToClear: "all", sticky: "all" } as const;
const ROS = { sticky: "all" } as const;

const fixed = {
  UncorrectableStatus: register(4, AER_UNCORRECTABLE_STATUS, RW1CS),
  UncorrectableMask: register(8, AER_UNCORRECTABLE_MASK, RWS),
  UncorrectableSeverity: register(0xc, AER_UNCORRECTABLE_SEVERITY, RWS),
  CorrectableStatus: register(0x10, AER_CORRECTABLE_STATUS, RW1CS),
  CorrectableMask: register(0x14, AER_CORRECTABLE_MASK, RWS),
  Control: register(0x18, AER_CONTROL, { writable: ["ECRCGenerationEnable", "ECRCCheckEnable", "MultipleHeaderRecordingEnable"], sticky: "all" }),
  HeaderLog0: register(0x1c, AER_HEADER_LOG, ROS),
  HeaderLog1: register(0x20, AER_HEADER_LOG, ROS),
  HeaderLog2: register(0x24, AER_HEADER_LOG, ROS),
  HeaderLog3: register(0x28, AER_HEADER_LOG, ROS),
};
const root = {
  RootCommand: register(0x2c, AER_ROOT_COMMAND, { writable: "all" }),
  RootStatus: register(0x30, AER_ROOT_STATUS, { writeOneToClear: ["ERRCORReceived", "MultipleERRCORReceived", "ERRFATALNONFATALReceived", "MultipleERRFATALNONFATALReceived", "FirstUncorrectableFatal", "NonFatalErrorMessagesReceived", "FatalErrorMessagesReceived"], sticky: "all" }),
  Source: register(0x34, AER_SOURCE, ROS),
};
const prefix = {
  PrefixLog0: register(0x38, AER_PREFIX_LOG, ROS),
  PrefixLog1: register(0x3c, AER_PREFIX_LOG, ROS),
  PrefixLog2: register(0x40, AER_PREFIX_LOG, ROS),
  PrefixLog3: register(0x44, AER_PREFIX_LOG, ROS),
};

/** What an AER capability says at first. */
export interface AdvancedErrorReportingDescription {
  /** In a root port or event collector: the root error registers exist. */
  readonly root?: boolean;
  /** The function can receive TLP prefixes: their log exists. */
  readonly prefixes?: boolean;
  /** 1 or 2; the default is 2. */
  readonly version?: number;
  readonly UncorrectableStatus?: FieldValues<typeof AER_UNCORRECTABLE_STATUS>;
  readonly UncorrectableMask?: FieldValues<typeof AER_UNCORRECTABLE_MASK>;
  readonly UncorrectableSeverity?: FieldValues<typeof AER_UNCORRECTABLE_SEVERITY>;
  readonly CorrectableStatus?: FieldValues<typeof AER_CORRECTABLE_STATUS>;
  readonly CorrectableMask?: FieldValues<typeof AER_CORRECTABLE_MASK>;
  readonly Control?: FieldValues<typeof AER_CONTROL>;
  /** Four words of 32 bits. */
  readonly headerLog?: readonly number[];
  readonly prefixLog?: readonly number[];
  readonly RootCommand?: FieldValues<typeof AER_ROOT_COMMAND>;
  readonly RootStatus?: FieldValues<typeof AER_ROOT_STATUS>;
  readonly Source?: FieldValues<typeof AER_SOURCE>;
}

const shapeOf = (hasRoot: boolean, hasPrefixes: boolean, version = 2): CapabilityShape => {
  const registers: RegisterMap = { ...fixed, ...(hasRoot ? root : {}), ...(hasPrefixes ? prefix : {}) };
  return { id: 0x01, extended: true, version, length: hasPrefixes ? 0x48 : hasRoot ? 0x38 : 0x2c, registers };
};

/** Severities after reset: what ends a link or a packet's framing is fatal. PCIe §7.8.4.4. */
const SEVERITY = { DataLinkProtocolError: 1, SurpriseDownError: 1, FlowControlProtocolError: 1, ReceiverOverflow: 1, MalformedTLP: 1, UncorrectableInternalError: 1 };

/** Advanced Error Reporting (extended id 0x01). PCIe §7.8.4. Severities and masks not given are those after reset. */
export const advancedErrorReporting = (description: AdvancedErrorReportingDescription = {}, placement?: Placement): CapabilityImage => {
  const { root: hasRoot = false, prefixes = false, version, headerLog = [], prefixLog = [] } = description;
  const values: Record<string, Record<string, number>> = {
    UncorrectableStatus: { ...description.UncorrectableStatus },
    UncorrectableMask: { ...(description.UncorrectableMask ?? { UncorrectableInternalError: 1 }) },
    UncorrectableSeverity: { ...(description.UncorrectableSeverity ?? SEVERITY) },
    CorrectableStatus: { ...description.CorrectableStatus },
    CorrectableMask: { ...(description.CorrectableMask ?? { AdvisoryNonFatalError: 1, CorrectedInternalError: 1 }) },
    Control: { ...description.Control },
    RootCommand: { ...description.RootCommand },
    RootStatus: { ...description.RootStatus },
    Source: { ...description.Source },
  };
  for (let i = 0; i < 4; i++) {
    values[`HeaderLog${i}`] = { Log: headerLog[i] ?? 0 };
    values[`PrefixLog${i}`] = { Log: prefixLog[i] ?? 0 };
  }
  return capabilityImage(shapeOf(hasRoot, prefixes, version), values, placement);
};

/** How to read an AER capability. */
export const ADVANCED_ERROR_REPORTING: CapabilityDefinition = {
  id: 0x01,
  extended: true,
  shape: (view) => shapeOf(view.portType === PcieType.RootPort || view.portType === PcieType.RootComplexEventCollector, (view.dword(0x18) & 0x800) !== 0),
};
