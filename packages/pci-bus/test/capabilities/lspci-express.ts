/** The PCI Express capability as lspci prints it. */
import type { CapabilityRules } from "./lspci-conventional.ts";
import { decimal, flags, hex, oneOf, rule, says } from "./lspci-rules.ts";

const TYPES: Readonly<Record<number, string>> = {
  0: "Endpoint",
  1: "Legacy Endpoint",
  4: "Root Port",
  5: "Upstream Port",
  6: "Downstream Port",
  7: "PCI-Express to PCI/PCI-X Bridge",
  8: "PCI/PCI-X to PCI-Express Bridge",
  9: "Root Complex Integrated Endpoint",
  10: "Root Complex Event Collector",
};
const payload = (value: number): number => 128 * 2 ** value;
const SPEEDS = ["unknown", "2.5GT/s", "5GT/s", "8GT/s", "16GT/s", "32GT/s", "64GT/s"];
const speed = oneOf(SPEEDS, "unknown");
const L0S = ["<64ns", "<128ns", "<256ns", "<512ns", "<1us", "<2us", "<4us", "unlimited"];
const L1 = ["<1us", "<2us", "<4us", "<8us", "<16us", "<32us", "<64us", "unlimited"];
/** Power in watts. From 0xf0 on at scale 0 the steps are 25 W and begin at 250 W (PCIe §7.5.3.9). */
const watts = (value: number, scale: number): string => {
  if (scale === 0 && value === 0xff) return ">600";
  return String(scale === 0 && value >= 0xf0 ? 250 + 25 * (value - 0xf0) : Number((value / 10 ** scale).toPrecision(6)));
};
/** A port above an empty or slow slot is not called downgraded: root ports, downstream ports, bridges to PCI Express. */
const against = (now: number, most: number, type: number): string => (now < most ? ([4, 6, 8].includes(type) ? "" : " (downgraded)") : now > most ? " (overdriven)" : "");
const INDICATOR = ["Unknown", "On", "Blink", "Off"];
const TIMEOUT: Readonly<Record<number, string>> = { 0: "50us to 50ms", 1: "50us to 100us", 2: "1ms to 10ms", 5: "16ms to 55ms", 6: "65ms to 210ms", 9: "260ms to 900ms", 10: "1s to 3.5s", 13: "4s to 13s", 14: "17s to 64s" };
const RANGES: Readonly<Record<number, string>> = { 0: "Not Supported", 1: "Range A", 2: "Range B", 3: "Range AB", 6: "Range BC", 7: "Range ABC", 14: "Range BCD", 15: "Range ABCD" };
const vectorSpeeds = (vector: number): string => {
  for (const [bit, name] of [[5, "RsvdP"], [6, "RsvdP"], [4, "2.5-32GT/s"], [3, "2.5-16GT/s"], [2, "2.5-8GT/s"], [1, "2.5-5GT/s"], [0, "2.5GT/s"]] as const) if ((vector >> bit) & 1) return name;
  return "Unknown";
};
/** De-emphasis and preshoot by preset. PCIe §8.3.3.3, table of transmitter presets. */
const PRESETS = [
  "-6dB de-emphasis, 0dB preshoot",
  "-3.5dB de-emphasis, 0dB preshoot",
  "-4.4dB de-emphasis, 0dB preshoot",
  "-2.5dB de-emphasis, 0dB preshoot",
  "0dB de-emphasis, 0dB preshoot",
  "0dB de-emphasis, 1.9dB preshoot",
  "0dB de-emphasis, 2.5dB preshoot",
  "-6.0dB de-emphasis, 3.5dB preshoot",
  "-3.5dB de-emphasis, 3.5dB preshoot",
  "0dB de-emphasis, 3.5dB preshoot",
];
const DE_EMPHASIS = ["-6dB", "-3.5dB"];

export const PCI_EXPRESS: CapabilityRules = {
  heading: rule(
    /^Express (?=\(v\d+\))/,
    says(/^\(v(\d+)\)/, ["Capabilities.CapabilityVersion"], decimal),
    flags({ Slot: "Capabilities.SlotImplemented" }, /\((Slot[+-])\)/),
    says(/MSI ([0-9a-f]+)/, ["Capabilities.InterruptMessageNumber"], hex(2)),
    says(/^\s*([A-Z][^,]*?)\s*(?:,|$)/, ["Capabilities.DevicePortType"], (type) => TYPES[type] ?? "Unknown"),
  ),
  statements: [
    rule(
      /^DevCap: /,
      says(/MaxPayload (\d+) bytes/, ["DeviceCapabilities.MaxPayloadSizeSupported"], payload),
      says(/PhantFunc (\d)/, ["DeviceCapabilities.PhantomFunctionsSupported"], (value) => 2 ** value - 1),
      says(/Latency L0s ([^,]+)/, ["DeviceCapabilities.EndpointL0sAcceptableLatency"], oneOf(L0S)),
      says(/L1 (\S+)/, ["DeviceCapabilities.EndpointL1AcceptableLatency"], oneOf(L1)),
      says(/SlotPowerLimit (>?[\d.]+)W/, ["DeviceCapabilities.CapturedSlotPowerLimitValue", "DeviceCapabilities.CapturedSlotPowerLimitScale"], watts),
      flags({
        ExtTag: "DeviceCapabilities.ExtendedTagFieldSupported",
        AttnBtn: "DeviceCapabilities.AttentionButtonPresent",
        AttnInd: "DeviceCapabilities.AttentionIndicatorPresent",
        PwrInd: "DeviceCapabilities.PowerIndicatorPresent",
        RBE: "DeviceCapabilities.RoleBasedErrorReporting",
        FLReset: "DeviceCapabilities.FunctionLevelResetCapability",
      }),
    ),
    rule(
      /^DevCtl: /,
      says(/MaxPayload (\d+) bytes/, ["DeviceControl.MaxPayloadSize"], payload),
      says(/MaxReadReq (\d+) bytes/, ["DeviceControl.MaxReadRequestSize"], payload),
      flags({
        CorrErr: "DeviceControl.CorrectableErrorReportingEnable",
        NonFatalErr: "DeviceControl.NonFatalErrorReportingEnable",
        FatalErr: "DeviceControl.FatalErrorReportingEnable",
        UnsupReq: "DeviceControl.UnsupportedRequestReportingEnable",
        RlxdOrd: "DeviceControl.EnableRelaxedOrdering",
        ExtTag: "DeviceControl.ExtendedTagFieldEnable",
        PhantFunc: "DeviceControl.PhantomFunctionsEnable",
        AuxPwr: "DeviceControl.AuxPowerPMEnable",
        NoSnoop: "DeviceControl.EnableNoSnoop",
        FLReset: "DeviceControl.InitiateFunctionLevelReset",
        BrConfRtry: "DeviceControl.InitiateFunctionLevelReset",
      }),
    ),
    rule(
      /^DevSta: /,
      flags({
        CorrErr: "DeviceStatus.CorrectableErrorDetected",
        NonFatalErr: "DeviceStatus.NonFatalErrorDetected",
        FatalErr: "DeviceStatus.FatalErrorDetected",
        UnsupReq: "DeviceStatus.UnsupportedRequestDetected",
        AuxPwr: "DeviceStatus.AuxPowerDetected",
        TransPend: "DeviceStatus.TransactionsPending",
      }),
    ),
    rule(
      /^LnkCap: /,
      says(/Port #(\d+)/, ["LinkCapabilities.PortNumber"], decimal),
      says(/Speed ([^,]+)/, ["LinkCapabilities.MaxLinkSpeed"], speed),
      says(/Width x(\d+)/, ["LinkCapabilities.MaximumLinkWidth"], decimal),
      says(/Exit Latency L0s ([^\s,]+)/, ["LinkCapabilities.L0sExitLatency"], oneOf(L0S)),
      says(/(?:Exit Latency|, ) ?L1 (<?\w+)/, ["LinkCapabilities.L1ExitLatency"], oneOf(L1)),
      says(/ASPM ([^,]*?)(?=,| ClockPM)/, ["LinkCapabilities.ASPMSupport"], oneOf(["not supported", "L0s", "L1", "L0s L1"])),
      flags({
        ClockPM: "LinkCapabilities.ClockPowerManagement",
        Surprise: "LinkCapabilities.SurpriseDownErrorReportingCapable",
        LLActRep: "LinkCapabilities.DataLinkLayerLinkActiveReportingCapable",
        BwNot: "LinkCapabilities.LinkBandwidthNotificationCapability",
        ASPMOptComp: "LinkCapabilities.ASPMOptionalityCompliance",
      }),
    ),
    rule(
      /^LnkCtl: /,
      says(/ASPM ([^;]+);/, ["LinkControl.ASPMControl"], oneOf(["Disabled", "L0s Enabled", "L1 Enabled", "L0s L1 Enabled"])),
      says(/RCB (\d+) bytes/, ["LinkControl.ReadCompletionBoundary"], oneOf(["64", "128"])),
      flags({
        Disabled: "LinkControl.LinkDisable",
        CommClk: "LinkControl.CommonClockConfiguration",
        ExtSynch: "LinkControl.ExtendedSynch",
        ClockPM: "LinkControl.EnableClockPowerManagement",
        AutWidDis: "LinkControl.HardwareAutonomousWidthDisable",
        BWInt: "LinkControl.LinkBandwidthManagementInterruptEnable",
        AutBWInt: "LinkControl.LinkAutonomousBandwidthInterruptEnable",
      }),
    ),
    rule(
      /^LnkSta: /,
      says(/Speed ([^,]+)/, ["LinkStatus.CurrentLinkSpeed", "LinkCapabilities.MaxLinkSpeed", "Capabilities.DevicePortType"], (now, most, type) => speed(now) + against(now, most, type)),
      says(/Width x(\d+(?: \(\w+\))?)/, ["LinkStatus.NegotiatedLinkWidth", "LinkCapabilities.MaximumLinkWidth", "Capabilities.DevicePortType"], (now, most, type) => String(now) + against(now, most, type)),
      flags({
        TrErr: "LinkStatus.TrainingError",
        Train: "LinkStatus.LinkTraining",
        SlotClk: "LinkStatus.SlotClockConfiguration",
        DLActive: "LinkStatus.DataLinkLayerLinkActive",
        BWMgmt: "LinkStatus.LinkBandwidthManagementStatus",
        ABWMgmt: "LinkStatus.LinkAutonomousBandwidthStatus",
      }),
    ),
    rule(
      /^SltCap: /,
      says(/Slot #(\d+)/, ["SlotCapabilities.PhysicalSlotNumber"], decimal),
      says(/PowerLimit (>?[\d.]+)W/, ["SlotCapabilities.SlotPowerLimitValue", "SlotCapabilities.SlotPowerLimitScale"], watts),
      flags({
        AttnBtn: "SlotCapabilities.AttentionButtonPresent",
        PwrCtrl: "SlotCapabilities.PowerControllerPresent",
        MRL: "SlotCapabilities.MRLSensorPresent",
        AttnInd: "SlotCapabilities.AttentionIndicatorPresent",
        PwrInd: "SlotCapabilities.PowerIndicatorPresent",
        HotPlug: "SlotCapabilities.HotPlugCapable",
        Surprise: "SlotCapabilities.HotPlugSurprise",
        Interlock: "SlotCapabilities.ElectromechanicalInterlockPresent",
        NoCompl: "SlotCapabilities.NoCommandCompletedSupport",
      }),
    ),
    rule(
      /^SltCtl: /,
      flags(
        {
          AttnBtn: "SlotControl.AttentionButtonPressedEnable",
          PwrFlt: "SlotControl.PowerFaultDetectedEnable",
          MRL: "SlotControl.MRLSensorChangedEnable",
          PresDet: "SlotControl.PresenceDetectChangedEnable",
          CmdCplt: "SlotControl.CommandCompletedInterruptEnable",
          HPIrq: "SlotControl.HotPlugInterruptEnable",
          LinkChg: "SlotControl.DataLinkLayerStateChangedEnable",
        },
        /Enable: (.*)(?=Control:)/,
      ),
      says(/AttnInd (\w+)/, ["SlotControl.AttentionIndicatorControl"], oneOf(INDICATOR)),
      says(/PwrInd (\w+)/, ["SlotControl.PowerIndicatorControl"], oneOf(INDICATOR)),
      flags({ Power: "SlotControl.PowerControllerControl", Interlock: "SlotControl.ElectromechanicalInterlockControl" }, /Control:(.*)$/),
    ),
    rule(
      /^SltSta: /,
      flags(
        {
          AttnBtn: "SlotStatus.AttentionButtonPressed",
          PowerFlt: "SlotStatus.PowerFaultDetected",
          MRL: "SlotStatus.MRLSensorState",
          CmdCplt: "SlotStatus.CommandCompleted",
          PresDet: "SlotStatus.PresenceDetectState",
          Interlock: "SlotStatus.ElectromechanicalInterlockStatus",
        },
        /Status: (.*)(?=Changed:)/,
      ),
      flags({ MRL: "SlotStatus.MRLSensorChanged", PresDet: "SlotStatus.PresenceDetectChanged", LinkState: "SlotStatus.DataLinkLayerStateChanged" }, /Changed:(.*)$/),
    ),
    rule(
      /^RootCtl: /,
      flags({
        ErrCorrectable: "RootControl.SystemErrorOnCorrectableErrorEnable",
        "ErrNon-Fatal": "RootControl.SystemErrorOnNonFatalErrorEnable",
        ErrFatal: "RootControl.SystemErrorOnFatalErrorEnable",
        PMEIntEna: "RootControl.PMEInterruptEnable",
        CRSVisible: "RootControl.RRSSoftwareVisibilityEnable",
      }),
    ),
    rule(/^RootCap: /, flags({ CRSVisible: "RootCapabilities.RRSSoftwareVisibility" })),
    rule(/^RootSta: /, says(/PME ReqID ([0-9a-f]+)/, ["RootStatus.PMERequesterID"], hex(4)), flags({ PMEStatus: "RootStatus.PMEStatus", PMEPending: "RootStatus.PMEPending" })),
    rule(
      /^DevCap2: /,
      says(/Completion Timeout: ([^,]+)/, ["DeviceCapabilities2.CompletionTimeoutRangesSupported"], (ranges) => RANGES[ranges] ?? "Unknown"),
      says(/OBFF ([^,]+)/, ["DeviceCapabilities2.OBFFSupported"], oneOf(["Not Supported", "Via message", "Via WAKE#", "Via message/WAKE#"])),
      says(/MaxEETLPPrefixes (\d)/, ["DeviceCapabilities2.MaxEndEndTLPPrefixes"], (value) => value || 4),
      says(/EmergencyPowerReduction ([^,]+)/, ["DeviceCapabilities2.EmergencyPowerReductionSupported"], oneOf(["Not Supported", "Dev Specific", "Form Factor Dev Specific", "Reserved"])),
      says(/LN System CLS ([^,]+)/, ["DeviceCapabilities2.LNSystemCLS"], oneOf(["Not Supported", "64byte cachelines", "128byte cachelines", "Reserved"])),
      says(/(TPHComp[+-] ExtTPHComp[+-])/, ["DeviceCapabilities2.TPHCompleterSupported"], oneOf(["TPHComp- ExtTPHComp-", "TPHComp+ ExtTPHComp-", "TPHComp- ExtTPHComp+", "TPHComp+ ExtTPHComp+"])),
      flags(
        {
          Routing: "DeviceCapabilities2.AtomicOpRoutingSupported",
          "32bit": "DeviceCapabilities2.AtomicOpCompleter32Supported",
          "64bit": "DeviceCapabilities2.AtomicOpCompleter64Supported",
          "128bitCAS": "DeviceCapabilities2.CASCompleter128Supported",
        },
        /AtomicOpsCap:(.*)$/,
      ),
      flags({
        TimeoutDis: "DeviceCapabilities2.CompletionTimeoutDisableSupported",
        NROPrPrP: "DeviceCapabilities2.NoROEnabledPRPRPassing",
        LTR: "DeviceCapabilities2.LTRMechanismSupported",
        "10BitTagComp": "DeviceCapabilities2.TenBitTagCompleterSupported",
        "10BitTagReq": "DeviceCapabilities2.TenBitTagRequesterSupported",
        ExtFmt: "DeviceCapabilities2.ExtendedFmtFieldSupported",
        EETLPPrefix: "DeviceCapabilities2.EndEndTLPPrefixSupported",
        EmergencyPowerReductionInit: "DeviceCapabilities2.EmergencyPowerReductionInitializationRequired",
        FRS: "DeviceCapabilities2.FRSSupported",
        ARIFwd: "DeviceCapabilities2.ARIForwardingSupported",
      }),
    ),
    rule(
      /^DevCtl2: /,
      says(/Completion Timeout: ([^,]+)/, ["DeviceControl2.CompletionTimeoutValue"], (value) => TIMEOUT[value] ?? "Unknown"),
      says(/OBFF ([^,]+)/, ["DeviceControl2.OBFFEnable"], oneOf(["Disabled", "Via message A", "Via message B", "Via WAKE#"])),
      flags({ ReqEn: "DeviceControl2.AtomicOpRequesterEnable", EgressBlck: "DeviceControl2.AtomicOpEgressBlocking" }, /AtomicOpsCtl:(.*)$/),
      flags({
        TimeoutDis: "DeviceControl2.CompletionTimeoutDisable",
        LTR: "DeviceControl2.LTRMechanismEnable",
        "10BitTagReq": "DeviceControl2.TenBitTagRequesterEnable",
        ARIFwd: "DeviceControl2.ARIForwardingEnable",
      }),
    ),
    rule(
      /^LnkCap2: /,
      says(/Supported Link Speeds: ([^,]+)/, ["LinkCapabilities2.SupportedLinkSpeedsVector"], vectorSpeeds),
      flags({
        Crosslink: "LinkCapabilities2.CrosslinkSupported",
        Retimer: "LinkCapabilities2.RetimerPresenceDetectSupported",
        "2Retimers": "LinkCapabilities2.TwoRetimersPresenceDetectSupported",
        DRS: "LinkCapabilities2.DRSSupported",
      }),
    ),
    rule(
      /^LnkCtl2: /,
      says(/Target Link Speed: ([^,]+)/, ["LinkControl2.TargetLinkSpeed"], oneOf(["2.5GT/s", ...SPEEDS.slice(1)])),
      says(/Selectable De-emphasis: (\S+dB)/, ["LinkControl2.SelectableDeEmphasis"], oneOf(DE_EMPHASIS)),
      says(/Transmit Margin: ([^,]+)/, ["LinkControl2.TransmitMargin"], oneOf(["Normal Operating Range", "800-1200mV(full-swing)/400-700mV(half-swing)", "200-400mV(full-swing)/100-200mV(half-swing)", "200-400mV(full-swing)/100-200mV(half-swing)", "200-400mV(full-swing)/100-200mV(half-swing)", "200-400mV(full-swing)/100-200mV(half-swing)"])),
      says(/Compliance Preset\/De-emphasis: (.*)$/, ["LinkControl2.CompliancePresetDeEmphasis"], oneOf(PRESETS)),
      flags({
        EnterCompliance: "LinkControl2.EnterCompliance",
        SpeedDis: "LinkControl2.HardwareAutonomousSpeedDisable",
        EnterModifiedCompliance: "LinkControl2.EnterModifiedCompliance",
        ComplianceSOS: "LinkControl2.ComplianceSOS",
      }),
    ),
    rule(
      /^LnkSta2: /,
      says(/Current De-emphasis Level: (\S+dB)/, ["LinkStatus2.CurrentDeEmphasisLevel"], oneOf(DE_EMPHASIS)),
      says(/CrosslinkRes: (unsupported|Upstream Port|Downstream Port|incomplete)/, ["LinkStatus2.CrosslinkResolution"], oneOf(["unsupported", "Upstream Port", "Downstream Port", "incomplete"])),
      says(/DownstreamComp: (.*)$/, ["LinkStatus2.DownstreamComponentPresence"], oneOf(["Link Down - Not Determined", "Link Down - Not Present", "Link Down - Present", "Reserved", "Link Up - Present", "Link Up - Present and DRS Received"], "Reserved")),
      flags({
        EqualizationComplete: "LinkStatus2.EqualizationComplete",
        EqualizationPhase1: "LinkStatus2.EqualizationPhase1Successful",
        EqualizationPhase2: "LinkStatus2.EqualizationPhase2Successful",
        EqualizationPhase3: "LinkStatus2.EqualizationPhase3Successful",
        LinkEqualizationRequest: "LinkStatus2.LinkEqualizationRequest",
        Retimer: "LinkStatus2.RetimerPresenceDetected",
        "2Retimers": "LinkStatus2.TwoRetimersPresenceDetected",
        DRS: "LinkStatus2.DRSMessageReceived",
      }),
    ),
  ],
};
