/** Conventional capabilities as lspci prints them. */
import { decimal, flags, hex, oneOf, rule, says, words, type Rule } from "./lspci-rules.ts";

export interface CapabilityRules {
  /** First rule: the heading. */
  readonly heading: Rule;
  readonly statements: readonly Rule[];
}

const sign = (value: number): string => (value ? "+" : "-");
const pmeFrom = ["PMC.PMEFromD0", "PMC.PMEFromD1", "PMC.PMEFromD2", "PMC.PMEFromD3hot", "PMC.PMEFromD3cold"];

export const POWER_MANAGEMENT: CapabilityRules = {
  heading: rule(/^Power Management version (?=\d)/, says(/\d/, ["PMC.Version"], decimal)),
  statements: [
    rule(
      /^Flags: /,
      says(/PME\((.*)\)/, pmeFrom, (...from) => ["D0", "D1", "D2", "D3hot", "D3cold"].map((name, i) => name + sign(from[i]!)).join(",")),
      says(/AuxCurrent=(\d+)mA/, ["PMC.AuxCurrent"], oneOf(["0", "55", "100", "160", "220", "270", "320", "375"])),
      flags({ PMEClk: "PMC.PMEClock", DSI: "PMC.DeviceSpecificInitialization", D1: "PMC.D1Support", D2: "PMC.D2Support" }),
    ),
    rule(/^Status: /, says(/^D(\d)/, ["PMCSR.PowerState"], decimal), flags({ NoSoftRst: "PMCSR.NoSoftReset", "PME-Enable": "PMCSR.PMEEnable", PME: "PMCSR.PMEStatus" }), says(/DSel=(\d+)/, ["PMCSR.DataSelect"], decimal), says(/DScale=(\d+)/, ["PMCSR.DataScale"], decimal)),
    rule(/^Bridge: /, flags({ PM: "PMCSR_BSE.BusPowerClockControlEnable", B3: "!PMCSR_BSE.B2B3Support" })),
  ],
};

export const MSI: CapabilityRules = {
  heading: rule(
    /^MSI: /,
    flags({ Enable: "Control.Enable", Maskable: "Control.PerVectorMaskingCapable", "64bit": "Control.Address64Capable" }),
    says(/Count=(\d+\/\d+)/, ["Control.MultipleMessageEnable", "Control.MultipleMessageCapable"], (enabled, capable) => `${2 ** enabled}/${2 ** capable}`),
  ),
  statements: [
    rule(/^Address: (?=[0-9a-f]{16} )/, says(/^[0-9a-f]{16}/, ["UpperAddress.Address", "Address.Address"], (high, low) => hex(8)(high) + hex(8)(low * 4)), says(/Data: ([0-9a-f]+)/, ["Data.Data"], hex(4))),
    rule(/^Address: (?=[0-9a-f]{8} )/, says(/^[0-9a-f]{8}/, ["Address.Address"], (low) => hex(8)(low * 4)), says(/Data: ([0-9a-f]+)/, ["Data.Data"], hex(4))),
    rule(/^Masking: /, says(/^[0-9a-f]+/, ["Mask.Mask"], hex(8)), says(/Pending: ([0-9a-f]+)/, ["Pending.Pending"], hex(8))),
  ],
};

const place = (register: string, prefix: RegExp): Rule =>
  rule(prefix, says(/BAR=(\d)/, [`${register}.BIR`], decimal), says(/offset=([0-9a-f]+)/, [`${register}.Offset`], (value) => hex(8)(value * 8)));

export const MSIX: CapabilityRules = {
  heading: rule(/^MSI-X: /, flags({ Enable: "Control.Enable", Masked: "Control.FunctionMask" }), says(/Count=(\d+)/, ["Control.TableSize"], (value) => value + 1)),
  statements: [place("Table", /^Vector table: /), place("PBA", /^PBA: /)],
};

export const ADVANCED_FEATURES: CapabilityRules = {
  heading: rule(/^PCI Advanced Features$/),
  statements: [
    rule(/^AFCap: /, flags({ TP: "Capabilities.TransactionsPending", FLR: "Capabilities.FunctionLevelReset" })),
    rule(/^AFCtrl: /, flags({ FLR: "Control.InitiateFLR" })),
    rule(/^AFStatus: /, flags({ TP: "Status.TransactionsPending" })),
  ],
};

export const BRIDGE_SUBSYSTEM: CapabilityRules = {
  heading: rule(/^Subsystem: .*(?=\[[0-9a-f]{4}:[0-9a-f]{4}\]$)/, says(/\[(.*)\]$/, ["IDs.SubsystemVendor", "IDs.Subsystem"], (vendor, device) => `${hex(4)(vendor)}:${hex(4)(device)}`)),
  statements: [],
};

export const VENDOR_SPECIFIC: CapabilityRules = {
  heading: rule(/^Vendor Specific Information: /, says(/Len=([0-9a-f]+)/, ["Length.Length"], hex(2)), words(/<\?>/), words(/^VirtIO: \S+/)),
  // What the vendor put there is no register of the specification; lspci knows VirtIO's.
  statements: [rule(/^BAR=\d offset=[0-9a-f]+ size=[0-9a-f]+( multiplier=[0-9a-f]+)?$/)],
};

export const SLOT_IDENTIFICATION: CapabilityRules = {
  heading: rule(/^Slot ID: /, says(/^(\d+) slots/, ["SlotID.ExpansionSlots"], decimal), flags({ First: "SlotID.FirstInChassis" }), says(/chassis ([0-9a-f]+)/, ["SlotID.Chassis"], hex(2))),
  statements: [],
};

const sataPlace = (location: number, offset: number): string => {
  if (location >= 4 && location <= 9) return `BAR${location - 4} Offset=${hex(8)(offset)}`;
  return location === 15 ? "InCfgSpace" : `BAR??${location}`;
};
export const SATA_INDEX_DATA: CapabilityRules = {
  heading: rule(/^SATA HBA v/, says(/^(\d+\.\d+)/, ["Revision.Major", "Revision.Minor"], (major, minor) => `${major}.${minor}`), says(/(BAR\S+( Offset=\S+)?|InCfgSpace)/, ["Location.BARLocation", "Location.BAROffset"], (location, offset) => sataPlace(location, offset))),
  statements: [],
};

export const HYPERTRANSPORT: CapabilityRules = {
  heading: rule(/^HyperTransport: /, flags({ Enable: "Command.Enable", Fixed: "Command.Fixed" }), says(/^(MSI Mapping)/, ["Command.CapabilityType"], (type) => (type === 0b10101 ? "MSI Mapping" : `type ${type}`)), says(/^(Slave or Primary Interface)/, ["Command.CapabilityType"], (type) => (type < 4 ? "Slave or Primary Interface" : `type ${type}`))),
  statements: [
    rule(/^Mapping Address Base: /, says(/^[0-9a-f]+/, ["UpperAddress.Address", "Address.Address"], (high, low) => hex(8)(high) + hex(8)(low * 2 ** 20))),
    // Slave interfaces: only the type is decoded, HyperTransport links being no part of the model.
    rule(/^(Command: BaseUnitID|Link Control \d|Link Config \d|Revision ID|Link Frequency \d|Link Error \d|Link Frequency Capability \d|Feature Capability|Prefetchable memory behind bridge Upper|Bus Number).*$/),
  ],
};

export const SECURE_DEVICE: CapabilityRules = { heading: rule(/^Secure device <\?>$/), statements: [] };
