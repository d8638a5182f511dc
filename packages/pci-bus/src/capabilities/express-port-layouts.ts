import { bit, bits, layout } from "@iommu-lab/memory/layout";

const INDICATOR = { 0: "reserved", 1: "on", 2: "blinking", 3: "off" } as const;

/** Slot Capabilities register. PCIe §7.5.3.9. */
export const SLOT_CAPABILITIES = layout("Slot Capabilities", 32, "PCIe §7.5.3.9", {
  AttentionButtonPresent: bit(0, "Has an attention button"),
  PowerControllerPresent: bit(1, "Software can switch the slot's power"),
  MRLSensorPresent: bit(2, "Knows whether the retention latch is closed"),
  AttentionIndicatorPresent: bit(3, "Has an attention indicator"),
  PowerIndicatorPresent: bit(4, "Has a power indicator"),
  HotPlugSurprise: bit(5, "Adapters may be removed without notice"),
  HotPlugCapable: bit(6, "Supports hot-plug"),
  SlotPowerLimitValue: bits(14, 7, "Power the slot gives, in units of the scale; 0xf0 and above have meanings of their own"),
  SlotPowerLimitScale: bits(16, 15, "Unit of the power limit", { 0: "1 W", 1: "0.1 W", 2: "0.01 W", 3: "0.001 W" }),
  ElectromechanicalInterlockPresent: bit(17, "Has an interlock"),
  NoCommandCompletedSupport: bit(18, "Commands need no waiting"),
  PhysicalSlotNumber: bits(31, 19, "Number on the chassis; 0 for devices on the board"),
});

/** Slot Control register. PCIe §7.5.3.10. */
export const SLOT_CONTROL = layout("Slot Control", 16, "PCIe §7.5.3.10", {
  AttentionButtonPressedEnable: bit(0, "Notifies the attention button"),
  PowerFaultDetectedEnable: bit(1, "Notifies power faults"),
  MRLSensorChangedEnable: bit(2, "Notifies changes of the latch"),
  PresenceDetectChangedEnable: bit(3, "Notifies changes of presence"),
  CommandCompletedInterruptEnable: bit(4, "Notifies completed commands"),
  HotPlugInterruptEnable: bit(5, "Notifies by interrupt"),
  AttentionIndicatorControl: bits(7, 6, "Attention indicator", INDICATOR),
  PowerIndicatorControl: bits(9, 8, "Power indicator", INDICATOR),
  PowerControllerControl: bit(10, "Power", { 0: "on", 1: "off" }),
  ElectromechanicalInterlockControl: bit(11, "Writing one toggles the interlock; reads as zero"),
  DataLinkLayerStateChangedEnable: bit(12, "Notifies changes of the data link layer"),
  AutoSlotPowerLimitDisable: bit(13, "Sends no slot power limit when the link comes up"),
  InBandPDDisable: bit(14, "Presence is what the pins say, not the link"),
});

/** Slot Status register. PCIe §7.5.3.11. */
export const SLOT_STATUS = layout("Slot Status", 16, "PCIe §7.5.3.11", {
  AttentionButtonPressed: bit(0, "The attention button was pressed"),
  PowerFaultDetected: bit(1, "A power fault happened"),
  MRLSensorChanged: bit(2, "The latch moved"),
  PresenceDetectChanged: bit(3, "Presence changed"),
  CommandCompleted: bit(4, "The last command is done"),
  MRLSensorState: bit(5, "Latch", { 0: "closed", 1: "open" }),
  PresenceDetectState: bit(6, "An adapter is there"),
  ElectromechanicalInterlockStatus: bit(7, "The interlock is engaged"),
  DataLinkLayerStateChanged: bit(8, "The data link layer came up or went down"),
});

/** Root Control register. PCIe §7.5.3.12. */
export const ROOT_CONTROL = layout("Root Control", 16, "PCIe §7.5.3.12", {
  SystemErrorOnCorrectableErrorEnable: bit(0, "A correctable error is a system error"),
  SystemErrorOnNonFatalErrorEnable: bit(1, "A non-fatal error is a system error"),
  SystemErrorOnFatalErrorEnable: bit(2, "A fatal error is a system error"),
  PMEInterruptEnable: bit(3, "A PME interrupts"),
  RRSSoftwareVisibilityEnable: bit(4, "Retried configuration reads are shown to software"),
  NoNFMSubtreeBelow: bit(5, "Nothing below lacks flit mode"),
});

/** Root Capabilities register. PCIe §7.5.3.13. */
export const ROOT_CAPABILITIES = layout("Root Capabilities", 16, "PCIe §7.5.3.13", { RRSSoftwareVisibility: bit(0, "Can show retried configuration reads to software") });

/** Root Status register. PCIe §7.5.3.14. */
export const ROOT_STATUS = layout("Root Status", 32, "PCIe §7.5.3.14", {
  PMERequesterID: bits(15, 0, "Who signalled PME last"),
  PMEStatus: bit(16, "That PME is not handled yet"),
  PMEPending: bit(17, "Another PME waits"),
});

/** Slot Capabilities 2 register. PCIe §7.5.3.21. */
export const SLOT_CAPABILITIES_2 = layout("Slot Capabilities 2", 32, "PCIe §7.5.3.21", { InBandPDDisableSupported: bit(0, "In-band presence detection can be switched off") });
