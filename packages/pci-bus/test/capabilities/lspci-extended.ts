/** Extended capabilities as lspci prints them. */
import type { CapabilityRules } from "./lspci-conventional.ts";
import { decimal, flags, hex, rule, says, words, type Part, type Rule } from "./lspci-rules.ts";

const heading = (pattern: RegExp, ...parts: Part[]): Rule => rule(pattern, ...parts);

const UNCORRECTABLE: Readonly<Record<string, string>> = {
  DLP: "DataLinkProtocolError",
  SDES: "SurpriseDownError",
  TLP: "PoisonedTLPReceived",
  FCP: "FlowControlProtocolError",
  CmpltTO: "CompletionTimeout",
  CmpltAbrt: "CompleterAbort",
  UnxCmplt: "UnexpectedCompletion",
  RxOF: "ReceiverOverflow",
  MalfTLP: "MalformedTLP",
  ECRC: "ECRCError",
  UnsupReq: "UnsupportedRequestError",
  ACSViol: "ACSViolation",
};
const CORRECTABLE: Readonly<Record<string, string>> = { RxErr: "ReceiverError", BadTLP: "BadTLP", BadDLLP: "BadDLLP", Rollover: "REPLAYNUMRollover", Timeout: "ReplayTimerTimeout", AdvNonFatalErr: "AdvisoryNonFatalError" };
const of = (register: string, map: Readonly<Record<string, string>>): Record<string, string> => Object.fromEntries(Object.entries(map).map(([name, field]) => [name, `${register}.${field}`]));
const headerLog = ["HeaderLog0.Log", "HeaderLog1.Log", "HeaderLog2.Log", "HeaderLog3.Log"];

const ADVANCED_ERROR_REPORTING: CapabilityRules = {
  heading: heading(/^Advanced Error Reporting$/),
  statements: [
    rule(/^UESta: /, flags(of("UncorrectableStatus", UNCORRECTABLE))),
    rule(/^UEMsk: /, flags(of("UncorrectableMask", UNCORRECTABLE))),
    rule(/^UESvrt: /, flags(of("UncorrectableSeverity", UNCORRECTABLE))),
    rule(/^CESta: /, flags(of("CorrectableStatus", CORRECTABLE))),
    rule(/^CEMsk: /, flags(of("CorrectableMask", CORRECTABLE))),
    rule(
      /^AERCap: /,
      says(/First Error Pointer: ([0-9a-f]+)/, ["Control.FirstErrorPointer"], hex(2)),
      flags({
        ECRCGenCap: "Control.ECRCGenerationCapable",
        ECRCGenEn: "Control.ECRCGenerationEnable",
        ECRCChkCap: "Control.ECRCCheckCapable",
        ECRCChkEn: "Control.ECRCCheckEnable",
        MultHdrRecCap: "Control.MultipleHeaderRecordingCapable",
        MultHdrRecEn: "Control.MultipleHeaderRecordingEnable",
        TLPPfxPres: "Control.TLPPrefixLogPresent",
        HdrLogCap: "Control.CompletionTimeoutLogCapable",
      }),
    ),
    rule(/^HeaderLog: /, says(/^.*$/, headerLog, (...log) => log.map(hex(8)).join(" "))),
    rule(/^RootCmd: /, flags({ CERptEn: "RootCommand.CorrectableErrorReportingEnable", NFERptEn: "RootCommand.NonFatalErrorReportingEnable", FERptEn: "RootCommand.FatalErrorReportingEnable" })),
    rule(
      /^RootSta: /,
      says(/IntMsg (\d+)/, ["RootStatus.AdvancedErrorInterruptMessageNumber"], decimal),
      flags({
        CERcvd: "RootStatus.ERRCORReceived",
        MultCERcvd: "RootStatus.MultipleERRCORReceived",
        UERcvd: "RootStatus.ERRFATALNONFATALReceived",
        MultUERcvd: "RootStatus.MultipleERRFATALNONFATALReceived",
        FirstFatal: "RootStatus.FirstUncorrectableFatal",
        NonFatalMsg: "RootStatus.NonFatalErrorMessagesReceived",
        FatalMsg: "RootStatus.FatalErrorMessagesReceived",
      }),
    ),
    rule(/^ErrorSrc: /, says(/ERR_COR: ([0-9a-f]+)/, ["Source.ERRCORSource"], hex(4)), says(/ERR_FATAL\/NONFATAL: ([0-9a-f]+)/, ["Source.ERRFATALNONFATALSource"], hex(4))),
  ],
};

const ARBITRATION: Readonly<Record<string, string>> = { Fixed: "FixedArbitration", WRR32: "WRR32", WRR64: "WRR64", WRR128: "WRR128", TWRR128: "TWRR128", WRR256: "WRR256" };
const portArbitration = of("PortCapability2", { Fixed: "FixedArbitration", WRR32: "WRR32", WRR64: "WRR64", WRR128: "WRR128" });
const VIRTUAL_CHANNEL: CapabilityRules = {
  heading: heading(/^Virtual Channel$/),
  statements: [
    rule(
      /^Caps: /,
      says(/LPEVC=(\d)/, ["PortCapability1.LowPriorityExtendedVCCount"], decimal),
      says(/RefClk=(\S+)/, ["PortCapability1.ReferenceClock"], (clock) => (clock === 0 ? "100ns" : `??${clock}`)),
      says(/PATEntryBits=(\d)/, ["PortCapability1.PortArbitrationTableEntrySize"], (size) => 2 ** size),
    ),
    rule(/^Arb: /, flags(portArbitration)),
    rule(/^Ctrl: /, says(/ArbSelect=(\S+)/, ["PortControl.VCArbitrationSelect"], (select) => ["Fixed", "WRR32", "WRR64", "WRR128"][select] ?? `??${select}`)),
    rule(/^Status: /, flags({ InProgress: "PortStatus.VCArbitrationTableStatus" })),
    rule(
      /^VC(\d): /,
      words(/Caps:/),
      words(/Arb:/),
      words(/Ctrl:/),
      words(/Status:/),
      says(/PATOffset=([0-9a-f]+)/, ["VC$1Capability.PortArbitrationTableOffset"], hex(2)),
      says(/MaxTimeSlots=(\d+)/, ["VC$1Capability.MaximumTimeSlots"], (slots) => slots + 1),
      says(/ID=(\d)/, ["VC$1Control.VCID"], decimal),
      says(/ArbSelect=(\S+)/, ["VC$1Control.PortArbitrationSelect"], (select) => ["Fixed", "WRR32", "WRR64", "WRR128", "TWRR128", "WRR256"][select] ?? `??${select}`),
      says(/TC\/VC=([0-9a-f]+)/, ["VC$1Control.TCVCMap"], hex(2)),
      flags({
        RejSnoopTrans: "VC$1Capability.RejectSnoopTransactions",
        Enable: "VC$1Control.VCEnable",
        NegoPending: "VC$1Status.VCNegotiationPending",
        InProgress: "VC$1Status.PortArbitrationTableStatus",
        ...of("VC$1Capability", ARBITRATION),
      }),
    ),
  ],
};

const serial = (high: number, low: number): string => (hex(8)(high) + hex(8)(low)).match(/../g)!.join("-");
const ACS = ["SourceValidation", "TranslationBlocking", "P2PRequestRedirect", "P2PCompletionRedirect", "UpstreamForwarding", "P2PEgressControl", "DirectTranslatedP2P"];
const ACS_NAMES = ["SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl", "DirectTrans"];
const acs = (register: string, suffix: string): Part => flags(Object.fromEntries(ACS_NAMES.map((name, i) => [name, `${register}.${ACS[i] ?? ""}${suffix}`])));

const TYPES = ["32-bit", "low-1M", "64-bit", "type 3"];
/** A VF's region: the register's low bits say what it is, the next register is the upper half of a 64-bit one. */
const vfRegion = (index: number): Rule =>
  rule(
    new RegExp(`^Region ${index}: `),
    says(/Memory at ([0-9a-f]{8}) (?=\((?!64))/, [`VFBAR${index}.Value`], (low) => hex(8)((low & ~15) >>> 0)),
    ...(index < 5 ? [says(/Memory at ([0-9a-f]{16}) (?=\(64)/, [`VFBAR${index + 1}.Value`, `VFBAR${index}.Value`], (high, low) => hex(8)(high) + hex(8)((low & ~15) >>> 0))] : []),
    ...(index < 5 ? [says(/Memory at ([0-9a-f]{8}) (?=\(64)/, [`VFBAR${index + 1}.Value`, `VFBAR${index}.Value`], (_high, low) => hex(8)((low & ~15) >>> 0))] : []),
    says(/\(([^)]*)\)/, [`VFBAR${index}.Value`], (low) => `${TYPES[(low >> 1) & 3] ?? ""}, ${low & 8 ? "" : "non-"}prefetchable`),
  );

const SINGLE_ROOT_IOV: CapabilityRules = {
  heading: heading(/^Single Root I\/O Virtualization \(SR-IOV\)$/),
  statements: [
    rule(/^IOVCap: /, flags({ Migration: "Capabilities.VFMigrationCapable", "10BitTagReq": "Capabilities.VF10BitTagRequesterSupported" }), says(/Interrupt Message Number: ([0-9a-f]+)/, ["Capabilities.VFMigrationInterruptMessageNumber"], hex(3))),
    rule(
      /^IOVCtl: /,
      flags({ Enable: "Control.VFEnable", Migration: "Control.VFMigrationEnable", Interrupt: "Control.VFMigrationInterruptEnable", MSE: "Control.VFMSE", ARIHierarchy: "Control.ARICapableHierarchy", "10BitTagReq": "Control.VF10BitTagRequesterEnable" }),
    ),
    rule(/^IOVSta: /, flags({ Migration: "Status.VFMigrationStatus" })),
    rule(
      /^(?=Initial VFs: )/,
      says(/Initial VFs: (\d+)/, ["InitialVFs.Value"], decimal),
      says(/Total VFs: (\d+)/, ["TotalVFs.Value"], decimal),
      says(/Number of VFs: (\d+)/, ["NumVFs.Value"], decimal),
      says(/Function Dependency Link: ([0-9a-f]+)/, ["DependencyLink.Value"], hex(2)),
    ),
    rule(/^(?=VF offset: )/, says(/VF offset: (\d+)/, ["FirstVFOffset.Value"], decimal), says(/stride: (\d+)/, ["VFStride.Value"], decimal), says(/Device ID: ([0-9a-f]+)/, ["VFDeviceID.Value"], hex(4))),
    rule(/^(?=Supported Page Size: )/, says(/Supported Page Size: ([0-9a-f]+)/, ["SupportedPageSizes.Sizes"], hex(8)), says(/System Page Size: ([0-9a-f]+)/, ["SystemPageSize.Size"], hex(8))),
    ...[0, 1, 2, 3, 4, 5].map(vfRegion),
    rule(/^VF Migration: /, says(/offset: ([0-9a-f]+)/, ["MigrationState.Offset"], (offset) => hex(8)(offset * 8)), says(/BIR: (\d)/, ["MigrationState.BIR"], decimal)),
  ],
};

/** 1 MiB << n as lspci abbreviates it. */
const sizeName = (shift: number): string => {
  const unit = Math.floor(shift / 10);
  return `${2 ** (shift % 10)}${["MB", "GB", "TB", "PB", "EB", "ZB", "YB"][unit] ?? "?"}`;
};
const sizesOf = (low: number, high: number): string =>
  Array.from({ length: 44 }, (_, n) => n)
    .filter((n) => (n < 28 ? Math.floor(low / 2 ** n) % 2 === 1 : Math.floor(high / 2 ** (n - 28)) % 2 === 1))
    .map(sizeName)
    .join(" ");
/** lspci does not number the entries: the table of the comparison puts the number in front. */
const resizable = (name: string): CapabilityRules => ({
  heading: heading(new RegExp(`^${name} Resizable BAR$`)),
  statements: [
    rule(
      /^#(\d) BAR /,
      says(/^(\d):/, ["Control$1.BARIndex"], decimal),
      says(/current size: ([^,]+)/, ["Control$1.BARSize"], sizeName),
      says(/supported: ?(.*)$/, ["Capability$1.SupportedSizes", "Control$1.SupportedSizesUpper"], (low, high) => sizesOf(low, high)),
    ),
  ],
});

const latency = (value: number, scale: number): string => `${value * 32 ** scale}ns`;
/** Time after power on, in the units of its scale. */
const powerOn = (value: number, scale: number): string => (scale === 3 ? "<error>" : `${value * [2, 10, 100][scale]!}us`);
const threshold = (value: number, scale: number): string => (scale > 5 ? "<error>" : `${value * 32 ** scale}ns`);
const granularity = (zero: string) => (value: number): string => (value === 0 ? zero : value === 255 ? "Greater than 254ns" : `${value}ns`);
const SUBSTATES = (prefix: string, suffix: string): Record<string, string> => ({ "PCI-PM_L1.2": `${prefix}.PCIPML12${suffix}`, "PCI-PM_L1.1": `${prefix}.PCIPML11${suffix}`, "ASPM_L1.2": `${prefix}.ASPML12${suffix}`, "ASPM_L1.1": `${prefix}.ASPML11${suffix}` });
const lanesIn = (mask: number): string =>
  Array.from({ length: 32 }, (_, lane) => lane)
    .filter((lane) => Math.floor(mask / 2 ** lane) % 2 === 1)
    .map((lane) => ` ${lane}`)
    .join("");

/** lspci knows the names only: that id and place agree is all there is to compare. */
const named = (pattern: RegExp): CapabilityRules => ({ heading: heading(pattern), statements: [] });

/** By extended capability ID. */
export const EXTENDED: Readonly<Record<number, CapabilityRules>> = {
  0x00: named(/^Null$/),
  0x01: ADVANCED_ERROR_REPORTING,
  0x02: VIRTUAL_CHANNEL,
  0x03: { heading: heading(/^Device Serial Number /, says(/^\S+$/, ["SerialNumber.High", "SerialNumber.Low"], (high, low) => serial(high, low))), statements: [] },
  0x0b: {
    heading: heading(/^Vendor Specific Information: /, says(/ID=([0-9a-f]+)/, ["Header.VSECID"], hex(4)), says(/Rev=(\d+)/, ["Header.VSECRev"], decimal), says(/Len=([0-9a-f]+)/, ["Header.VSECLength"], hex(3)), words(/<\?>/)),
    statements: [],
  },
  0x0d: { heading: heading(/^Access Control Services$/), statements: [rule(/^ACSCap: /, acs("Capability", "")), rule(/^ACSCtl: /, acs("Control", "Enable"))] },
  0x0e: {
    heading: heading(/^Alternative Routing-ID Interpretation \(ARI\)$/),
    statements: [
      rule(/^ARICap: /, flags({ MFVC: "Capability.MFVCFunctionGroups", ACS: "Capability.ACSFunctionGroups" }), says(/Next Function: (\d+)/, ["Capability.NextFunctionNumber"], decimal)),
      rule(/^ARICtl: /, flags({ MFVC: "Control.MFVCFunctionGroupsEnable", ACS: "Control.ACSFunctionGroupsEnable" }), says(/Function Group: (\d)/, ["Control.FunctionGroup"], decimal)),
    ],
  },
  0x0f: {
    heading: heading(/^Address Translation Service \(ATS\)$/),
    statements: [rule(/^ATSCap: /, says(/Invalidate Queue Depth: ([0-9a-f]+)/, ["Capability.InvalidateQueueDepth"], hex(2))), rule(/^ATSCtl: /, flags({ Enable: "Control.Enable" }), says(/Smallest Translation Unit: ([0-9a-f]+)/, ["Control.SmallestTranslationUnit"], hex(2)))],
  },
  0x10: SINGLE_ROOT_IOV,
  0x13: {
    heading: heading(/^Page Request Interface \(PRI\)$/),
    statements: [
      rule(/^PRICtl: /, flags({ Enable: "Control.Enable", Reset: "Control.Reset" })),
      rule(/^PRISta: /, flags({ RF: "Status.ResponseFailure", UPRGI: "Status.UnexpectedPageRequestGroupIndex", Stopped: "Status.Stopped" })),
      rule(/^(?=Page Request Capacity: )/, says(/Page Request Capacity: ([0-9a-f]+)/, ["Capacity.Capacity"], hex(8)), says(/Page Request Allocation: ([0-9a-f]+)/, ["Allocation.Allocation"], hex(8))),
    ],
  },
  0x15: resizable("Physical"),
  0x18: {
    heading: heading(/^Latency Tolerance Reporting$/),
    statements: [
      rule(/^Max snoop latency: /, says(/^\d+ns$/, ["MaxSnoopLatency.Value", "MaxSnoopLatency.Scale"], (value, scale) => latency(value, scale))),
      rule(/^Max no snoop latency: /, says(/^\d+ns$/, ["MaxNoSnoopLatency.Value", "MaxNoSnoopLatency.Scale"], (value, scale) => latency(value, scale))),
    ],
  },
  0x19: {
    heading: heading(/^Secondary PCI Express$/),
    statements: [
      rule(/^LnkCtl3: /, flags({ LnkEquIntrruptEn: "LinkControl3.LinkEqualizationRequestInterruptEnable", PerformEqu: "LinkControl3.PerformEqualization" })),
      rule(/^LaneErrStat: /, says(/^LaneErr at lane:(.*)$/, ["LaneErrorStatus.Lanes"], lanesIn), says(/^0$/, ["LaneErrorStatus.Lanes"], decimal)),
    ],
  },
  0x1b: {
    heading: heading(/^Process Address Space ID \(PASID\)$/),
    statements: [
      rule(/^PASIDCap: /, flags({ Exec: "Capability.ExecutePermissionSupported", Priv: "Capability.PrivilegedModeSupported" }), says(/Max PASID Width: ([0-9a-f]+)/, ["Capability.MaxPASIDWidth"], hex(2))),
      rule(/^PASIDCtl: /, flags({ Enable: "Control.Enable", Exec: "Control.ExecutePermissionEnable", Priv: "Control.PrivilegedModeEnable" })),
    ],
  },
  0x1d: {
    heading: heading(/^Downstream Port Containment$/),
    statements: [
      rule(
        /^DpcCap: /,
        says(/INT Msg #(\d+)/, ["Capability.InterruptMessageNumber"], decimal),
        says(/RP PIO Log (\d+)/, ["Capability.RPPIOLogSize"], decimal),
        flags({ RPExt: "Capability.RPExtensions", PoisonedTLP: "Capability.PoisonedTLPEgressBlockingSupported", SwTrigger: "Capability.SoftwareTriggeringSupported", DL_ActiveErr: "Capability.DLActiveERRCORSignalingSupported" }),
      ),
      rule(
        /^DpcCtl: /,
        says(/Trigger:(\d)/, ["Control.TriggerEnable"], decimal),
        flags({ Cmpl: "Control.CompletionControl", INT: "Control.InterruptEnable", ErrCor: "Control.ERRCOREnable", PoisonedTLP: "Control.PoisonedTLPEgressBlockingEnable", SwTrigger: "Control.SoftwareTrigger", DL_ActiveErr: "Control.DLActiveERRCOREnable" }),
      ),
      rule(
        /^DpcSta: /,
        says(/Reason:(\d+)/, ["Status.TriggerReason"], hex(2)),
        says(/TriggerExt:(\d+)/, ["Status.TriggerReasonExtension"], hex(2)),
        says(/RP PIO ErrPtr:([0-9a-f]+)/, ["Status.RPPIOFirstErrorPointer"], hex(2)),
        flags({ Trigger: "Status.TriggerStatus", INT: "Status.InterruptStatus", RPBusy: "Status.RPBusy" }),
      ),
      rule(/^Source: /, says(/^[0-9a-f]+$/, ["Source.ErrorSourceID"], hex(4))),
    ],
  },
  0x1e: {
    heading: heading(/^L1 PM Substates$/),
    statements: [
      rule(
        /^L1SubCap: /,
        flags({ ...SUBSTATES("Capabilities", "Supported"), L1_PM_Substates: "Capabilities.L1PMSubstatesSupported" }),
        says(/PortCommonModeRestoreTime=(\d+us)/, ["Capabilities.PortCommonModeRestoreTime"], (time) => `${time}us`),
        says(/PortTPowerOnTime=(\S+)/, ["Capabilities.PortTPowerOnValue", "Capabilities.PortTPowerOnScale"], (value, scale) => powerOn(value, scale)),
      ),
      rule(
        /^L1SubCtl1: ?/,
        flags(SUBSTATES("Control1", "Enable")),
        says(/T_CommonMode=(\d+us)/, ["Control1.CommonModeRestoreTime"], (time) => `${time}us`),
        says(/LTR1.2_Threshold=(\S+)/, ["Control1.LTRL12ThresholdValue", "Control1.LTRL12ThresholdScale"], (value, scale) => threshold(value, scale)),
      ),
      rule(/^L1SubCtl2: ?/, says(/T_PwrOn=(\S+)/, ["Control2.TPowerOnValue", "Control2.TPowerOnScale"], (value, scale) => powerOn(value, scale))),
    ],
  },
  0x1f: {
    heading: heading(/^Precision Time Measurement$/),
    statements: [
      rule(/^PTMCap: /, flags({ "Requester:": "Capability.RequesterCapable", "Responder:": "Capability.ResponderCapable", "Root:": "Capability.RootCapable" })),
      rule(/^PTMClockGranularity: /, says(/^.*$/, ["Capability.LocalClockGranularity"], granularity("Unimplemented"))),
      rule(/^PTMControl: /, flags({ "Enabled:": "Control.Enable", "RootSelected:": "Control.RootSelect" })),
      rule(/^PTMEffectiveGranularity: /, says(/^.*$/, ["Control.EffectiveGranularity"], granularity("Unknown"))),
    ],
  },
  0x23: {
    heading: heading(
      /^Designated Vendor-Specific: /,
      says(/Vendor=([0-9a-f]+)/, ["Header1.DVSECVendorID"], hex(4)),
      says(/ID=([0-9a-f]+)/, ["Header2.DVSECID"], hex(4)),
      says(/Rev=(\d+)/, ["Header1.DVSECRevision"], decimal),
      says(/Len=(\d+)/, ["Header1.DVSECLength"], decimal),
      words(/<\?>/),
    ),
    statements: [],
  },
  0x24: resizable("Virtual"),
  0x25: named(/^Data Link Feature <\?>$/),
  0x26: named(/^Physical Layer 16\.0 GT\/s <\?>$/),
  0x27: named(/^Lane Margining at the Receiver <\?>$/),
};

